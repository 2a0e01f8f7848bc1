"""How much quantizing can change a value at most, as it follows from the parameters and the extremes of each group."""

import math
from dataclasses import dataclass

import numpy as np

from qexplorer.quant.arrays import Doubles
from qexplorer.quant.formats import Format
from qexplorer.quant.level_rules import LevelTable, SmallFloats, WholeNumbers
from qexplorer.quant.observers import Ends
from qexplorer.quant.params import QuantParams

ROUNDED = 2.0**-20
"""What float32 arithmetic may add to an error, as a share of the outermost level."""

NOISE = 2.0**-18
"""A value that exceeds the outermost level by no more than this share of it is less than half a step off, in any format
of up to 16 bits."""


@dataclass(frozen=True)
class ErrorLimits:
    """For each value x of group g: |e| ≤ `most[g]`, and |e| ≤ `share`·|x| or ≤ `least[g]`. `share` is infinite where
    that is not so, e.g. because zero is no level; `most` is infinite where a value may become infinite. `clips` says
    whether some value may be clipped.
    """

    most: Doubles
    share: float
    least: Doubles
    clips: bool = False

    @staticmethod
    def of(form: Format, params: QuantParams, ends: Ends) -> "ErrorLimits":
        """Those of groups with finite values from `ends[0]` to `ends[1]`, `[G]` each, both 0 for none."""
        lo, hi = (end.astype(np.float64) for end in ends)
        reach = np.maximum(-lo, hi)
        rounding = _rounding(form, params, reach)
        least, most = form.reach(params)
        beyond = np.maximum(np.maximum(hi - most, least - lo), 0)  # what is clipped is so far from the outermost level
        outermost = np.maximum(np.abs(least), np.abs(most))
        if not form.scaled:
            beyond = np.where(beyond > 0, np.inf, 0)  # a plain cast overflows
        clipped = float(np.divide(beyond, outermost, out=np.zeros_like(beyond), where=beyond > 0).max(initial=0.0))
        share = rounding.share if math.isinf(rounding.share) else max(rounding.share, min(clipped, 1 + ROUNDED))
        limit = np.maximum(rounding.most, beyond) + outermost * ROUNDED
        if share <= 1.5:  # no error is larger than its value
            limit = np.minimum(limit, reach * share + rounding.least)
        return ErrorLimits(limit, share, rounding.least, bool((beyond > outermost * NOISE).any()))


def _rounding(form: Format, params: QuantParams, reach: Doubles) -> ErrorLimits:
    """The limits for values that are not clipped; values of magnitude up to `reach`."""
    scale, nothing = np.abs(params.scale.astype(np.float64)), np.zeros(len(params.scale))
    step = scale if params.divisor is None else np.abs(params.divisor.astype(np.float64))
    divides = np.isfinite(step) & (step > 0)
    apart = np.where(divides, np.abs(scale - step), 0)  # between what is divided by and what is multiplied with
    off = 2 * float(np.divide(apart, step, out=np.zeros_like(step), where=divides).max(initial=0.0))
    rule = form.rule
    match rule:
        case WholeNumbers():
            rounding = rule.rounding or params.rounding
            ends = form.level_ends(params)
            level = np.maximum(np.abs(ends.low), np.abs(ends.high)).astype(np.float64)
            most = step * (0.5 if rounding.to_nearest else 1.0) + apart * level
            if params.offset is not None:
                taken = params.offset if params.subtrahend is None else params.subtrahend
                offset = params.offset.astype(np.float64)
                most = most + np.abs(offset - taken) + np.abs(offset) * ROUNDED
            share = math.inf if params.offset is not None or rounding.by_place else 1 + off + ROUNDED
            return ErrorLimits(np.where(divides, most, reach), share, nothing)
        case LevelTable():
            table = form.level_ends(params).table
            assert table is not None  # noqa: S101  a rule of tables has one
            levels = table.astype(np.float64)
            most = step * np.diff(levels, axis=1).max(axis=1) / 2 + apart * np.abs(levels).max(axis=1)
            return ErrorLimits(most, 1 + off + ROUNDED if (levels == 0).any(axis=1).all() else math.inf, nothing)
        case SmallFloats():
            times = 1.0 if params.rounding.to_nearest or not form.scaled else 2.0
            share = times * 2.0 ** -(rule.number.mantissa_bits + 1) + off + ROUNDED
            if params.rounding.by_place and form.scaled:
                share = math.inf
            least = times * rule.number.half_ulp(0.0) * step
            return ErrorLimits(reach * share + least, share, least)
