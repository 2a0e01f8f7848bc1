"""The observer of ternary and binary weights."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Steps
from qexplorer.quant.arrays import Floats
from qexplorer.quant.observers import Ends, Observer, Passes, Target, observers
from qexplorer.quant.weighted import Sample

STEPS = 2


@observers.register
@dataclass(frozen=True)
class AbsMean(Observer):
    """−A … A, where A is the mean magnitude: the scale of BitNet b1.58 and of XNOR-Net."""

    name: ClassVar[str] = "absmean"
    title: ClassVar[str] = "Mean magnitude"
    help: ClassVar[str] = "The mean magnitude: the best scale of binary weights, and BitNet's for ternary ones."
    order: ClassVar[int] = 46

    def update(self, stats: Any, rows: Floats) -> Any:
        finite = np.isfinite(rows)
        total = np.abs(np.where(finite, rows, 0)).sum(axis=1, dtype=np.float64)
        seen = finite.sum(axis=1)
        return (total, seen) if stats is None else (stats[0] + total, stats[1] + seen)

    def of_sample(self, sample: Sample) -> Any:
        finite = np.isfinite(sample.values)
        often = finite.astype(np.float64) if sample.weights is None else np.where(finite, sample.weights, 0)
        return (np.abs(np.where(finite, sample.doubles, 0)) * often).sum(axis=1), often.sum(axis=1)

    def by_passes(self, passes: Passes) -> Steps[Any]:
        total, seen = yield from passes.sum(lambda x: np.array([np.abs(x).sum(dtype=np.float64), x.size]))
        return np.array([total]), np.array([seen])

    def nearby(self, lo: Floats, hi: Floats) -> tuple[Ends, ...]:
        """The mean of a sketch is off by a rounding of each bucket's mean to float32, and so by 2 steps at most."""
        del lo
        steps = (hi.view(np.int32) + step for step in range(-STEPS, STEPS + 1))
        return tuple(
            (-near, near) for near in (np.maximum(bits, 0).astype(np.int32).view(np.float32) for bits in steps)
        )

    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        total, seen = stats
        mean = (total / np.maximum(seen, 1)).astype(np.float32)
        return -mean, mean
