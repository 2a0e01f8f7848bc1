"""The observer that leaves out the rarest extremes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Observer, Target, observers
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

    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        sample: Sample = stats
        if not sample.values.shape[1]:
            return np.zeros(len(sample.values), np.float32), np.zeros(len(sample.values), np.float32)
        cut = (100 - self.percentile) / 200
        lo, hi = sample.quantile(cut), sample.quantile(1 - cut)
        return np.where(np.isnan(lo), np.float32(0), lo), np.where(np.isnan(hi), np.float32(0), hi)
