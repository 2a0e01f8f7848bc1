"""Histograms of a part of the axis, counted anew: at once from a sketch, then from every value."""

import math
from dataclasses import dataclass, replace

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.analysis import Analysis, unsketched
from qexplorer.quant.arrays import AnyArray, Doubles
from qexplorer.quant.axes import value_bins
from qexplorer.quant.bins import Bins, even_bins
from qexplorer.quant.error_sums import measure, plain
from qexplorer.quant.matrices import matrix_of
from qexplorer.quant.pieces import blocks, rows_of, size_of
from qexplorer.quant.pool import each
from qexplorer.quant.sketch import Sketch
from qexplorer.quant.tensor_source import Values, widened
from qexplorer.quant.tiling import Piece

BINS = 400
"""About so many bins are seen at once."""
FEW, MANY = 8, 5e-4
"""So many values at either end, or such a share of them, do not belong to the bulk if they lie far from it."""
MANY_STEPS = 50
Span = tuple[float, float]


@dataclass(frozen=True)
class Beyond:
    """How many values lie beyond one end of what is seen, and the farthest of them; NaN for none."""

    n: int = 0
    farthest: float = math.nan


@dataclass(frozen=True, eq=False)
class Window:
    """What lies between `left` and `right` of the value axis: `original` and `dequantized` values in `bins`, `[count]`,
    and what lies `below` and `above`. Not `exact`, it is of a sketch: counts need not be whole, and what is dequantized
    may not be known.
    """

    left: float
    right: float
    bins: Bins
    original: Doubles
    dequantized: Doubles | None
    below: Beyond
    above: Beyond
    exact: bool


@dataclass(frozen=True, eq=False)
class ErrorWindow:
    """The errors between `left` and `right` in `bins`, and how many lie `beyond`."""

    left: float
    right: float
    bins: Bins
    errors: Doubles
    beyond: int
    exact: bool


Windows = tuple[Window | None, ErrorWindow | None]


def window_of_sketch(whole: Sketch, a: Analysis, span: Span) -> Window:
    """What a sketch says of a part of the value axis: the values of a bucket lie evenly between its ends."""
    bins = _value_bins(a, span)
    cumulated = _Cumulated.of(whole)
    original = np.diff(cumulated(bins.edges))
    if whole.exact:
        original = bins.counts(whole.values, whole.counts).astype(np.float64)
    dequantized = None
    if not unsketched(a.applied):
        y = a.spec.format.dequantize(a.spec.format.quantize(whole.values[None], a.params), a.params)[0]
        dequantized = bins.counts(y, whole.counts).astype(np.float64)
    below, above = float(cumulated(np.array(span[0]))), whole.n - float(cumulated(np.array(span[1])))
    return Window(*span, bins, original, dequantized, _beyond(below, whole.values[:1]),
                  _beyond(above, whole.values[-1:]), exact=False)  # fmt: skip


def errors_of_sketch(whole: Sketch, a: Analysis, span: Span) -> ErrorWindow | None:
    """What a sketch says of a part of the error axis; nothing where scales differ from place to place."""
    if unsketched(a.applied):
        return None
    y = a.spec.format.dequantize(a.spec.format.quantize(whole.values[None], a.params), a.params)[0]
    with np.errstate(over="ignore"):
        error = (y.astype(np.float64) - whole.values).astype(np.float32)
    bins = even_bins(*span, BINS)
    errors = bins.counts(error, whole.counts).astype(np.float64)
    return ErrorWindow(*span, bins, errors, whole.n - int(errors.sum()), exact=False)


