"""Repairs, each before judges: closed forms, every rounding tried, the float model itself, and torchao's GPTQ."""

import inspect
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.models import models
from qexplorer.engine.repair import LayerTask, Repair, parse_repairs, repairs
from qexplorer.engine.repair import adaround as adaround_room
from qexplorer.engine.repair import gptq as gptq_room
from qexplorer.engine.repair.equalization import CrossLayerEqualization, equalize
from qexplorer.engine.repair.smooth_quant import SmoothQuant, smooth
from qexplorer.engine.simulation.gram import MOST_PLACES, Gram, columns, gram, grouped
from qexplorer.engine.simulation.graph import norm_readers, pairs
from qexplorer.engine.simulation.grid import WeightGrid
from qexplorer.engine.simulation.layers import dequantized, quantize_input, weight_quantizer
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.recipe import Recipe
from qexplorer.engine.simulation.simulate import Plan, Simulated, simulate
from qexplorer.engine.simulation.walk import Visit
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize

Batches = list[NDArray[np.float32]]
WEIGHT_SPECS = (
    "int4 channel:0", "int3 group:8", "uint4 affine group:12", "int4 affine_float group:8", "int4 signed_extreme",
    "int8 half_away channel:1", "ternary channel:0", "nf4 group:8", "binary", "fp4_e2m1 channel:0", "fp8_e4m3fn",
    "fp16", "mxfp4", "nvfp4", "mxint8", "q4_0", "q5_1", "kmeans2 channel:0", "int4 block:2x8",
)  # fmt: skip


def chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads take longer for small nets where something else runs beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=chance(seed))


def grid_of(weight: Tensor, text: str) -> WeightGrid:
    return WeightGrid(weight, weight_quantizer("a layer", weight, QuantSpec.parse(text)))


def nearest(weight: Tensor, text: str) -> Tensor:
    return dequantized(weight, weight_quantizer("a layer", weight, QuantSpec.parse(text)))


def correlated(n: int, k: int, seed: int = 0) -> Tensor:
    """Products of inputs of which each is like its neighbours, [1, K, K]."""
    mix = torch.eye(k) + 0.6 * randn(k, k, seed=seed) / k**0.5 + 0.4
    x = randn(n, k, seed=seed + 1) @ mix
    return (x.T @ x / n)[None]


def gptq(weight: Tensor, products: Tensor, text: str) -> Tensor:
    return finish(gptq_room.rounded(weight[None], products, grid_of(weight, text)))[0]


def adaround(weight: Tensor, products: Tensor, text: str, iterations: int = 400) -> Tensor:
    both = Gram(products, products)
    return finish(adaround_room.rounded(weight[None], both, grid_of(weight, text), iterations))[0]


def cost(weight: Tensor, other: Tensor, products: Tensor) -> Tensor:
    """ΔW·H·ΔWᵀ of each output channel, [out]."""
    error = (weight - other).double()
    return ((error @ products[0].double()) * error).sum(dim=1)


def damped(products: Tensor) -> Tensor:
    return products + gptq_room.DAMPING * products[0].diagonal().mean() * torch.eye(products.shape[1])


# GPTQ


@pytest.mark.parametrize("text", WEIGHT_SPECS)
def test_with_inputs_that_have_nothing_in_common_gptq_rounds_to_nearest(text: str) -> None:
    weight = randn(6, 100)
    assert torch.equal(gptq(weight, torch.eye(100)[None], text), nearest(weight, text))


@pytest.mark.parametrize("text", WEIGHT_SPECS)
def test_what_gptq_chooses_are_levels_of_the_grid(text: str) -> None:
    weight = randn(6, 100)
    chosen = gptq(weight, correlated(400, 100), text)
    grid = grid_of(weight, text)
    again = torch.stack([grid.nearest(chosen[:, k], k) for k in range(100)], dim=1)
    torch.testing.assert_close(again, chosen, rtol=1e-6, atol=1e-7)  # two-level scales: divided by another than stored
    assert not torch.equal(chosen, nearest(weight, text)) or text in ("fp16", "binary")


@pytest.mark.parametrize(
    "text", ["int4 channel:0", "int3 group:8 mse", "uint4 affine group:16", "nf4 group:8", "mxfp4"]
)
@pytest.mark.parametrize("seed", range(3))
def test_on_inputs_that_are_alike_gptq_errs_less(text: str, seed: int) -> None:
    weight, products = randn(12, 96, seed=seed), correlated(300, 96, seed)
    own = cost(weight, gptq(weight, products, text), products)
    plain = cost(weight, nearest(weight, text), products)
    assert float(own.sum()) < 0.8 * float(plain.sum())
    assert (own < plain).float().mean() > 0.8


