"""PyTorch's histogram observer: 2,048 bins, and a greedy search for the part of them that is worth covering."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Doubles, Floats
from qexplorer.quant.observers import Observer, Passes, Target, extremes, observers
from qexplorer.quant.weighted import Sample

BINS = 2048
UPSAMPLE = 16
STEP = 1e-5
CELLS = 256


@dataclass(frozen=True)
class Bins:
    """How many values fell into each of `BINS` equal bins between `lo` and `hi`."""

    lo: np.float32
    hi: np.float32
    counts: Floats


@observers.register
@dataclass(frozen=True)
class Histogram(Observer):
    """The range that PyTorch's `HistogramObserver` finds.

    From both ends it moves in quantiles of 10⁻⁵, on whichever side that skips more bins, until the estimated L2 error
    rises. The search is greedy, so it need not find the best range. Computed in float32, as torch does. The error is
    that of the 256 cells of an 8-bit type, as in torch, which stores fewer bits in such a type, too.
    """

    name: ClassVar[str] = "histogram"
    title: ClassVar[str] = "Histogram"
    help: ClassVar[str] = (
        "PyTorch's HistogramObserver: 2,048 bins, a greedy search for the least error in 256 cells. Not the optimum, "
        "and too wide below 8 bits."
    )
    order: ClassVar[int] = 30

    def refusal(self, spec: Any) -> str:
        if not spec.granularity.shared:
            return "PyTorch's histogram observer exists only for one range per tensor."
        return "" if spec.format.uniform else "PyTorch's histogram observer knows only evenly spaced integers."

    def update(self, stats: Any, rows: Floats) -> Any:
        values = rows[np.isfinite(rows)]
        if not values.size:
            return stats
        (lo,), (hi,) = extremes(values.reshape(1, -1))
        if stats is None:
            return Bins(lo, hi, _count(values, lo, hi))
        old: Bins = stats
        lo, hi = min(lo, old.lo), max(hi, old.hi)
        return Bins(lo, hi, _count(values, lo, hi) + _rebin(old, lo, hi))

    def of_sample(self, sample: Sample) -> Any:
        values, weights = sample.counted(0)
        if not values.size:
            return None
        found = values.astype(np.float32)
        return Bins(found[0], found[-1], _count(found, found[0], found[-1], weights))

    def by_passes(self, passes: Passes) -> Steps[Any]:
        yield Progress("Finding the range")
        lo, hi = (np.float32(end) for end in passes.ends)
        if lo > hi:
            return None
        counts = yield from passes.sum(lambda x: _places(x, lo, hi))
        return Bins(lo, hi, counts.astype(np.float32))

    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        if stats is None:
            return np.zeros(1, np.float32), np.zeros(1, np.float32)
        bins: Bins = stats
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # beyond float32 every error is infinite
            start, end = _search(bins, max(target.levels, CELLS))
        lo, width = bins.lo, _wide(bins.lo, bins.hi) / np.float32(BINS)
        return (np.array([lo + width * np.float32(start)], np.float32),
                np.array([lo + width * np.float32(end + 1)], np.float32))  # fmt: skip


def _wide(lo: np.floating[Any], hi: np.floating[Any]) -> np.floating[Any]:
    """`hi − lo` in float32 as torch has it; in float64 where torch's own products would overflow."""
    with np.errstate(over="ignore"):
        width = hi - lo
        return width if np.isfinite(width * np.float32(BINS)) else np.float64(hi) - np.float64(lo)


def _count(values: Floats, lo: np.float32, hi: np.float32, weights: Doubles | None = None) -> Floats:
    return _places(values, lo, hi, weights).astype(np.float32)


