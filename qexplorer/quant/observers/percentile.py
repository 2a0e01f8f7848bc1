"""The observer that leaves out the rarest extremes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Steps
from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Observer, Passes, Target, observers
from qexplorer.quant.weighted import Sample
from qexplorer.settings import setting


@observers.register
@dataclass(frozen=True)
class Percentile(Observer):
    """The middle `percentile` % of the values: (100 − p)/2 % are cut off at each end (two-sided, as in ORT)."""

    percentile: float = setting(99.99, "Percentile", "The share of values to keep", minimum=50, maximum=100, unit="%")
    name: ClassVar[str] = "percentile"
    title: ClassVar[str] = "Percentile"
    help: ClassVar[str] = "Leaves out the rarest extremes at both ends. Below 99.999 % it can ruin transformers."
    order: ClassVar[int] = 10

    def by_passes(self, passes: Passes) -> Steps[Any]:
        return (yield from passes.quantiles(*self._shares))

    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        if isinstance(stats, Sample):
            groups = len(stats.values)
            found = [stats.quantile(q) if stats.values.shape[1] else np.zeros(groups) for q in self._shares]
        else:
            found = [stats[:1], stats[1:]]
        lo, hi = (np.nan_to_num(each, nan=0.0).astype(np.float32) for each in found)
        return lo, hi

    @property
    def _shares(self) -> tuple[float, float]:
        cut = (100 - self.percentile) / 200
        return cut, 1 - cut