def test_the_last_column_is_the_best_one_for_those_before_it() -> None:
    """With the errors e of all others, ΔW·H·ΔWᵀ is least where the last weight is w + Σ e·H / H of it with itself."""
    weight, products = randn(8, 24), correlated(100, 24)
    chosen, h = gptq(weight, products, "int4 channel:0"), damped(products)[0].double()
    error = (weight - chosen).double()
    aim = weight[:, -1].double() + error[:, :-1] @ h[:-1, -1] / h[-1, -1]
    grid = grid_of(weight, "int4 channel:0")
    assert torch.equal(chosen[:, -1], grid.nearest(aim.float(), 23))


def every_rounding(weight: Tensor, text: str) -> Iterator[Tensor]:
    """All ways to put the weights [1, K] on the levels of their grid, many at a time: [n, K]."""
    scale, low, high, offset = (part[0] for part in grid_of(weight, text).whole())
    choices = [torch.arange(int(a), int(b) + 1) * s + o for s, a, b, o in zip(scale, low, high, offset, strict=True)]
    yield torch.cartesian_prod(*choices)


@pytest.mark.parametrize("text", ["int2", "uint2 affine"])
def test_no_rounding_of_eight_weights_is_better_than_the_best_and_gptq_is_close_to_it(text: str) -> None:
    ratios: list[tuple[float, float]] = []
    for seed in range(12):
        weight, products = randn(1, 8, seed=seed), correlated(50, 8, seed)
        h = damped(products)
        best = min(float(cost(weight, part, h).min()) for part in every_rounding(weight, text))
        found, plain = (float(cost(weight, w, h)) for w in (gptq(weight, products, text), nearest(weight, text)))
        assert found >= best * (1 - 1e-5)
        ratios.append((found / best, plain / best))
    own, others = np.median(ratios, axis=0)
    assert own < 1.6
    assert own < others


def test_an_input_that_is_always_zero_neither_fails_nor_is_made_use_of() -> None:
    weight, products = randn(5, 20), correlated(60, 20)
    products[:, 7], products[:, :, 7] = 0, 0
    chosen = gptq(weight, products, "int4 channel:0")
    assert torch.equal(chosen[:, 7], nearest(weight, "int4 channel:0")[:, 7])
    assert torch.equal(gptq(weight, torch.zeros_like(products), "int4 channel:0"), nearest(weight, "int4 channel:0"))


def test_one_sample_is_enough_to_go_by() -> None:
    weight, x = randn(5, 40), randn(1, 40, seed=3)
    products = (x.T @ x)[None]
    chosen = gptq(weight, products, "int3 channel:0")
    assert float(cost(weight, chosen, products).sum()) < float(
        cost(weight, nearest(weight, "int3 channel:0"), products).sum()
    )


def test_products_without_an_inverse_are_refused() -> None:
    with pytest.raises(UserError, match="no inverse"):
        gptq(randn(2, 4), torch.full((1, 4, 4), torch.nan), "int4")


def test_blocks_of_columns_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, products = randn(4, 90), correlated(200, 90)
    whole = gptq(weight, products, "int4 channel:0")
    for block in (1, 7, 90):
        monkeypatch.setattr(gptq_room, "BLOCK", block)
        other = gptq(weight, products, "int4 channel:0")
        assert (other == whole).float().mean() > 0.97  # sums in another order: a tie may fall otherwise


def test_groups_of_a_convolution_are_rounded_each_with_its_own_inputs() -> None:
    weight = randn(6, 2, 3, 3)
    products = torch.cat([correlated(90, 18, seed) for seed in range(3)])
    layer = nn.Conv2d(6, 6, 3, groups=3)
    whole = finish(gptq_room.rounded(grouped(layer, weight), products, grid_of(weight, "int4 channel:0")))
    for g in range(3):
        part = weight[2 * g : 2 * g + 2]
        assert torch.equal(whole[g], gptq(part.flatten(1), products[g : g + 1], "int4 channel:0"))


@pytest.fixture(scope="module")
def torchao_gptq() -> Any:
    """torchao's function, told that it may run on a CPU."""
    api = pytest.importorskip("torchao.prototype.gptq.api")
    source = inspect.getsource(api.gptq_quantize)
    for line in ('assert device.type == "cuda", "GPTQ only supports CUDA currently"', "torch.cuda.synchronize()"):
        if line not in source:
            pytest.skip("torchao's GPTQ is another one")
        source = source.replace(line, "pass")
    names = dict(vars(api))
    exec(source, names)  # noqa: S102
    return names["gptq_quantize"]


