"""The observer that forgets slowly."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.errors import UserError
from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Asks, Ends, Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.weighted import Sample
from qexplorer.settings import setting


@observers.register
@dataclass(frozen=True)
class MovingAverage(Observer):
    """The extremes of each block, averaged: m ← m + c·(extreme − m), the first block as it is.

    PyTorch's `MovingAverageMinMaxObserver`. It depends on the order of the blocks, by definition.
    """

    constant: float = setting(0.01, "Averaging constant", "The weight of each new block", minimum=0, maximum=1)
    name: ClassVar[str] = "moving_average"
    title: ClassVar[str] = "Moving average"
    help: ClassVar[str] = "Extremes averaged over batches of activations. On one tensor it equals min/max."
    order: ClassVar[int] = 5
    asks: ClassVar[Asks] = "extremes"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.constant:
            raise UserError("With an averaging constant of 0 nothing would count.", "Choose one above 0, at most 1.",
                            field="constant")  # fmt: skip

    def update(self, stats: Any, rows: Floats) -> Any:
        lo, hi = extremes(rows)
        if stats is None:
            return lo, hi
        return _towards(stats[0], lo, self.constant), _towards(stats[1], hi, self.constant)

    def of_sample(self, sample: Sample) -> Any:
        return extremes(sample.values)

    def range(self, stats: Any, target: Target) -> Ends:
        return zero_if_empty(*stats)


def _towards(old: Floats, new: Floats, constant: float) -> Floats:
    """The average after a block; a block without finite values changes nothing, the first with some counts whole."""
    known, seen = np.isfinite(old), np.isfinite(new)
    with np.errstate(invalid="ignore"):
        moved = old + np.float32(constant) * (new - old)
    return np.where(seen, np.where(known, moved, new), old).astype(np.float32)
