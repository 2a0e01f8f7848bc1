"""The range that the person set, e.g. by dragging the clip limits."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.errors import UserError
from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Asks, Observer, Target, observers
from qexplorer.quant.weighted import Sample
from qexplorer.settings import setting

LARGEST = float(np.finfo(np.float32).max)


@observers.register
@dataclass(frozen=True)
class Fixed(Observer):
    """The same range `lo`..`hi` for every group, whatever the values are."""

    lo: float = setting(-1.0, "Lower limit", "Values below are clipped", minimum=-LARGEST, maximum=LARGEST)
    hi: float = setting(1.0, "Upper limit", "Values above are clipped", minimum=-LARGEST, maximum=LARGEST)
    name: ClassVar[str] = "fixed"
    title: ClassVar[str] = "Fixed"
    help: ClassVar[str] = "The limits that you set, by typing or by dragging the red lines; widened to hold 0."
    order: ClassVar[int] = 50
    asks: ClassVar[Asks] = "nothing"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lo >= self.hi:
            raise UserError(f"The lower limit {self.lo:g} is not below the upper limit {self.hi:g}.",
                            "Set lo below hi.", field="observer")  # fmt: skip

    def update(self, stats: Any, rows: Floats) -> Any:
        return rows.shape[0]

    def of_sample(self, sample: Sample) -> Any:
        return len(sample.values)

    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        groups: int = stats
        return np.full(groups, self.lo, np.float32), np.full(groups, self.hi, np.float32)
