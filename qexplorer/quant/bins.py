"""Equal bins: where a histogram's edges lie, and counting into them."""

import math
from dataclasses import dataclass

import numpy as np

from qexplorer.quant.arrays import Counts, Doubles, Floats


@dataclass(frozen=True)
class Bins:
    """`count` bins of equal `width` from `start` on. `per_step` of them make one quantization step, 0 if unaligned."""

    start: float
    width: float
    count: int
    per_step: int = 0

    @property
    def stop(self) -> float:
        """The last edge."""
        return self.start + self.width * self.count

    @property
    def edges(self) -> Doubles:
        """All edges, `[count + 1]`, to the bit those that `np.histogram` puts between `start` and `stop`."""
        return np.linspace(self.start, self.stop, self.count + 1, dtype=np.float64)

    def counts(self, values: Floats, weights: Counts | None = None) -> Counts:
        """How many of the finite `values` lie in each bin, each counted once or `weights` times; the outermost bins
        also take the edges: `[count]`.
        """
        known = np.isfinite(values)
        finite = values[known].astype(np.float64)
        often = None if weights is None else weights[known]
        return np.histogram(finite, self.count, (self.start, self.stop), weights=often)[0].astype(np.int64)


def even_bins(lo: float, hi: float, count: int) -> Bins:
    """`count` bins that cover `lo`..`hi`."""
    if not lo < hi:
        room = max(abs(lo), 1.0) * 0.5
        lo, hi = lo - room, hi + room
    width = (hi - lo) / count
    return Bins(lo, width * (1 + 1e-12), count)


def step_bins(lo: float, hi: float, step: float, level: float, count: int) -> Bins:
    """About `count` bins that cover `lo`..`hi`, aligned to the quantization steps around `level`.

    A step holds an odd number of bins, so that a level lies in the middle of one; where steps are finer than bins
    wanted, a bin holds an odd number of whole steps.
    """
    first, last = math.floor((lo - level) / step + 0.5), math.ceil((hi - level) / step - 0.5)
    first -= level + (first - 0.5) * step > lo  # a value half way between two levels, left out by rounding
    last = max(last, first)
    bins = _steps(first, last, step, level, count)
    return bins if bins.stop >= hi else _steps(first, last + 1, step, level, count)


def _steps(first: int, last: int, step: float, level: float, count: int) -> Bins:
    steps = last - first + 1
    start = level + (first - 0.5) * step
    if steps <= count:
        per_step = _odd(count / steps)
        return Bins(start, step / per_step, steps * per_step, per_step)
    merged = _odd(steps / count)
    return Bins(start, step * merged, math.ceil(steps / merged))


def _odd(x: float) -> int:
    return max(1, 2 * round((x - 1) / 2) + 1)
