"""One block of values, quantized and measured: in compiled code where it can be, else by the NumPy reference."""

import sys
from dataclasses import dataclass, replace

import numpy as np

from qexplorer.quant.arrays import Counts, Doubles, Floats
from qexplorer.quant.bins import Bins
from qexplorer.quant.formats import Format
from qexplorer.quant.formats.integer import Integer
from qexplorer.quant.metrics import ErrorSums
from qexplorer.quant.params import QuantParams

WORTH_CALLING = 1 << 15
"""Fewer values than these are as quick in NumPy."""
WORTH_LOADING = 1 << 20
"""Fewer values than these are done in NumPy before the kernels are loaded, which takes half a second once."""


@dataclass(frozen=True)
class Measured:
    """What a block adds: sums, histograms and code counts, and per group Σx² and Σe² (`[G]` of its groups)."""

    sums: ErrorSums
    code_counts: Counts
    original: Counts
    dequantized: Counts
    errors: Counts
    group_x2: Doubles
    group_e2: Doubles

    def join(self, other: "Measured", groups: range, all_groups: int) -> "Measured":
        """This and another block, whose groups are `groups` of `all_groups`."""
        x2, e2 = (np.pad(v, (0, all_groups - len(v))) for v in (self.group_x2, self.group_e2))
        x2[groups.start : groups.stop] += other.group_x2
        e2[groups.start : groups.stop] += other.group_e2
        return replace(
            self,
            sums=self.sums + other.sums,
            code_counts=self.code_counts + other.code_counts,
            original=self.original + other.original,
            dequantized=self.dequantized + other.dequantized,
            errors=self.errors + other.errors,
            group_x2=x2,
            group_e2=e2,
        )


def compiled(rows: Floats, form: Format, params: QuantParams) -> bool:
    """Whether kernels serve this block: plain integers, rounded half to even, and enough of them."""
    least = WORTH_CALLING if "qexplorer.quant.kernels" in sys.modules else WORTH_LOADING
    plain = params.offset is None and params.divisor is None and params.rounding == "half_even"
    return isinstance(form, Integer) and plain and rows.size >= least


def measure(rows: Floats, form: Format, params: QuantParams, bins: Bins, error_bins: Bins) -> Measured:
    """Quantize `[G, N]` and measure it. NaN (which also fills up short groups) and infinite values are left out."""
    if compiled(rows, form, params):
        from qexplorer.quant import kernels

        return kernels.measure(rows, params, bins, error_bins)
    return measure_reference(rows, form, params, bins, error_bins)


def measure_reference(rows: Floats, form: Format, params: QuantParams, bins: Bins, error_bins: Bins) -> Measured:
    """What `measure` is held to, written for reading."""
    codes = form.quantize(rows, params)
    y32 = form.dequantize(codes, params)
    finite = np.isfinite(rows)
    x = np.where(finite, rows, 0).astype(np.float64)
    y = np.where(finite, y32, 0).astype(np.float64)
    error = y - x
    e2 = np.einsum("gn,gn->g", error, error)
    x2 = np.einsum("gn,gn->g", x, x)
    sums = ErrorSums(
        n=int(finite.sum()),
        e2=float(e2.sum()),
        e1=float(np.abs(error).sum()),
        e_max=float(np.abs(error).max(initial=0.0)),
        x2=float(x2.sum()),
        y2=float(np.einsum("gn,gn->", y, y)),
        xy=float(np.einsum("gn,gn->", x, y)),
        clipped=float(form.outside(np.where(finite, rows, np.float32(0)), params).sum()),
    )
    return Measured(
        sums=sums,
        code_counts=np.bincount(codes[finite] - params.qmin, minlength=params.qmax - params.qmin + 1).astype(np.int64),
        original=bins.counts(rows[finite]),
        dequantized=bins.counts(y32[finite]),
        errors=error_bins.counts(_float32(error[finite])),
        group_x2=x2,
        group_e2=e2,
    )


def _float32(errors: Doubles) -> Floats:
    with np.errstate(over="ignore"):  # what float32 cannot hold lies beyond every bin
        return errors.astype(np.float32)