def _places(values: Floats, lo: np.float32, hi: np.float32, weights: Doubles | None = None) -> AnyArray:
    if lo == hi:
        room = np.maximum(np.float32(1), np.abs(lo) * np.float32(2.0**-20))  # of large values 1 is no part
        lo, hi = lo - room, hi + room
    width = _wide(lo, hi)
    place = ((values.astype(width.dtype) - lo) * np.float32(BINS) / width).astype(np.int64)
    return np.bincount(np.minimum(place, BINS - 1), weights, BINS)


def _rebin(old: Bins, lo: np.float32, hi: np.float32) -> Floats:
    if (lo, hi) == (old.lo, old.hi):
        return old.counts
    if old.lo == old.hi:
        return _count(np.array([old.lo]), lo, hi) * np.float32(old.counts.sum())
    fine = np.repeat(old.counts, UPSAMPLE) / np.float32(UPSAMPLE)
    width = (old.hi - old.lo) / np.float32(BINS * UPSAMPLE)
    middles = _linspace(old.lo, old.hi, BINS * UPSAMPLE + 1)[:-1] + np.float32(0.5) * width
    place = np.searchsorted(_linspace(lo, hi, BINS + 1), middles, side="right") - 1
    return np.bincount(np.clip(place, 0, BINS - 1), weights=fine, minlength=BINS).astype(np.float32)


def _linspace(lo: np.float32, hi: np.float32, n: int) -> Floats:
    """Equal float32 steps counted from the nearer end, each rounded once, as torch's `linspace` does."""
    step = np.float64((hi - lo) / np.float32(n - 1))
    i = np.arange(n)
    return np.where(i < n // 2, lo + step * i, hi - step * (n - 1 - i)).astype(np.float32)


def _search(bins: Bins, levels: int) -> tuple[int, int]:
    """The first and last bin to cover."""
    reached: list[float] = np.cumsum(bins.counts, dtype=np.float64).astype(np.float32).tolist()
    total = float(bins.counts.sum())
    alpha, beta, start, end, least = 0.0, 1.0, 0, BINS - 1, np.inf
    while alpha < beta:
        next_alpha, next_beta = alpha + STEP, beta - STEP
        left = min(max(bisect_left(reached, float(np.float32(next_alpha * total))), start), end)
        right = max(min(bisect_right(reached, float(np.float32(next_beta * total))) - 1, end), start)
        if left - start > end - right:
            trial, alpha = (left, end), next_alpha
        else:
            trial, beta = (start, right), next_beta
        if trial == (start, end):
            continue
        error = _error(bins, *trial, levels)
        if error > least:
            break
        least = error
        start, end = trial
    return start, end


def _error(bins: Bins, start: int, end: int, levels: int) -> float:
    """The L2 error when the bins `start`..`end` are covered by `levels` cells and values are uniform in each bin.

    A bin that spans several cells has a part in its first cell, whole cells, and a part in its last one; a value's
    error is its distance from the cell's centre, and ∫x² from a to b is (b³ − a³)/3.
    """
    width = (float(bins.hi) - float(bins.lo)) / BINS
    cell_width = width * (end - start + 1) / levels
    if cell_width == 0.0:
        return 0.0
    cell = np.float32(cell_width)
    half = np.float32(cell_width / 2)
    begin = np.arange(-start, BINS - start).astype(np.float32) * np.float32(width)
    stop = begin + np.float32(width)
    first = np.clip(np.floor_divide(begin, cell), 0, levels - 1).astype(np.float32)
    last = np.clip(np.floor_divide(stop, cell), 0, levels - 1).astype(np.float32)
    density = bins.counts / np.float32(width)
    error = _cubes(begin - (first + np.float32(0.5)) * cell, np.full(BINS, half), density)
    error = error + (last - first - 1) * _cubes(np.full(BINS, -half), np.full(BINS, half), density)
    error = error + _cubes(np.full(BINS, -half), stop - (last * cell + half), density)
    return float(error.sum(dtype=np.float64))


def _cubes(a: AnyArray, b: AnyArray, density: Floats) -> AnyArray:
    return density * ((b * b * b - a * a * a) / np.float32(3))
