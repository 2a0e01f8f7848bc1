"""The observers that balance rounding against clipping."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.observers import Ends, Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.observers.sweep import best_ranges
from qexplorer.quant.weighted import Sample
from qexplorer.settings import setting

TRIALS = 100
AT_ONCE = 1 << 14
"""So many values are looked at by one call: with fewer, calling costs more than the arithmetic."""
Shares: TypeAlias = tuple[Floats, Floats]
"""One end of the range of each group, `[G]`, and the shares of it that are tried, `[T]`."""


@dataclass(frozen=True)
class _Best:
    """The best range of each group so far, and its error: `[G]` each."""

    lo: Floats
    hi: Floats
    errors: Doubles | float

    def or_better(self, other: "_Best") -> "_Best":
        """This, or the other where that errs no more."""
        better = self.errors < other.errors
        return _Best(*(np.where(better, a, b) for a, b in
                       ((self.lo, other.lo), (self.hi, other.hi), (self.errors, other.errors))))  # fmt: skip


class BestShare(Observer):
    """The fraction k/100 of the min/max range, k = 1 … 100, whose Σ|e|^power is least (Nagel et al. 2021).

    With a zero point the upper and then the lower end are also tried alone, in fractions of 1/50.
    """

    @property
    @abstractmethod
    def power(self) -> float:
        """The power of the error that is summed."""

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        sample: Sample = stats
        lo, hi = zero_if_empty(*extremes(sample.values))
        shares = (np.arange(TRIALS, 0, -1) / TRIALS).astype(np.float32)
        best = yield from self._tried(sample, target, _Best(lo, hi, np.inf), (lo, shares), (hi, shares))
        if target.two_ended:
            some, whole = shares[::2], np.ones_like(shares[::2])
            best = yield from self._tried(sample, target, best, (best.lo, whole), (hi, some))
            best = yield from self._tried(sample, target, best, (lo, some), (best.hi, whole))
        return best.lo, best.hi

    def _tried(self, sample: Sample, target: Target, best: "_Best", low: Shares, high: Shares) -> Steps["_Best"]:
        """The best so far, or the best range between shares of both ends."""
        many = max(1, AT_ONCE // max(1, sample.values.size))
        for at in range(0, len(low[1]), many):
            lo, hi = (np.outer(shares[at : at + many], end) for end, shares in (low, high))
            errors = self._errors(sample, target, lo, hi)
            yield Progress("Trying ranges", at, len(low[1]))
            least = np.argmin(errors, axis=0)[None]
            found = _Best(*(np.take_along_axis(each, least, axis=0)[0] for each in (lo, hi, errors)))
            best = found.or_better(best)
        return best

    def _errors(self, sample: Sample, target: Target, lo: Floats, hi: Floats) -> Doubles:
        """The error of each group under each range, `[T, G]` as the ranges are; infinite where it is not a number."""
        tries = len(lo)
        rows, weights = sample.values, sample.weights
        if tries > 1:
            rows = np.tile(rows, (tries, 1))
            weights = None if weights is None else np.tile(weights, (tries, 1))
        error = target.error(rows, lo.ravel(), hi.ravel(), weights, self.power).reshape(lo.shape)
        return np.where(np.isnan(error), np.inf, error)


@observers.register
@dataclass(frozen=True)
class Mse(BestShare):
    """The least mean squared error: of integers among 100 ranges, of tables and small floats among all scales.

    With evenly spaced levels the error changes little from one range to the next. With others, or with two or three
    levels, the best scale may lie anywhere, above the one that clips nothing too.
    """

    name: ClassVar[str] = "mse"
    title: ClassVar[str] = "MSE, 100 ranges"
    help: ClassVar[str] = (
        "The least mean squared error of 100 ranges, 1 % … 100 % of min/max. With float32 scales, tables, small floats "
        "and 1 or 2 bits have the best of all scales."
    )
    order: ClassVar[int] = 20
    least_squares: ClassVar[bool] = True

    @property
    def power(self) -> float:
        return 2.0

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        return (yield from best_ranges(stats, target.grids()) if target.swept else super().search(stats, target))


@observers.register
@dataclass(frozen=True)
class Lp(BestShare):
    """The least Σ|e|^p."""

    p: float = setting(2.4, "Power", "Of the error, which is summed", minimum=0.5, maximum=10)
    name: ClassVar[str] = "lp"
    title: ClassVar[str] = "L_p"
    help: ClassVar[str] = "The best of 100 ranges by another power of the error: below 2 it clips more, above 2 less."
    order: ClassVar[int] = 22

    @property
    def power(self) -> float:
        return self.p
