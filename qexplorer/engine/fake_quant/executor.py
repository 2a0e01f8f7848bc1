"""The executor: rows of values to what their codes stand for, with a gradient for the values and for the scale.

Every step is a float32 operation of its own, as in the reference, so that results are equal to the bit. The gradient
is that of the straight-through estimator: it passes where a value is not clipped.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qexplorer.engine.fake_quant.plan import Plan
from qexplorer.engine.fake_quant.rounding import round_to_integer
from qexplorer.quant.level_rules import LevelTable, SmallFloats, WholeNumbers
from qexplorer.quant.minifloat import Minifloat
from qexplorer.quant.rounding import HALF_EVEN, Rounding

FLOAT32_MANTISSA = 23
FLOAT32_BIAS = 127

Levels = tuple[Tensor, Tensor]
"""The levels that quotients `[G, N]` are rounded to, in units of the scale, and where they are not clipped."""


class StraightThrough(torch.autograd.Function):
    """Rows `[G, N]` and their scales `[G]` → dequantized rows. With Q the level of a value x and s its scale:

    dx = dy inside and 0 where clipped; ds = gain·Σ dy·(Q − x/s) inside and gain·Σ dy·Q where clipped (LSQ, Esser et
    al. 2020, equation 3).
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: Tensor, plan: Plan, gain: Tensor | float) -> Tensor:
        if not ctx.needs_input_grad[1] and _fused(rows, plan):
            ctx.gain = gain
            values, inside = torch.ops.aten.fake_quantize_per_tensor_affine_cachemask(
                rows, float(scale), 0, int(plan.low), int(plan.high)
            )
            ctx.save_for_backward(inside, None)
            return values
        known = ~rows.isnan()
        x = _quotient(rows, scale, plan)
        levels, inside = _levels(x, plan)
        inside = inside & known
        slope = torch.where(inside, levels - x, levels) if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(inside, slope)
        ctx.gain = gain
        values = levels * scale[:, None]
        return values if plan.offset is None else values + plan.offset[:, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (dy,) = grads
        inside, slope = ctx.saved_tensors
        dx = torch.where(inside, dy, 0.0) if ctx.needs_input_grad[0] else None
        ds = None if slope is None else (dy * slope).sum(dim=1) * ctx.gain
        return dx, ds, None, None


def _fused(rows: Tensor, plan: Plan) -> bool:
    """Whether torch's own kernel gives the same bits in one pass: one scale, whole levels about zero, no NaN.

    An accelerator would have to wait for the answer.
    """
    whole = plan.rule == WholeNumbers() and plan.rounding == HALF_EVEN and plan.division == "reciprocal"
    plain = plan.divisor is None and plan.offset is None and plan.subtrahend is None
    if not (whole and plain) or len(rows) != 1 or len(plan.scale) != 1 or rows.device.type != "cpu":
        return False
    if not (plan.scale > 0 and plan.low <= 0 <= plan.high):
        return False
    return bool(torch.isfinite(rows.sum()))  # infinite ones could be, too, and take the other way


def _quotient(rows: Tensor, scale: Tensor, plan: Plan) -> Tensor:
    """The rows in units of the scale; NaN becomes the level that stands for zero."""
    if isinstance(plan.rule, WholeNumbers) and plan.rule.finite:
        rows = rows.nan_to_num(nan=0.0)
    less = plan.offset if plan.subtrahend is None else plan.subtrahend
    if less is not None:
        rows = rows - less[:, None]
    divisor = (scale if plan.divisor is None else plan.divisor)[:, None]
    x = rows * (1 / divisor) if plan.division == "reciprocal" else rows / divisor
    return torch.where(x.isnan(), plan.zero[:, None], x)


def _levels(x: Tensor, plan: Plan) -> Levels:
    match plan.rule:
        case SmallFloats(number, saturates):
            return _floating(x, plan, number, saturate=saturates)
        case WholeNumbers(rounding):
            return _whole(x, plan, rounding or plan.rounding)
        case LevelTable():
            return _nearest(x, plan)


def _whole(x: Tensor, plan: Plan, rounding: Rounding) -> Levels:
    """Whole numbers between two ends; adding 0 takes the sign off a zero, since an integer code has none."""
    low, high = plan.low[:, None], plan.high[:, None]
    whole = round_to_integer(x, rounding, plan.first)
    return whole.clamp(low, high) + 0.0, (whole >= low) & (whole <= high)


def _nearest(x: Tensor, plan: Plan) -> Levels:
    """The nearest level of a table, the lower one at a tie."""
    assert plan.table is not None  # noqa: S101  only a plan with a table comes here
    assert plan.cuts is not None  # noqa: S101  and every table has cuts
    cuts = plan.cuts[0] if len(plan.cuts) == 1 else plan.cuts
    codes = torch.searchsorted(cuts.contiguous(), x.contiguous())
    inside = (x >= plan.low[:, None]) & (x <= plan.high[:, None])
    return torch.take_along_dim(plan.table, codes, dim=1), inside


def _floating(x: Tensor, plan: Plan, number: Minifloat, *, saturate: bool) -> Levels:
    """The nearest value of a small float; a zero keeps the sign of what it was rounded from."""
    inside = (x >= plan.low[:, None]) & (x <= plan.high[:, None])
    if number.bias == FLOAT32_BIAS:
        return _shortened(x, number), inside
    magnitude = x.abs().clamp(max=2 * number.largest)
    binade = (magnitude.view(torch.int32) >> FLOAT32_MANTISSA) - FLOAT32_BIAS
    step = binade.clamp(min=1 - number.bias) - number.mantissa_bits  # the exponent of the distance between neighbours
    steps = round_to_integer((magnitude * _power(-step)).copysign(x), plan.rounding, plan.first, exact=True).abs()
    values = steps * _power(step)
    if saturate or number.specials != "ieee":
        values = values.clamp(max=number.largest)
    else:
        values = torch.where(values > number.largest, torch.inf, values)
    return values.copysign(x), inside


def _power(exponent: Tensor) -> Tensor:
    """2^exponent for −126 … 127, put together from its bits."""
    return ((exponent + FLOAT32_BIAS) << FLOAT32_MANTISSA).view(torch.float32)


def _shortened(x: Tensor, number: Minifloat) -> Tensor:
    """A float32 with fewer bits of mantissa, half to even: bits are added so that they carry, even into infinity."""
    cut = FLOAT32_MANTISSA - number.mantissa_bits
    bits = x.abs().view(torch.int32)
    bits = bits + ((1 << (cut - 1)) - 1) + ((bits >> cut) & 1)
    return (bits >> cut << cut).view(torch.float32).copysign(x)
