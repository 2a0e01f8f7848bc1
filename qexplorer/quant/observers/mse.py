"""The observer that balances rounding against clipping."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.sample import Sample


@observers.register
@dataclass(frozen=True)
class Mse(Observer):
    """The fraction k/100 of the min/max range, k = 1 … 100, whose mean squared error is least (Nagel et al. 2021)."""

    name: ClassVar[str] = "mse"
    title: ClassVar[str] = "MSE"
    help: ClassVar[str] = "Tries 100 ranges and keeps the one with the least mean squared error."
    order: ClassVar[int] = 20

    def update(self, stats: Any, rows: Floats) -> Any:
        return Sample.of(rows) if stats is None else stats.and_also(rows)

    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[tuple[Floats, Floats]]:
        sample: Sample = stats
        lo, hi = zero_if_empty(*extremes(sample.values))
        best = np.full(lo.shape, np.inf)
        share = np.ones(lo.shape, np.float32)
        for k in range(100, 0, -1):
            trial = np.float32(k / 100)
            error = target.squared_error(sample.values, lo * trial, hi * trial, sample.weights)
            yield Progress("Trying ranges", 100 - k, 100)
            share = np.where(error < best, trial, share)
            best = np.minimum(error, best)
        return lo * share, hi * share
