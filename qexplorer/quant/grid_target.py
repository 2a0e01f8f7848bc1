"""What an observer may ask about the grid of a spec."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.error_sums import compiled, plain
from qexplorer.quant.observers import Ends, Grid, Target, as_float32
from qexplorer.quant.rounding import HALF_EVEN
from qexplorer.quant.scale_dtypes import FLOAT32, Float32
from qexplorer.quant.spec import QuantSpec

MOST_LEVELS = 256
FEW_BITS = 2
AFFINE_BITS = 4
"""An affine grid of more bits has too many zero points to try them all."""


def target(spec: QuantSpec, tensor_reach: float | None = None) -> Target:
    """The grid of a spec; `tensor_reach` is the largest magnitude of the tensor, where scales depend on it."""
    # A search compares ranges, and chance would decide between them.
    rounding = HALF_EVEN if spec.rounding.by_place else spec.rounding
    dtype = FLOAT32 if spec.scale_dtype.late else spec.scale_dtype  # depends on other groups' ranges
    choices = replace(spec.choices, rounding=rounding, scale_dtype=dtype, tensor_reach=tensor_reach)

    def error(rows: Floats, lo: Floats, hi: Floats, weights: Doubles | None, power: float) -> Doubles:
        params = spec.format.choose(lo, hi, choices)
        if power == 2 and plain(spec.format, params) and compiled(rows.size, few=weights is not None):
            from qexplorer.quant import kernels

            return kernels.squared_error(rows, params, weights)
        off = spec.format.dequantize(spec.format.quantize(rows, params), params) - rows
        np.nan_to_num(off, copy=False, nan=0.0)
        if power != 2:
            off = np.abs(off).astype(np.float64) ** (power / 2)
        if weights is None:
            return np.einsum("gn,gn->g", off, off, dtype=np.float64)
        return np.einsum("gn,gn,gn->g", off, off, weights, dtype=np.float64)

    bits = spec.format.code_bits
    uneven = not spec.format.uniform or (spec.scheme == "symmetric" and bits <= FEW_BITS)
    swept = bool(uneven and isinstance(dtype, Float32) and dtype.bits == FLOAT32.bits
                 and rounding.to_nearest and grids(spec))  # fmt: skip
    return Target(
        levels=2**bits,
        bits=bits,
        error=error,
        grids=lambda: grids(spec),
        swept=swept,
        two_ended=spec.scheme != "symmetric",
    )


@lru_cache(maxsize=8)
def grids(spec: QuantSpec) -> tuple[Grid, ...]:
    """The tables of levels that the spec can put a scale to: one, or one for each zero point or sign of the scale."""
    form = spec.format
    if not form.scaled or "observer" not in form.applies or 2**form.code_bits > MOST_LEVELS:
        return ()
    if spec.scheme != "symmetric":
        return _affine_grids(spec)
    one = np.ones(1, np.float32)
    params = form.choose(-one, one, replace(spec.choices, scale_dtype=FLOAT32))
    unit = float(np.abs(params.scale[0]))
    codes = np.arange(params.qmin, params.qmax + 1, dtype=np.int32)
    values = form.dequantize(codes[None], replace(params, scale=np.copysign(one, params.scale)))[0].astype(np.float64)
    levels = np.unique(values[np.isfinite(values)])
    if spec.convention == "signed_extreme" and "convention" in form.applies:
        levels = levels if -levels[0] >= levels[-1] else -levels[::-1]
        low, high = float(levels[0]), float(levels[-1])
        return Grid(levels, _times(low, high)), Grid(-levels[::-1], _times(-high, -low))
    return (Grid(levels, _times(-1 / unit, 1 / unit)),)


def _affine_grids(spec: QuantSpec) -> tuple[Grid, ...]:
    bits = spec.format.code_bits
    if spec.scheme != "affine" or bits > AFFINE_BITS:
        return ()
    codes = np.arange(2**bits, dtype=np.float64)
    return tuple(Grid(codes - z, _times(-z, codes[-1] - z)) for z in codes)


def _times(low: float, high: float) -> Callable[[Doubles], Ends]:
    """`ends` of a grid: so many scales below and above zero."""

    def ends(scale: Doubles) -> Ends:
        return as_float32(scale * low), as_float32(scale * high)

    return ends
