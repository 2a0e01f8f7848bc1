"""SmoothQuant: by hand, on a transformer, and where there is nothing to smooth."""

import pytest
import torch
from small_nets import batches, chain, chance, close, output, randn, ready, settled
from torch import Tensor, nn

from qexplorer.engine.models import models
from qexplorer.engine.repair.smooth_quant import SmoothQuant, smooth
from qexplorer.engine.simulation.graph import norm_readers
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.errors import UserError
from qexplorer.progress import finish

pytestmark = pytest.mark.usefixtures("one_thread")


def test_smoothing_a_transformer_keeps_its_outputs() -> None:
    net = finish(models["vit_digits"]().load(None))
    x = torch.rand((4, 1, 32, 32), generator=chance(0))
    model = prepare(net, x)
    before = output(model, x)
    done = finish(SmoothQuant(0.5).transform_model(model, None, [x.numpy()]))
    names = [f"blocks.{i}.{part}" for i in range(4) for part in ("attention.qkv", "mlp.0")]
    assert [d.name for d in done] == names  # the last norm is read by a mean
    assert close(output(model, x), before)
    assert any(d.activation_spread_after < 0.7 * d.activation_spread for d in done)


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
    done = finish(SmoothQuant().transform_model(model, None, batches(5, 6)))
    smoothed = how == "two layers"
    assert [names for _, names in norm_readers(model)] == ([["one", "two"]] if smoothed else [])
    assert bool(done[0].note) != smoothed
    assert close(output(model, x), before)


def test_a_channel_that_is_always_zero_does_not_blow_up() -> None:
    net = Read("two layers")
    settled(net)
    with torch.no_grad():
        net.norm.weight[2], net.norm.bias[2], net.one.weight[:, 3], net.two.weight[:, 3] = 0, 0, 0, 0
    x = randn(5, 6)
    model = prepare(net, x)
    before = output(model, x)
    finish(SmoothQuant().transform_model(model, None, batches(5, 6)))
    assert close(output(model, x), before)
    assert all(p.isfinite().all() for p in model.module.parameters())


def test_smoothing_needs_samples_and_layer_norms() -> None:
    model, _ = ready(Read("two layers"), 5, 6)
    with pytest.raises(UserError, match="Add calibration samples") as caught:
        finish(SmoothQuant().transform_model(model, None, []))
    assert caught.value.field == "calibration"
    model, _ = ready(chain(), 2, 2, 8, 8)
    (note,) = finish(SmoothQuant().transform_model(model, None, batches(2, 2, 8, 8)))
    assert note.note.startswith("Nothing to smooth")
