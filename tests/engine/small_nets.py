"""Small nets with weights of all sizes, samples for them, and what a model makes of samples."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.layers import QuantizeInput
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.simulate import Plan, Simulated, simulate
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe

Batches = list[NDArray[np.float32]]
IMAGES = (6, 2, 8, 8)
"""What `chain` and `Net` take."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=chance(seed))


def batches(*shape: int, n: int = 3) -> Batches:
    return [randn(*(shape or IMAGES), seed=20 + i).numpy() for i in range(n)]


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in eval mode, with norms that do something and channels of very different ranges."""
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            spread = 1 + 6 * torch.rand(len(parameter), generator=chance(seed + i))
            shape = [-1, *[1] * (parameter.ndim - 1)]
            parameter.copy_(randn(*parameter.shape, seed=seed + i) * 0.2 * spread.reshape(shape))
        for module in net.modules():
            if isinstance(module, NORMS) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.copy_(0.3 * randn(module.num_features, seed=seed))
                module.running_var.copy_(torch.rand(module.num_features, generator=chance(seed)) + 0.3)
    return net.eval()


def chain() -> nn.Module:
    """conv · norm · relu · depthwise · norm · relu · conv · norm · relu · linear."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 4, 3, stride=2), nn.Flatten(), nn.Linear(36, 10), nn.ReLU(), nn.Linear(10, 3),
    )  # fmt: skip


def foldable() -> nn.Sequential:
    """conv · norm · relu · depthwise · norm · relu · grouped · norm · linear · norm."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 1, groups=2), nn.BatchNorm2d(6, affine=False),
        nn.Flatten(), nn.Linear(6 * 16, 5), nn.BatchNorm1d(5),
    )  # fmt: skip


class Net(nn.Module):
    """conv · norm · relu · depthwise · norm, a skip, a 1 × 1 convolution and two linear layers."""

    def __init__(self, *, branches: bool = False) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.deep, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.mix, self.relu = nn.Conv2d(8, 6, 1), nn.ReLU(inplace=True)
        self.hidden, self.head, self.branches = nn.Linear(6 * 16, 70), nn.Linear(70, 4), branches

    def forward(self, x: Tensor) -> Tensor:
        if self.branches and x.abs().sum() < 0:
            return x
        x = self.relu(self.norm(self.stem(x)))
        x = x + self.norm2(self.deep(x))
        x = torch.max_pool2d(self.mix(x), 2).flatten(1)
        return self.head(self.relu(self.hidden(x)))


def ready(net: nn.Module, *shape: int) -> tuple[Prepared, Tensor]:
    """The net made ready, and samples of that shape."""
    x = randn(*shape, seed=5)
    return prepare(settled(net), x), x


def simulated(
    model: Prepared, weights: str, activations: str = "", overrides: str = "", steps: str = "",
    data: Batches | None = None, **more: Any,
) -> Simulated:  # fmt: skip
    """The model in simulation, calibrated on `data`."""
    data = batches() if data is None else data
    plan = Plan(Recipe.parse(weights, activations, overrides), parse_repairs(steps), data)
    return finish(simulate(model, replace(plan, **more)))


def output(model: nn.Module | Prepared | Simulated, x: Tensor) -> Tensor:
    """What comes out, whatever works in place."""
    whole = model.model if isinstance(model, Simulated) else model
    with torch.no_grad():
        return (whole.module if isinstance(whole, Prepared) else whole)(x.clone())


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


def alike(found: nn.Module, wanted: nn.Module, x: Tensor) -> bool:
    """Whether two modules give the same but for rounding."""
    return close(output(found, x), output(wanted, x))


def same_bits(a: Simulated, b: Simulated) -> bool:
    one, two = a.model.module.state_dict(), b.model.module.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def weight_of(model: Prepared, name: str) -> Tensor:
    layer: Any = model.layers[name]
    return layer.weight.detach()


def input_of(model: Prepared, name: str) -> FakeQuantize | None:
    """What quantizes a layer's input."""
    hooks = [h for h in model.layers[name]._forward_pre_hooks.values() if isinstance(h, QuantizeInput)]
    return hooks[0].quantizer if hooks else None


def inputs_of(model: Prepared, name: str, data: Batches, *, before_hooks: bool = False) -> list[Tensor]:
    """What a layer reads, or what its hooks do."""
    seen: list[Tensor] = []
    handle = model.layers[name].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].clone()), prepend=before_hooks
    )
    for batch in data:
        output(model, torch.tensor(batch))
    handle.remove()
    return seen
