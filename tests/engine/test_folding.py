"""Which batch norms are folded into the layer before them, and which stay."""

import copy
from typing import Any

import pytest
import torch
from small_nets import NORMS, alike, foldable, output, randn, settled
from torch import Tensor, nn

from qexplorer.engine.models import models
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.progress import finish

pytestmark = pytest.mark.usefixtures("one_thread")


def norms(module: nn.Module) -> int:
    return sum(isinstance(m, NORMS) for m in module.modules())


FOLDABLE = {
    "all": (foldable, (3, 2, 6, 6), 4),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (2, 3, 9), 1),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3)), (2, 2, 4, 4, 4), 1),
    "linear": (lambda: nn.Sequential(nn.Linear(7, 3, bias=False), nn.BatchNorm1d(3)), (4, 7), 1),
}


@pytest.mark.parametrize("name", FOLDABLE)
def test_folding_keeps_the_outputs(name: str) -> None:
    build, shape, count = FOLDABLE[name]
    net, x = settled(build()), randn(*shape, seed=1)
    before = copy.deepcopy(net.state_dict())
    found = prepare(net, x)
    assert (found.traced, found.folded, norms(found.module), found.note) == (True, count, 0, "")
    assert alike(found.module, net, x)
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


def test_a_folded_weight_is_w_gamma_over_sigma() -> None:
    conv, norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
    net = settled(nn.Sequential(conv, norm))
    folded: Any = prepare(net, randn(2, 2, 5, 5, seed=1)).layers["0"]
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    torch.testing.assert_close(folded.weight.double(), conv.weight.double() * factor.reshape(-1, 1, 1, 1))
    bias = norm.bias.double() + (conv.bias.double() - norm.running_mean.double()) * factor
    torch.testing.assert_close(folded.bias.double(), bias, atol=1e-6, rtol=1e-6)


def test_the_sample_net_folds_whole() -> None:
    net = finish(models["mobilenet_v2_digits"]().load(None))
    x = torch.rand((4, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    found = prepare(net, x)
    assert (found.traced, found.folded, norms(found.module), len(found.layers)) == (True, 52, 0, 53)
    assert next(iter(found.layers)) == "features.0.0"
    assert list(found.layers)[-1] == "classifier.1"
    assert alike(found.module, net, x)


def test_without_folding_norms_stay() -> None:
    net, x = settled(foldable()), randn(3, 2, 6, 6, seed=1)
    found = prepare(net, x, fold=False)
    assert (found.traced, found.folded, norms(found.module)) == (True, 0, 4)
    assert torch.equal(output(found.module, x), output(net, x))


class Parts(nn.Module):
    """A convolution, a norm and a linear layer, put together by `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(5, 5)
        self.wide, self.bare, self.how = nn.BatchNorm1d(4), nn.BatchNorm1d(5, affine=False), how
        self.batch = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "conv read twice":
                y = self.conv(x)
                return self.norm(y) + y
            case "conv called twice":
                return self.norm(self.conv(x)) + self.conv(x)
            case "weights read elsewhere":
                return self.norm(self.conv(x)) * self.conv.weight.sum()
            case "no statistics":
                return self.batch(self.conv(x))
            case "norm of another axis":
                return self.wide(self.linear(x[:, :, 0, :5]))
            case "linear and a norm without weights":
                return self.bare(self.linear(x[:, 0, 0, :5]))
            case _:
                return self.norm(x)


@pytest.mark.parametrize(
    "how",
    ["conv read twice", "conv called twice", "weights read elsewhere", "no statistics", "norm of another axis",
     "linear and a norm without weights", "norm of the input"],
)  # fmt: skip
def test_a_norm_that_cannot_be_folded_stays(how: str) -> None:
    net, x = settled(Parts(how)), randn(3, 4, 6, 6, seed=1)
    found = prepare(net, x)
    assert found.traced
    assert found.folded == 0
    assert alike(found.module, net, x)


def test_where_folding_spoils_the_outputs_the_model_is_traced_without() -> None:
    class Square(nn.Module):
        """Its norm is of the tokens, of which there are as many as features."""

        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.linear(x))

    net, x = settled(Square()), randn(3, 4, 4, seed=1)
    found = prepare(net, x)
    assert (found.traced, found.folded) == (True, 0)
    assert alike(found.module, net, x)


def test_modules_that_share_a_tensor_are_not_folded_into_each_other() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    net[2].weight = net[0].weight
    settled(net)
    found = prepare(net, randn(2, 3, 4, 4, seed=1))
    assert (found.traced, found.folded) == (True, 0)
    assert alike(found.module, net, randn(2, 3, 4, 4, seed=1))
