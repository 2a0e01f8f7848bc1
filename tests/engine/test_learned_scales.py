"""Scales that training learns (LSQ)."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.errors import UserError
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.scale_dtypes import scale_dtypes

STREAM = [torch.randn(6, 40, generator=torch.Generator().manual_seed(k)) * (k + 1) for k in range(4)]


def lsq(name: str = "int2", **more: Any) -> QuantSpec:
    return QuantSpec(format=formats[name], **more)


def test_a_learned_scale_starts_where_lsq_starts_it() -> None:
    module = FakeQuantize(lsq("int4", granularity=PerChannel(0)), learn_scale=True).calibrate(STREAM)
    mean = torch.cat(STREAM, dim=1).abs().mean(dim=1)
    torch.testing.assert_close(module.scale, nn.Parameter(2 * mean / 7**0.5))
    assert [name for name, _ in module.named_parameters()] == ["scale"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (lsq("nf4"), "NF4 is a table"),
        (lsq("mxint8"), "MXINT8 has"),
        (lsq("ternary"), "levels −S, 0 and S"),
        (lsq("q8_0"), "Q8_0 has blocks"),
        (lsq("int8", scheme="affine_float"), "float one"),
        (lsq("int8", scale_dtype=scale_dtypes["e8m0"]), "float32 scales"),
        (lsq("int1"), "One bit"),
    ],
)
def test_scales_that_lsq_does_not_serve_are_refused(spec: QuantSpec, why: str) -> None:
    with pytest.raises(UserError, match=why):
        FakeQuantize(spec, learn_scale=True)


def test_a_learned_scale_must_be_set_first() -> None:
    with pytest.raises(UserError, match="Calibrate first"):
        FakeQuantize(lsq(), learn_scale=True)(torch.randn(3))


def test_a_learned_scale_is_saved_loaded_copied_and_stays_the_optimizers() -> None:
    x = torch.randn(5, 20)
    module = FakeQuantize(lsq(scheme="affine"), learn_scale=True).calibrate([x])
    assert module.scale is not None
    parameter = module.scale
    state = copy.deepcopy(module.state_dict())
    optimizer = torch.optim.SGD([parameter], 0.1)
    module(x).square().sum().backward()
    optimizer.step()
    assert not torch.equal(parameter.detach(), state["scale"])
    trained = module(x)
    assert torch.equal(copy.deepcopy(module)(x), trained)
    module.load_state_dict(state)
    assert module.scale is parameter
    fresh = FakeQuantize(module.spec, learn_scale=True)
    fresh.load_state_dict(state)
    assert torch.equal(fresh(x), module(x))
    assert not torch.equal(module(x), trained)
    assert isinstance(module.to(torch.bfloat16).scale, nn.Parameter)


def test_a_step_below_zero_does_not_end_learning() -> None:
    module = FakeQuantize(lsq("int8"), learn_scale=True).calibrate([torch.randn(9)])
    assert module.scale is not None
    module.scale.data.fill_(-1)
    module(torch.randn(9)).sum().backward()
    assert module.scale.item() == 2.0**-126
    assert module.scale.grad is not None


def trained_loss(learn_scale: bool) -> float:
    """The loss of a small regression with 2-bit weights and activations after 200 steps from the same scales."""
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    y = torch.tanh(x @ torch.randn(8, 16)) @ torch.randn(16, 1)
    one, two = nn.Linear(8, 16), nn.Linear(16, 1)

    def quantizer(spec: QuantSpec, seen: Tensor) -> FakeQuantize:
        start = FakeQuantize(spec, learn_scale=True).calibrate([seen])
        return start if learn_scale else FakeQuantize(spec, start.params)

    first = quantizer(lsq(granularity=PerChannel(0)), one.weight)
    second = quantizer(lsq(granularity=PerChannel(0)), two.weight)
    hidden = quantizer(lsq("uint2", scheme="affine"), one(x).relu())
    optimizer = torch.optim.Adam(nn.ModuleList([one, two, first, second, hidden]).parameters(), 0.01)
    losses: list[float] = []
    for _ in range(200):
        optimizer.zero_grad()
        h = hidden(nn.functional.linear(x, first(one.weight), one.bias).relu())
        loss = nn.functional.mse_loss(nn.functional.linear(h, second(two.weight), two.bias), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    return losses[-1]


def test_training_with_learned_scales_ends_below_training_with_frozen_ones() -> None:
    assert trained_loss(learn_scale=True) < 0.9 * trained_loss(learn_scale=False)
