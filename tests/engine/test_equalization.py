"""Cross-layer equalization: which layers are a pair, and that outputs stay as they are."""

from typing import Any

import numpy as np
import pytest
import torch
from small_nets import chain, close, output, randn, ready, settled, simulated
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.repair.equalization import CrossLayerEqualization, equalize
from qexplorer.engine.runs.findings import RepairStep
from qexplorer.engine.simulation.graph import pairs
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.progress import finish

pytestmark = pytest.mark.usefixtures("one_thread")


def outgoing(layer: nn.Module) -> Tensor:
    own: Any = layer
    return own.weight.detach().flatten(1).abs().amax(dim=1)


def incoming(layer: nn.Module) -> Tensor:
    own: Any = layer
    weight, groups = own.weight.detach(), getattr(own, "groups", 1)
    parts = [part.transpose(0, 1).flatten(1).abs().amax(dim=1) for part in weight.chunk(groups)]
    return torch.cat(parts)


def test_equalizing_keeps_the_outputs_and_makes_ranges_equal() -> None:
    model, x = ready(chain(), 4, 2, 8, 8)
    assert model.folded == 3
    before, spread = output(model, x), outgoing(model.layers["0"])
    done = finish(CrossLayerEqualization().transform_model(model, None, []))
    assert close(output(model, x), before)
    found = [(p.first, p.second) for p in pairs(model)]
    assert found == [("0", "3"), ("3", "6"), ("6", "9"), ("11", "13")]
    for first, second in found:
        torch.testing.assert_close(outgoing(model.layers[first]), incoming(model.layers[second]), rtol=5e-3, atol=0)
    assert [(d.name, d.before) for d in done] == found
    assert done[0].channel_spread == pytest.approx(float(spread.max() / spread.median()))
    after = outgoing(model.layers["0"])
    assert done[0].channel_spread_after == pytest.approx(float(after.max() / after.median()))


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
    done = finish(CrossLayerEqualization().transform_model(model, None, []))
    assert bool(list(pairs(model))) == (how in PAIRED)
    if how in UNPAIRED:
        assert done == [RepairStep("cle", note="Nothing to equalize: no layer alone reads another's output.")]
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
    finish(CrossLayerEqualization().transform_model(model, None, []))
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
    assert finish(CrossLayerEqualization().transform_model(model, None, [])) == [RepairStep("cle", note=note)]


def test_equalized_weights_lose_less_with_one_scale_for_all() -> None:
    x, gains = randn(16, 2, 8, 8, seed=5), []
    for seed in range(6):
        model = prepare(settled(chain(), seed), x)
        wanted = output(model, x)
        plain, mended = (output(simulated(model, "int5", steps=steps, data=[]), x) - wanted for steps in ("", "cle"))
        gains.append(float(mended.square().mean() / plain.square().mean()))
    assert np.exp(np.log(gains).mean()) < 0.6