@pytest.mark.parametrize("shape", [(16, 96), (5, 200)])
def test_torchao_chooses_the_same_codes(torchao_gptq: Any, shape: tuple[int, int]) -> None:
    from torchao.prototype.gptq import GPTQConfig
    from torchao.quantization import Int8WeightOnlyConfig
    from torchao.quantization.granularity import PerRow

    weight, products = randn(*shape), correlated(4 * shape[1], shape[1])
    config = GPTQConfig(step="convert", base_config=Int8WeightOnlyConfig(granularity=PerRow()), percdamp=0.01)
    theirs = torchao_gptq(products[0].clone(), weight.clone(), config)
    spec = "int8 full_span channel:0 true"
    codes = (gptq(weight, products, spec) / theirs.scale).round()
    assert (codes == theirs.qdata).float().mean() > 0.97  # after a tie that falls otherwise a row goes its own way
    assert (codes - theirs.qdata).abs().max() <= 1
    own = cost(weight, codes * theirs.scale, products).sum()
    assert float(own / cost(weight, theirs.dequantize(), products).sum()) == pytest.approx(1, abs=0.02)


# AdaRound


def test_adaround_finds_nearly_the_best_of_all_roundings_of_a_neuron() -> None:
    ratios: list[tuple[float, float]] = []
    for seed in range(20):
        weight, products = randn(1, 12, seed=seed), correlated(64, 12, seed)
        scale, low, high, _ = (part[0] for part in grid_of(weight, "int4").whole())
        floor = (weight[0] / scale).floor()
        ways = torch.tensor(list(itertools.product((0.0, 1.0), repeat=12)))
        best = float(cost(weight, (floor + ways).clamp(low, high) * scale, products).min())
        found = float(cost(weight, adaround(weight, products, "int4"), products))
        assert found >= best * (1 - 1e-5)
        ratios.append((found / best, float(cost(weight, nearest(weight, "int4"), products)) / best))
    own, plain = np.array(ratios).T
    assert np.median(own) < 1.03
    assert own.mean() < 1.2
    assert own.mean() < 0.4 * plain.mean()


@pytest.mark.parametrize("text", ["int4 channel:0", "uint3 affine group:8", "int4 affine_float group:8", "ternary"])
def test_adaround_rounds_each_weight_up_or_down(text: str) -> None:
    weight = randn(6, 40)
    chosen = adaround(weight, correlated(200, 40), text, 60)
    scale, low, high, offset = grid_of(weight, text).whole()
    floor = ((weight - offset) * (1 / scale)).floor()
    level = ((chosen - offset) / scale).round()
    assert torch.equal(level * scale + offset, chosen)
    assert ((level == floor.clamp(low, high)) | (level == (floor + 1).clamp(low, high))).all()


def test_channels_of_all_scales_are_rounded_alike() -> None:
    weight, products = randn(3, 24), correlated(100, 24)
    factors = torch.tensor([[1.0], [1e-3], [1e3]])
    many = adaround(weight * factors, products, "int4 channel:0", 200)
    for i in range(3):
        alone = adaround(weight[i : i + 1], products, "int4 channel:0", 200)
        torch.testing.assert_close(many[i] / factors[i], alone[0], rtol=1e-4, atol=1e-6)


def test_adaround_aims_at_the_output_of_the_float_inputs() -> None:
    """Where the quantized model's inputs are 0.8 of the float model's, larger weights make up for it."""
    weight, products = randn(4, 32), correlated(200, 32)
    both = Gram(0.64 * products, 0.8 * products)
    grid = grid_of(weight, "int4 channel:0")
    aware = finish(adaround_room.rounded(weight[None], both, grid, 300))[0]
    blind = adaround(weight, products, "int4 channel:0", 300)
    error = [float(cost(weight, 0.8 * w, products).sum()) for w in (aware, blind)]
    assert error[0] < 0.9 * error[1]


def test_adaround_leaves_torch_as_it_found_it() -> None:
    state = torch.random.get_rng_state()
    weight, products = randn(2, 8), correlated(40, 8)
    steps = adaround_room.rounded(weight[None], Gram(products, products), grid_of(weight, "int4"), 60)
    for _ in steps:
        assert torch.is_grad_enabled()
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(adaround(weight, products, "int4", 60), adaround(weight, products, "int4", 60))


