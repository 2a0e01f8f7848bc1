"""Points of the curves of a run: epochs of training, and numbers of calibration samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qexplorer.engine.runs.sparse import Sparse
from qexplorer.settings import read


@dataclass(frozen=True)
class EpochPoint(Sparse):
    """An epoch, counted from 0: the mean loss, accuracies as fractions, the last learning rate, and the scale of each
    layer's weights; `best` says whether it is the one that was kept, None while that is not known yet.
    """

    epoch: int
    loss: float
    train_top1: float
    validation_top1: float
    validation_ci95: tuple[float, float] | None = None
    validation_n: int | None = None
    rate: float | None = None
    scales: Mapping[str, float] = field(default_factory=dict[str, float])
    best: bool | None = None


@dataclass(frozen=True)
class SamplesPoint(Sparse):
    """A number of calibration samples, the accuracy with them, and by how much ranges differ from those with the most
    samples: the median and the largest of the layers, None until all were measured.
    """

    samples: int
    top1: float
    top1_ci95: tuple[float, float] | None = None
    range_change: float | None = None
    largest_range_change: float | None = None


CurvePoint = EpochPoint | SamplesPoint


def read_point(value: Any) -> CurvePoint:
    """A point from what JSON made of it. Raises a `UserError` where it is none."""
    points: tuple[CurvePoint, ...] = read(tuple[CurvePoint, ...], [value], "the points")
    return points[0]
