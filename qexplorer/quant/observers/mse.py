"""The observers that balance rounding against clipping."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.observers import Ends, Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.weighted import Sample
from qexplorer.settings import setting

TRIALS = 100
AT_ONCE = 1 << 14
"""So many values are looked at by one call: with fewer, calling costs more than the arithmetic."""


class BestShare(Observer):
    """The fraction k/100 of the min/max range, k = 1 … 100, whose Σ|e|^power is least (Nagel et al. 2021)."""

    @property
    @abstractmethod
    def power(self) -> float:
        """The power of the error that is summed."""

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        sample: Sample = stats
        lo, hi = zero_if_empty(*extremes(sample.values))
        best = np.full(lo.shape, np.inf)
        share = np.ones(lo.shape, np.float32)
        trials = (np.arange(TRIALS, 0, -1) / TRIALS).astype(np.float32)
        many = max(1, AT_ONCE // max(1, sample.values.size))
        for at in range(0, TRIALS, many):
            tried = trials[at : at + many]
            errors = self._errors(sample, target, np.outer(tried, lo), np.outer(tried, hi))
            yield Progress("Trying ranges", at, TRIALS)
            least = np.argmin(errors, axis=0)
            error = np.take_along_axis(errors, least[None], axis=0)[0]
            share = np.where(error < best, tried[least], share)
            best = np.minimum(error, best)
        return lo * share, hi * share

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
    """The least mean squared error."""

    name: ClassVar[str] = "mse"
    title: ClassVar[str] = "MSE"
    help: ClassVar[str] = "Tries 100 ranges and keeps the one with the least mean squared error."
    order: ClassVar[int] = 20

    @property
    def power(self) -> float:
        return 2.0


@observers.register
@dataclass(frozen=True)
class Lp(BestShare):
    """The least Σ|e|^p."""

    p: float = setting(2.4, "Power", "Of the error, which is summed", minimum=0.5, maximum=10)
    name: ClassVar[str] = "lp"
    title: ClassVar[str] = "L_p"
    help: ClassVar[str] = "As MSE, for another power of the error: below 2 it clips more, above 2 it clips less."
    order: ClassVar[int] = 22

    @property
    def power(self) -> float:
        return self.p