# what a layer reads


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(5, 3, bias=False), (4, 5)),
    "linear on tokens": (nn.Linear(5, 3, bias=False), (4, 6, 5)),
    "1d": (nn.Conv1d(4, 6, 3, 2, 1, 2, 2, bias=False), (3, 4, 11)),
    "1d circular": (nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular", bias=False), (2, 2, 7)),
    "2d": (nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False), (2, 4, 9, 8)),
    "depthwise": (nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False), (2, 4, 6, 6)),
    "same": (nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2), bias=False), (2, 2, 7, 6)),
    "valid": (nn.Conv2d(2, 3, 3, padding="valid", bias=False), (2, 2, 6, 5)),
    "reflect": (nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect", bias=False), (2, 2, 6, 5)),
    "replicate": (nn.Conv2d(2, 3, 3, padding="same", padding_mode="replicate", bias=False), (2, 2, 6, 5)),
    "3d": (nn.Conv3d(2, 4, 2, 2, 1, groups=2, bias=False), (2, 2, 5, 4, 3)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_weights_times_columns_are_the_layers_output(name: str) -> None:
    layer, shape = LAYERS[name]
    x = randn(*shape)
    own: Any = layer
    with torch.no_grad():
        wanted = layer(x)
        found = grouped(layer, own.weight) @ columns(layer, x)
    axis = -1 if isinstance(layer, nn.Linear) else 1
    flat = wanted.movedim(axis, 0).reshape(wanted.shape[axis], -1)
    torch.testing.assert_close(found.reshape(flat.shape), flat, rtol=1e-5, atol=1e-5)


def task_of(layer: nn.Module, inputs: list[Tensor], floats: list[Tensor], text: str = "int4 channel:0") -> LayerTask:
    own: Any = layer
    weight = own.weight.detach()
    fake = weight_quantizer("layer", weight, QuantSpec.parse(text))
    return LayerTask("layer", layer, layer, weight, fake, Visit("layer", floats, inputs))


def test_products_are_means_over_all_places_of_all_batches() -> None:
    layer, x, twin = nn.Conv2d(2, 3, 3), randn(5, 2, 6, 6), randn(5, 2, 6, 6, seed=1)
    parts = [slice(0, 2), slice(2, 2), slice(2, 5)]
    found = gram(task_of(layer, [x[p] for p in parts], [twin[p] for p in parts]))
    a, b = (F.unfold(t, 3).permute(1, 0, 2).reshape(18, -1).double() for t in (x, twin))
    torch.testing.assert_close(found.own[0].double(), a @ a.T / a.shape[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.cross[0].double(), b @ a.T / a.shape[1], rtol=1e-5, atol=1e-5)


def test_of_many_places_some_are_drawn_and_the_border_no_more_often_than_others() -> None:
    layer, x = nn.Conv2d(1, 1, 3, padding=1), torch.ones(40, 1, 32, 32)
    found = columns(layer, x)
    assert found.shape == (1, 9, MOST_PLACES)
    assert torch.equal(found, columns(layer, x))
    at_the_border = float((found[0, 3] == 0).float().mean())  # what lies left of a place is padding
    assert at_the_border == pytest.approx(1 / 32, abs=0.01)


def test_half_precision_inputs_are_multiplied_in_float32() -> None:
    layer, x = nn.Linear(4, 2).half(), (randn(100, 4) * 300).half()
    found = gram(task_of(layer, [x], [x]))
    assert found.own.dtype == torch.float32
    assert found.own.isfinite().all()


@pytest.mark.parametrize("inputs", [[], [torch.zeros(0, 4)]])
def test_a_layer_without_samples_is_said(inputs: list[Tensor]) -> None:
    with pytest.raises(UserError, match="has seen no samples") as caught:
        gram(task_of(nn.Linear(4, 2), inputs, inputs))
    assert caught.value.field == "calibration"


# models


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in eval mode, with norms that do something and channels of very different ranges."""
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            spread = 1 + 6 * torch.rand(len(parameter), generator=chance(seed + i))
            shape = [-1, *[1] * (parameter.ndim - 1)]
            parameter.copy_(randn(*parameter.shape, seed=seed + i) * 0.2 * spread.reshape(shape))
        for module in net.modules():
            if (
                isinstance(module, nn.BatchNorm2d)
                and module.running_mean is not None
                and module.running_var is not None
            ):
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


def ready(net: nn.Module, *shape: int) -> tuple[Prepared, Tensor]:
    x = randn(*shape, seed=5)
    return prepare(settled(net), x), x


def output(model: Prepared | Simulated, x: Tensor) -> Tensor:
    module = model.model.module if isinstance(model, Simulated) else model.module
    with torch.no_grad():
        return module(x.clone())


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


def batches(*shape: int, n: int = 3) -> Batches:
    return [randn(*shape, seed=20 + i).numpy() for i in range(n)]


def simulated(model: Prepared, weights: str, steps: str, data: Batches, activations: str = "") -> Simulated:
    return finish(simulate(model, Plan(Recipe.parse(weights, activations, ""), parse_repairs(steps), data)))


def outgoing(layer: nn.Module) -> Tensor:
    own: Any = layer
    return own.weight.detach().flatten(1).abs().amax(dim=1)


def incoming(layer: nn.Module) -> Tensor:
    own: Any = layer
    weight, groups = own.weight.detach(), getattr(own, "groups", 1)
    parts = [part.transpose(0, 1).flatten(1).abs().amax(dim=1) for part in weight.chunk(groups)]
    return torch.cat(parts)


# cross-layer equalization


def test_equalizing_keeps_the_outputs_and_makes_ranges_equal() -> None:
    model, x = ready(chain(), 4, 2, 8, 8)
    assert model.folded == 3
    before, spread = output(model, x), outgoing(model.layers["0"])
    done = finish(CrossLayerEqualization().mend_model(model, None, []))
    assert close(output(model, x), before)
    found = [(p.first, p.second) for p in pairs(model)]
    assert found == [("0", "3"), ("3", "6"), ("6", "9"), ("11", "13")]
    for first, second in found:
        torch.testing.assert_close(outgoing(model.layers[first]), incoming(model.layers[second]), rtol=5e-3, atol=0)
    assert [(d["name"], d["before"]) for d in done] == found
    assert done[0]["channel_spread"] == pytest.approx(float(spread.max() / spread.median()))
    after = outgoing(model.layers["0"])
    assert done[0]["channel_spread_after"] == pytest.approx(float(after.max() / after.median()))


def test_one_pass_puts_both_ranges_on_their_geometric_mean() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(4, 5)
    mean = (outgoing(first) * incoming(second)).sqrt()
    bias, scale = first.bias.detach().clone(), mean / incoming(second)
    assert equalize(first, second) == pytest.approx(float((scale - 1).abs().max()), rel=1e-5)
    torch.testing.assert_close(outgoing(first), mean)
    torch.testing.assert_close(incoming(second), mean)
    torch.testing.assert_close(first.bias.detach(), bias / scale)
    assert equalize(first, second) < 1e-5


class Half(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.one, self.two, self.linear = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 4)
        self.groups, self.tied, self.how = nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 1), how
        self.tied.weight = self.two.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        steps = {
            "torch.relu": lambda: self.two(torch.relu(y)),
            "relu in place": lambda: self.two(F.relu(y, inplace=True)),
            "method": lambda: self.two(y.relu()),
            "leaky": lambda: self.two(F.leaky_relu(y, 0.1)),
            "groups": lambda: self.groups(F.relu(y)),
            "relu6": lambda: self.two(F.relu6(y)),
            "gelu": lambda: self.two(F.gelu(y)),
            "linear of another axis": lambda: self.linear(F.relu(y)),
            "read twice": lambda: self.two(F.relu(y)) + y,
            "called twice": lambda: self.two(F.relu(self.one(y))),
            "follower called twice": lambda: self.two(F.relu(self.two(F.relu(y)))),
            "weights read elsewhere": lambda: self.two(F.relu(y)) * self.two.weight.mean(),
            "weights of two": lambda: self.two(F.relu(y)) + self.tied(x),
            "padded": lambda: self.two(F.pad(y, (1, 1), value=1.0)),
        }
        return steps[self.how]()


PAIRED = ("torch.relu", "relu in place", "method", "leaky", "groups")
UNPAIRED = ("relu6", "gelu", "linear of another axis", "read twice", "called twice", "follower called twice",
            "weights read elsewhere", "weights of two", "padded")  # fmt: skip


@pytest.mark.parametrize("how", PAIRED + UNPAIRED)
def test_a_pair_is_what_scales_through_to_one_reader_alone(how: str) -> None:
    net = Half(how)
    model, x = ready(net if how == "weights of two" else settled(net), 2, 4, 4, 4)
    before = output(model, x)
    done = finish(CrossLayerEqualization().mend_model(model, None, []))
    assert bool(list(pairs(model))) == (how in PAIRED)
    if how in UNPAIRED:
        assert done == [{"repair": "cle", "note": "Nothing to equalize: no layer alone reads another's output."}]
    assert close(output(model, x), before)


def test_channels_without_weights_are_left_alone() -> None:
    first, second = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        first.weight[1], second.weight[:, 2] = 0, 0
    before = [p.clone() for p in (first.bias, second.weight)]
    equalize(first, second)
    assert torch.equal(first.bias[1:], before[0][1:])
    assert torch.equal(second.weight[:, 1], before[1][:, 1])
    assert first.weight.isfinite().all()


def test_weights_in_any_layout_are_equalized() -> None:
    model, x = ready(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), 2, 3, 8, 8)
    model.module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    before = output(model, x)
    finish(CrossLayerEqualization().mend_model(model, None, []))
    assert close(output(model, x), before)


def test_what_does_not_trace_has_nothing_to_equalize() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = chain()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x if x.sum() > 0 else -x)

    model, _ = ready(Branching(), 2, 2, 8, 8)
    note = "Nothing to equalize: the model does not trace."
    assert finish(CrossLayerEqualization().mend_model(model, None, [])) == [{"repair": "cle", "note": note}]


def test_equalized_weights_lose_less_with_one_scale_for_all() -> None:
    x, gains = randn(16, 2, 8, 8, seed=5), []
    for seed in range(6):
        model = prepare(settled(chain(), seed), x)
        wanted = output(model, x)
        plain, mended = (output(simulated(model, "int5", steps, []), x) - wanted for steps in ("", "cle"))
        gains.append(float(mended.square().mean() / plain.square().mean()))
    assert np.exp(np.log(gains).mean()) < 0.6


# bias correction


@pytest.mark.parametrize("activations", ["", "uint4 affine"])
def test_mean_outputs_are_put_back_to_those_of_the_float_model(activations: str) -> None:
    model, _ = ready(chain(), 8, 2, 8, 8)
    data = batches(8, 2, 8, 8)
    plain, mended = (simulated(model, "int3", steps, data, activations) for steps in ("", "bias_correction"))
    for made, exact in ((plain, False), (mended, True)):
        shifts = mean_errors(made, data)
        assert shifts.keys() == model.layers.keys()
        assert all(float(shift.max()) < 2e-6 for shift in shifts.values()) == exact
    assert mended.layers[0]["bias_shift"] > 0
    assert mended.bytes_theoretical == plain.bytes_theoretical  # every layer had a bias already


def mean_errors(made: Simulated, data: Batches) -> dict[str, Tensor]:
    """How far the mean of each channel's output is from that of the float model, in units of the largest output."""
    sums: dict[str, list[Tensor]] = {}
    for model in (made.float_model, made.model):
        seen: dict[str, list[Tensor]] = {name: [] for name in model.layers}
        handles = [
            layer.register_forward_hook(lambda _, __, y, parts=seen[name]: parts.append(y.double()))
            for name, layer in model.layers.items()
        ]
        with torch.no_grad():
            for batch in data:
                model.module(torch.tensor(batch))
        for handle in handles:
            handle.remove()
        for name, parts in seen.items():
            sums.setdefault(name, []).append(torch.cat(parts).transpose(0, 1).flatten(1))
    return {n: (a.mean(dim=1) - b.mean(dim=1)).abs() / a.abs().max() for n, (a, b) in sums.items()}


def test_a_layer_without_a_bias_gets_one_and_it_counts() -> None:
    model, _ = ready(
        nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Flatten(), nn.Linear(64, 2, bias=False)), 2, 1, 6, 6
    )
    data = batches(8, 1, 6, 6)
    plain, mended = (simulated(model, "int3", steps, data) for steps in ("", "bias_correction"))
    assert mended.bytes_theoretical == plain.bytes_theoretical + 4 * (4 + 2)
    assert all(float(shift.max()) < 2e-6 for shift in mean_errors(mended, data).values())


def test_a_bias_that_two_layers_share_is_corrected_for_each() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].bias = net[0].bias
    model, _ = ready(net, 3, 4)
    made = simulated(model, "int3", "bias_correction", batches(16, 4))
    assert all(float(shift.max()) < 2e-6 for shift in mean_errors(made, batches(16, 4)).values())


# SmoothQuant


def test_smoothing_a_transformer_keeps_its_outputs() -> None:
    net = finish(models["vit_digits"]().load(None))
    x = torch.rand((4, 1, 32, 32), generator=chance(0))
    model = prepare(net, x)
    before = output(model, x)
    done = finish(SmoothQuant(0.5).mend_model(model, None, [x.numpy()]))
    names = [f"blocks.{i}.{part}" for i in range(4) for part in ("attention.qkv", "mlp.0")]
    assert [d["name"] for d in done] == names  # the last norm is read by a mean
    assert close(output(model, x), before)
    assert any(d["activation_spread_after"] < 0.7 * d["activation_spread"] for d in done)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_two_channels_are_smoothed_as_by_hand(alpha: float) -> None:
    norm, one, two = nn.LayerNorm(2), nn.Linear(2, 1), nn.Linear(2, 2)
    with torch.no_grad():
        one.weight.copy_(torch.tensor([[0.5, -1.0]]))
        two.weight.copy_(torch.tensor([[0.1, 4.0], [-0.25, 0.2]]))
        norm.weight.copy_(torch.tensor([1.0, 3.0]))
        norm.bias.copy_(torch.tensor([-1.0, 0.5]))
    s = smooth(norm, [one, two], torch.tensor([16.0, 9.0]), alpha)
    wanted = torch.tensor([16**alpha / 0.5 ** (1 - alpha), 9**alpha / 4.0 ** (1 - alpha)])
    torch.testing.assert_close(s, wanted)
    torch.testing.assert_close(norm.weight.detach(), torch.tensor([1.0, 3.0]) / wanted)
    torch.testing.assert_close(norm.bias.detach(), torch.tensor([-1.0, 0.5]) / wanted)
    torch.testing.assert_close(two.weight.detach(), torch.tensor([[0.1, 4.0], [-0.25, 0.2]]) * wanted)


class Read(nn.Module):
    """A norm that is read by `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.norm, self.one, self.two, self.how = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 6), how

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        match self.how:
            case "two layers":
                return self.one(y) + self.two(y)
            case "the output too":
                return self.one(y) + y
            case "again":
                return self.one(y) + self.two(self.norm(x * x))
            case _:  # by a layer that reads something else as well
                return self.one(y) + self.one(x)


@pytest.mark.parametrize("how", ["two layers", "the output too", "again", "a layer called twice"])
def test_only_norms_that_layers_alone_read_are_smoothed(how: str) -> None:
    model, x = ready(Read(how), 5, 6)
    before = output(model, x)
    done = finish(SmoothQuant().mend_model(model, None, batches(5, 6)))
    smoothed = how == "two layers"
    assert [names for _, names in norm_readers(model)] == ([["one", "two"]] if smoothed else [])
    assert ("note" in done[0]) != smoothed
    assert close(output(model, x), before)


def test_a_channel_that_is_always_zero_does_not_blow_up() -> None:
    net = Read("two layers")
    settled(net)
    with torch.no_grad():
        net.norm.weight[2], net.norm.bias[2], net.one.weight[:, 3], net.two.weight[:, 3] = 0, 0, 0, 0
    x = randn(5, 6)
    model = prepare(net, x)
    before = output(model, x)
    finish(SmoothQuant().mend_model(model, None, batches(5, 6)))
    assert close(output(model, x), before)
    assert all(p.isfinite().all() for p in model.module.parameters())


def test_smoothing_needs_samples_and_layer_norms() -> None:
    model, _ = ready(Read("two layers"), 5, 6)
    with pytest.raises(UserError, match="Take calibration samples") as caught:
        finish(SmoothQuant().mend_model(model, None, []))
    assert caught.value.field == "calibration"
    model, _ = ready(chain(), 2, 2, 8, 8)
    (note,) = finish(SmoothQuant().mend_model(model, None, batches(2, 2, 8, 8)))
    assert note["note"].startswith("Nothing to smooth")


# whole layers, and what is refused


@pytest.mark.parametrize("steps", ["gptq", "adaround:150"])
@pytest.mark.parametrize("activations", ["", "uint8 affine"])
def test_every_kind_of_layer_is_mended_and_outputs_err_less(steps: str, activations: str) -> None:
    model, x = ready(chain(), 32, 2, 8, 8)
    data = batches(16, 2, 8, 8)
    plain, mended = (simulated(model, "int3 channel:0 mse", r, data, activations) for r in ("", steps))
    assert not any("note" in figure for figure in mended.layers)
    wanted = output(model, x)
    errors = [float((output(made, x) - wanted).square().mean()) for made in (plain, mended)]
    assert errors[1] < 0.75 * errors[0]
    again = simulated(model, "int3 channel:0 mse", steps, data, activations)
    assert torch.equal(output(again, x), output(mended, x))
    for name, layer in mended.model.layers.items():
        own, spec = layer, QuantSpec.parse("int3 channel:0 mse")
        floats: Any = mended.float_model.layers[name]
        _, _, params = quantize(floats.weight.detach().numpy(), spec)
        weight: Any = own.weight
        levels = weight.detach().flatten(1).numpy() / params.scale[:, None]
        assert np.abs(levels - np.rint(levels)).max() < 1e-4
        assert np.abs(levels).max() < 3.001


def test_a_layer_whose_inputs_have_no_inverse_is_rounded_to_nearest_with_a_note() -> None:
    class Overflowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.two(x * 1e30) * 1e-30

    model, _ = ready(Overflowing(), 3, 4)
    made = simulated(model, "int4 channel:0", "gptq", batches(8, 4))
    notes = {figure["name"]: figure.get("note", "") for figure in made.layers}
    assert notes == {"one": "", "two": "GPTQ: The products of the layer's inputs have no inverse."}
    two: Any = made.model.layers["two"]
    original: Any = model.layers["two"]
    assert torch.equal(two.weight, nearest(original.weight.detach(), "int4 channel:0"))


def test_steps_hold_no_mode_of_torch_while_others_run() -> None:
    model, _ = ready(chain(), 8, 2, 8, 8)
    plan = Plan(
        Recipe.parse("int4", "uint8 affine", ""), parse_repairs("cle,gptq,bias_correction"), batches(4, 2, 8, 8)
    )
    steps = simulate(model, plan)
    for _ in steps:
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("text", "weights", "wanted"),
    [
        ("mse_clip", "int4 channel:0", "int4 channel:0 mse"),
        ("mse_clip", "nf4 group:64", "nf4 group:64 mse"),
        ("mse_clip", "fp8_e4m3fn percentile:99", "fp8_e4m3fn mse"),
        ("hqq", "int4 group:32", "int4 affine_float group:32 hqq"),
        ("hqq", "uint3 full_span group:32", "uint3 affine_float group:32 hqq"),
        ("gptq", "int4 group:32", "int4 group:32"),
        ("adaround", "int4 affine", "int4 affine"),
        ("fold", "q4_0", "q4_0"),
    ],
)
def test_a_repair_changes_the_spec_as_said(text: str, weights: str, wanted: str) -> None:
    (step,) = parse_repairs(text)
    assert step.adapt(QuantSpec.parse(weights)) == QuantSpec.parse(wanted)
    assert Plan(Recipe.parse(weights, "", ""), (step,)).of("a").weights == QuantSpec.parse(wanted)


@pytest.mark.parametrize(
    ("text", "weights", "remedy"),
    [
        ("mse_clip", "q4_0", "Leave MSE clipping out."),
        ("mse_clip", "fp16", "Leave MSE clipping out."),
        ("hqq", "nf4 group:64", "Leave HQQ out."),
        ("hqq", "ternary", "Leave HQQ out."),
        ("adaround", "nf4 group:64", "Take GPTQ, or an integer format."),
        ("adaround", "mxfp4", "Take GPTQ, or an integer format."),
        ("gptq", "int4 stochastic", "Take another rounding, or leave GPTQ out."),
    ],
)
def test_a_repair_that_cannot_go_with_a_spec_says_what_to_do(text: str, weights: str, remedy: str) -> None:
    (step,) = parse_repairs(text)
    with pytest.raises(UserError) as caught:
        step.adapt(QuantSpec.parse(weights))
    assert (caught.value.remedy, caught.value.field) == (remedy, "repairs")


def test_repairs_are_taken_in_their_order() -> None:
    steps = parse_repairs(" bias_correction, adaround:50 ,smooth_quant:0.7,,mse_clip,cle,fold")
    assert [step.text for step in steps] == [
        "fold", "cle", "smooth_quant:0.7", "mse_clip", "adaround:50", "bias_correction"
    ]  # fmt: skip
    assert parse_repairs("") == ()


def test_every_repair_is_read_from_its_own_text() -> None:
    for cls in repairs:
        step: Repair = cls()
        assert parse_repairs(step.text) == (step,)
        assert step.title
        assert step.help
    orders = [cls.order for cls in repairs]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("magic", "There is no repair “magic”"),
        ("cle,cle", "named twice"),
        ("adaround:5,adaround:6", "named twice"),
        ("gptq,adaround", "each choose the codes.*Keep one"),
        ("adaround:0", "cannot take 0 steps.*Take 1 to 100,000"),
        ("adaround:x", "not a whole number"),
        ("smooth_quant:1.5", "alpha cannot be 1.5.*Take 0 to 1"),
        ("fold:3", "more settings"),
    ],
)
def test_repairs_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_repairs(text)
    assert caught.value.field == "repairs"


def test_smoothing_and_clipping_go_together_with_what_comes_after() -> None:
    net = finish(models["vit_digits"]().load(None))
    x = torch.rand((8, 1, 32, 32), generator=chance(0))
    model = prepare(net, x)
    plan = Plan(Recipe.parse("int4 channel:0", "uint4 affine", ""), (), [x.numpy()])
    wanted = output(model, x)
    errors = []
    for steps in ("", "smooth_quant:0.5,mse_clip,gptq,bias_correction"):
        made = finish(simulate(model, replace(plan, repairs=parse_repairs(steps))))
        errors.append(float((output(made, x) - wanted).square().mean()))
    assert errors[1] < 0.7 * errors[0]


def test_a_quantized_input_is_what_a_layer_is_mended_for() -> None:
    """The products are those of the quantized inputs, and those of the float ones beside them."""
    layer, x = nn.Linear(4, 2), randn(50, 4)
    fake = weight_quantizer("x", x, QuantSpec.parse("uint2 affine"))
    task = replace(task_of(layer, [x], [x]), input_quantizer=fake)
    q = fake(x)
    found = gram(task)
    torch.testing.assert_close(found.own[0], q.T @ q / 50)
    torch.testing.assert_close(found.cross[0], x.T @ q / 50)
    handle = quantize_input(layer, fake)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(q, layer.weight, layer.bias))
    handle.remove()
