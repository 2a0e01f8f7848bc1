"""One piece of a tensor, quantized and measured: in compiled code where it can be, else by the NumPy reference."""

import sys

import numpy as np

from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.bins import Bins
from qexplorer.quant.formats import Format
from qexplorer.quant.metrics import ErrorSums
from qexplorer.quant.observers import Ends, extremes
from qexplorer.quant.params import QuantParams
from qexplorer.quant.piece_sums import PieceSums
from qexplorer.quant.rounding import HALF_EVEN
from qexplorer.quant.tensor_source import widened

WORTH_CALLING = 1 << 15
"""Fewer values than these are as quick in NumPy."""
WORTH_LOADING = 1 << 20
"""Tensors of fewer values are done in NumPy as long as the kernels are not loaded, which takes half a second once."""
NOTHING = np.zeros(0, np.int64)


def plain(form: Format, params: QuantParams) -> bool:
    """Whether kernels know the format: integers, rounded half to even."""
    return form.uniform and params.offset is None and params.divisor is None and params.rounding == HALF_EVEN


def compiled(n: int, *, few: bool = False) -> bool:
    """Whether kernels are at hand and worth a call: for many values, or for `few` looked at again and again."""
    return (few or n >= WORTH_CALLING) and "qexplorer.quant.kernels" in sys.modules


def measure(
    rows: AnyArray, form: Format, params: QuantParams, bins: Bins | None = None, error_bins: Bins | None = None,
    together: int = 1,
) -> PieceSums:  # fmt: skip
    """Quantize `[R, N]` of any stored type and measure it; histograms only where there are `bins`.

    A scale serves equally many rows that follow each other; the squares of so many rows `together` are one sum. NaN
    (which also fills up short groups) and infinite values are left out.
    """
    if plain(form, params) and compiled(rows.size):
        from qexplorer.quant import kernels

        return kernels.measure(rows, params, bins, error_bins, together)
    each = len(rows) // max(len(params.scale), 1)
    part = params.repeat(each) if each > 1 else params
    return measure_reference(widened(rows), form, part, bins, error_bins, together=together)


def ends_of(rows: AnyArray) -> Ends:
    """The least and greatest finite value of each row of `[R, N]` of any stored type; +∞ and −∞ for none."""
    if compiled(rows.size):
        from qexplorer.quant import kernels

        return kernels.extremes(rows)
    return extremes(widened(rows))


def measure_reference(
    rows: Floats, form: Format, params: QuantParams, bins: Bins | None = None, error_bins: Bins | None = None,
    weights: Counts | None = None, together: int = 1,
) -> PieceSums:  # fmt: skip
    """What `measure` is held to, written for reading; each value counts once, or `weights` times `[R, N]`.

    A value that becomes no number, as zero times an infinite scale, errs infinitely.
    """
    codes = form.quantize(rows, params)
    y32 = form.dequantize(codes, params)
    finite = np.isfinite(rows)
    often = np.ones(1, np.int64) if weights is None else weights
    x = np.where(finite, rows, 0).astype(np.float64)
    y = np.where(finite, np.where(np.isnan(y32), np.float32(np.inf), y32), 0).astype(np.float64)
    error = y - x
    with np.errstate(invalid="ignore"):  # infinite values of both signs have no sum
        xy = float((often * x * y).sum())
    e2 = (often * error * error).sum(axis=1)
    x2 = (often * x * x).sum(axis=1)
    sums = ErrorSums(
        n=int((finite * often).sum()),
        e2=float(e2.sum()),
        e1=float((often * np.abs(error)).sum()),
        e_max=float(np.abs(error).max(initial=0.0)),
        x2=float(x2.sum()),
        y2=float((often * y * y).sum()),
        xy=xy,
        clipped=float((often * form.outside(np.where(finite, rows, np.float32(0)), params)).sum()),
        x_zeros=float((often * (finite & (x == 0))).sum()),
        y_zeros=float((often * (finite & (y == 0))).sum()),
    )
    counted = None if weights is None else weights[finite]
    return PieceSums(
        sums=sums,
        code_counts=np.bincount(
            codes[finite] - params.qmin, weights=counted, minlength=params.qmax - params.qmin + 1
        ).astype(np.int64),
        original=NOTHING if bins is None else bins.counts(rows[finite], counted),
        dequantized=NOTHING if bins is None else bins.counts(y32[finite], counted),
        errors=NOTHING if error_bins is None else error_bins.counts(_float32(error[finite]), counted),
        row_x2=x2.reshape(-1, together).sum(axis=1),
        row_e2=e2.reshape(-1, together).sum(axis=1),
    )


def _float32(errors: Doubles) -> Floats:
    with np.errstate(over="ignore"):  # what float32 cannot hold lies beyond every bin
        return errors.astype(np.float32)
