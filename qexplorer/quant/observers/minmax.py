"""The observer that clips nothing."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Asks, Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.weighted import Sample


@observers.register
@dataclass(frozen=True)
class MinMax(Observer):
    """The least and the greatest value: PyTorch's `MinMaxObserver` and `PerChannelMinMaxObserver`."""

    name: ClassVar[str] = "minmax"
    title: ClassVar[str] = "Min/max"
    help: ClassVar[str] = "Clips nothing: one outlier widens every step."
    order: ClassVar[int] = 0
    asks: ClassVar[Asks] = "extremes"

    def update(self, stats: Any, rows: Floats) -> Any:
        lo, hi = extremes(rows)
        return (lo, hi) if stats is None else (np.minimum(stats[0], lo), np.maximum(stats[1], hi))

    def of_sample(self, sample: Sample) -> Any:
        return extremes(sample.values)

    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        return zero_if_empty(*stats)
