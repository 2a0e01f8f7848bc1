"""The observers that balance rounding against clipping."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Ends, Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.sample import Sample

TRIALS = 100


class BestShare(Observer):
    """The fraction k/100 of the min/max range, k = 1 … 100, whose Σ|e|^power is least (Nagel et al. 2021)."""

    @property
    @abstractmethod
    def power(self) -> float:
        """The power of the error that is summed."""

    def update(self, stats: Any, rows: Floats) -> Any:
        return Sample.of(rows) if stats is None else stats.and_also(rows)

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        sample: Sample = stats
        lo, hi = zero_if_empty(*extremes(sample.values))
        best = np.full(lo.shape, np.inf)
        share = np.ones(lo.shape, np.float32)
        for k in range(TRIALS, 0, -1):
            trial = np.float32(k / TRIALS)
            error = target.error(sample.values, lo * trial, hi * trial, sample.weights, self.power)
            yield Progress("Trying ranges", TRIALS - k, TRIALS)
            share = np.where(error < best, trial, share)
            best = np.minimum(error, best)
        return lo * share, hi * share


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

    p: float = 2.4
    name: ClassVar[str] = "lp"
    title: ClassVar[str] = "L_p"
    help: ClassVar[str] = "As MSE, for another power of the error: below 2 it clips more, above 2 it clips less."
    order: ClassVar[int] = 22

    def __post_init__(self) -> None:
        if not 0.5 <= self.p <= 10:
            raise UserError(f"{self.p:g} is not a power of the error.", "Take 0.5 to 10.", field="observer")

    @property
    def power(self) -> float:
        return self.p
