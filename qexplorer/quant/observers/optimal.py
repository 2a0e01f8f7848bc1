"""The observer that every other can be measured against: the exact optimum."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Steps, finish, within
from qexplorer.quant.arrays import Doubles
from qexplorer.quant.observers import Ends, Observer, Target, observers
from qexplorer.quant.observers.sweep import best_scales
from qexplorer.quant.weighted import Sample

TOGETHER = 1 << 17
"""Values whose groups are searched together; a group of more is searched alone, each distinct value once."""
MOST_BITS, MOST_AFFINE_BITS = 8, 4


@observers.register
@dataclass(frozen=True)
class Optimal(Observer):
    """The scale with the least Σe² of all scales, and with a zero point the best of all those too.

    Values are taken to be rounded to the nearest level. Exact for up to 262,144 distinct values a group; beyond, values
    alike in their upper 22 bits count as one, and in a stream those alike in their upper 16 bits.
    """

    name: ClassVar[str] = "optimal"
    title: ClassVar[str] = "Optimal (exact)"
    help: ClassVar[str] = "The least mean squared error of all scales, where values round to the nearest level."
    order: ClassVar[int] = 44
    nearest_only: ClassVar[str] = "The exact optimum is worked out for roundings to the nearest level."

    def refusal(self, spec: Any) -> str:
        if spec.format.code_bits > MOST_BITS:
            return f"The exact optimum is worked out for at most {MOST_BITS} bits."
        if spec.scheme != "symmetric" and (spec.scheme != "affine" or spec.format.code_bits > MOST_AFFINE_BITS):
            return f"With a zero point the exact optimum is worked out for integers of at most {MOST_AFFINE_BITS} bits."
        if spec.scale_dtype.name != "float32":
            return "The exact optimum is worked out for float32 scales."
        return ""

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        sample: Sample = stats
        grids, groups = target.grids(), len(sample.values)
        lo, hi = np.zeros(groups, np.float32), np.zeros(groups, np.float32)
        for part, x, weights in _parts(sample) if grids else ():
            steps = best_scales(x, weights, grids)
            best = yield from within(steps, part.start / groups, part.stop / groups)
            ends = [grid.ends(best.scales) for grid in grids]
            for out, end in ((lo, 0), (hi, 1)):
                chosen = np.stack([each[end] for each in ends])[best.tables, np.arange(len(x))]
                out[part] = np.where(x.any(axis=1), chosen, 0)
        return lo, hi


def _parts(sample: Sample) -> Iterator[tuple[slice, Doubles, Doubles]]:
    """Groups to search together: which, their values `[G, N]` without gaps, and how often each counts."""
    groups, length = sample.values.shape
    together = max(TOGETHER // max(length, 1), 1)
    for start in range(0, groups, together):
        part = slice(start, min(start + together, groups))
        if length > TOGETHER // 2:
            x, weights = sample.counted(start)
            yield part, x[None], weights[None]
            continue
        values = sample.values[part]
        finite = np.isfinite(values)
        counts = np.ones(values.shape) if sample.weights is None else sample.weights[part]
        yield part, np.where(finite, values, 0).astype(np.float64), np.where(finite, counts, 0.0)
