"""A model made ready: what is traced, what is only copied, and which of its parts are layers."""

import copy
from typing import Any

import pytest
import torch
from small_nets import alike, foldable, output, randn, settled
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from torch.nn.utils import parametrizations

from qexplorer.engine.simulation.layers import QuantizeInput, quantize_input, weight_quantizer
from qexplorer.engine.simulation.prepared import is_layer, prepare
from qexplorer.engine.simulation.stages import Stages
from qexplorer.quant import QuantSpec

pytestmark = pytest.mark.usefixtures("one_thread")


class Branching(nn.Module):
    """Defined in another order than it runs in, and it looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused, self.first = nn.Linear(6, 2), nn.Linear(4, 4), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x if x.sum() > 0 else -x)


def test_a_model_that_does_not_trace_is_copied_and_says_so() -> None:
    net, x = settled(Branching()), randn(3, 4, seed=1)
    found = prepare(net, x)
    assert not found.traced
    assert "TraceError: symbolically traced variables cannot be used" in found.note
    assert "batch norm" in found.note
    assert list(found.layers) == ["first", "last", "unused"]
    assert torch.equal(output(found.module, x), output(net, x))
    assert not any(layer._forward_pre_hooks for layer in found.layers.values())
    with pytest.raises(TypeError, match="Only a traced model"):
        Stages(found)


def test_a_model_that_remembers_gives_other_outputs_when_traced() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.calls = nn.Linear(4, 2), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.linear(x) * self.calls

    found = prepare(settled(Counting()), randn(3, 4, seed=1))
    assert not found.traced
    assert "the traced copy gives other outputs" in found.note


def test_a_model_in_training_mode_is_left_so_and_its_copy_is_not() -> None:
    net = settled(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5))).train()
    before = copy.deepcopy(net.state_dict())
    found = prepare(net, randn(2, 2, 5, 5, seed=1))
    assert net.training
    assert not found.module.training
    assert found.traced
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


class Own(nn.Linear):
    """A linear layer that computes in a way of its own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return F.linear(input, self.weight / self.weight.abs().max(), self.bias)


class Renamed(nn.Linear):
    """One by another name."""


def test_a_layer_that_computes_otherwise_is_none_and_is_named() -> None:
    net, x = settled(nn.Sequential(Renamed(4, 3), Own(3, 2))), randn(3, 4, seed=1)
    found = prepare(net, x)
    assert found.traced
    assert list(found.layers) == ["0"]
    assert "26.1%" in found.note
    assert "1.weight" in found.note
    assert torch.equal(output(found.module, x), output(net, x))


def test_the_layers_within_torch_s_own_blocks_are_found() -> None:
    block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    net, x = settled(nn.Sequential(nn.Linear(4, 8), block)), randn(3, 5, 4, seed=1)
    found = prepare(net, x)
    assert not found.traced
    assert list(found.layers) == ["0", "1.linear1", "1.linear2"]
    assert not is_layer(block.self_attn.out_proj)
    assert "44.8%" in found.note
    assert "1.self_attn.in_proj_weight, 1.self_attn.out_proj.weight" in found.note


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_are_computed_become_plain_ones() -> None:
    net, x = settled(nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)))), randn(2, 4, seed=1)
    found = prepare(net, x)
    layer: Any = found.layers["0"]
    assert isinstance(layer.weight, nn.Parameter)
    assert alike(found.module, net, x)
    assert hasattr(net[0], "parametrizations")


def test_a_copy_shares_nothing() -> None:
    net, x = settled(foldable()), randn(3, 2, 6, 6, seed=1)
    found = prepare(net, x)
    quantize_input(found.layers["0"], weight_quantizer("x", x, QuantSpec.parse("uint8 affine")))
    twin = found.copy()
    assert list(twin.layers) == list(found.layers)
    before = output(found.module, x)
    assert torch.equal(output(twin.module, x), before)
    own: Any = [next(iter(p.layers["0"]._forward_pre_hooks.values())) for p in (found, twin)]
    assert all(isinstance(hook, QuantizeInput) for hook in own)
    assert own[0].quantizer is not own[1].quantizer
    with torch.no_grad():
        for tensor in [*twin.module.state_dict().values(), own[1].quantizer.scale]:
            tensor.zero_()
    assert torch.equal(output(found.module, x), before)