def count_windows(values: Values, a: Analysis, span: Span | None, errors: Span | None) -> Steps[Windows]:
    """Every value in the windows that are asked for, as `np.histogram` counts them; `a` is their exact analysis."""
    matrix, own = yield from matrix_of(values, a.spec)
    bins = replace(_value_bins(a, span), per_step=0) if span else Bins(0.0, 1.0, 1)
    error_bins = even_bins(*errors, BINS) if errors else Bins(0.0, 1.0, 1)
    left, right = (np.float64(end) for end in span or (0.0, 0.0))
    original, dequantized, found = (np.zeros(each.count, np.int64) for each in (bins, bins, error_bins))
    sides = np.zeros(2, np.int64)

    def work(piece: Piece) -> Steps[tuple[AnyArray, ...]]:
        yield Progress("Counting")
        rows = rows_of(matrix, own, piece)
        part = a.params.take(piece.groups.start, piece.groups.stop, piece.first)
        sums = measure(rows, own.format, part, bins, error_bins)
        finite = widened(rows)
        finite = finite[np.isfinite(finite)]
        return sums.original, sums.dequantized, sums.errors, np.array([(finite < left).sum(), (finite > right).sum()])

    def take(piece: Piece, more: tuple[AnyArray, ...]) -> None:
        del piece
        for total, part in zip((original, dequantized, found, sides), more, strict=True):
            np.add(total, part, out=total)

    pieces = blocks(matrix, own, searched=not plain(own.format, a.params))
    yield from each("Counting", pieces, work, take, size_of, values.n)
    n = a.metrics.n - a.metrics.nonfinite
    seen = Window(*span, bins, original.astype(np.float64), dequantized.astype(np.float64),
                  _beyond(sides[0], np.array([a.data_lo])), _beyond(sides[1], np.array([a.data_hi])),
                  exact=True) if span else None  # fmt: skip
    wrong = (
        ErrorWindow(*errors, error_bins, found.astype(np.float64), n - int(found.sum()), exact=True) if errors else None
    )
    return seen, wrong


def bulk_of(whole: Sketch) -> Span | None:
    """Where nearly all values lie, if a few lie so far from them that the rest is hard to see beside them; else `None`.

    Without the few at either end values reach from a to b; what is farther from them than b − a is no bulk.
    """
    if not whole.n:
        return None
    upto = np.cumsum(whole.counts)
    few = max(min(FEW, whole.n // 16), whole.n * MANY)
    a = float(whole.values[np.searchsorted(upto, few, "right")])
    b = float(whole.values[np.searchsorted(upto, whole.n - few, "left")])
    lo, hi = a - (b - a), b + (b - a)
    far = float(whole.values[0]) < lo or float(whole.values[-1]) > hi
    if not (a < b and far):
        return None
    return max(lo, float(whole.values[0])), min(hi, float(whole.values[-1]))


def outliers_of(whole: Sketch, bulk: Span) -> tuple[Beyond, Beyond]:
    """What lies below and above the bulk, counted by the means of buckets."""
    below, above = whole.values < bulk[0], whole.values > bulk[1]
    return (_beyond(int(whole.counts[below].sum()), whole.values[:1]),
            _beyond(int(whole.counts[above].sum()), whole.values[-1:]))  # fmt: skip


@dataclass(frozen=True)
class _Cumulated:
    """How many values lie below a place, by straight lines between the ends of buckets."""

    at: Doubles
    below: Doubles

    @staticmethod
    def of(whole: Sketch) -> "_Cumulated":
        upto = np.cumsum(whole.counts).astype(np.float64)
        ends = np.column_stack([whole.low, whole.high]).astype(np.float64).ravel()
        counts = np.column_stack([upto - whole.counts, upto]).ravel()
        return _Cumulated(np.maximum.accumulate(ends), counts)

    def __call__(self, places: Doubles) -> Doubles:
        if not self.at.size:
            return np.zeros(places.shape)
        return np.asarray(np.interp(places, self.at, self.below), np.float64)


def _value_bins(a: Analysis, span: Span) -> Bins:
    """Bins aligned to the steps of one grid only where many are seen: of few, each level is drawn by itself."""
    step = abs(float(a.params.scale[0])) if len(a.params.scale) == 1 else 0.0
    fine = step * MANY_STEPS <= span[1] - span[0]
    return value_bins(a.applied, a.params, *span, BINS) if fine else even_bins(*span, BINS)


def _beyond(n: float, farthest: AnyArray) -> Beyond:
    whole = math.ceil(n - 1e-6)
    return Beyond(whole, float(farthest[0])) if whole and farthest.size else Beyond()
