"""The observer that every other can be measured against: the exact optimum."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.observers import Ends, Grid, Observer, Target, observers
from qexplorer.quant.sample import Sample

EVENTS = 1 << 20
"""Changes of level that are looked at together: about 48 MB."""
MOST_BITS, MOST_AFFINE_BITS = 8, 4


@dataclass(frozen=True)
class Best:
    """The least Σe² so far, and the scale that has it."""

    error: float
    scale: float

    def or_better(self, scales: Doubles, errors: Doubles) -> "Best":
        """This, or the best of others."""
        at = int(np.argmin(errors)) if errors.size else -1
        return Best(float(errors[at]), float(scales[at])) if at >= 0 and errors[at] < self.error else self


@observers.register
@dataclass(frozen=True)
class Optimal(Observer):
    """The scale with the least Σe² of all scales, found exactly.

    As the scale s falls from infinity, a value x leaves its level for the next one at s = x/m, where m is the middle
    between the two. Between two such events every value keeps its level, so Σ(x − s·L)² = X − 2sA + s²B is a parabola
    with its minimum at A/B; A and B change by one term an event. All events, sorted, give all parabolas. Scales so
    small that clipping alone costs more than the best so far are left out. Exact for up to
    a million distinct values a group; beyond, values alike to 13 bits count as one.
    """

    name: ClassVar[str] = "optimal"
    title: ClassVar[str] = "Optimal (exact)"
    help: ClassVar[str] = "The least mean squared error there is, by trying every scale that matters. To compare with."
    order: ClassVar[int] = 44

    def refusal(self, spec: Any) -> str:
        if spec.format.code_bits > MOST_BITS:
            return f"The exact optimum is worked out for at most {MOST_BITS} bits."
        if spec.scheme != "symmetric" and (spec.scheme != "affine" or spec.format.code_bits > MOST_AFFINE_BITS):
            return f"With a zero point the exact optimum is worked out for integers of at most {MOST_AFFINE_BITS} bits."
        if spec.scale_dtype != "float32":
            return "The exact optimum is worked out for float32 scales."
        return ""

    def update(self, stats: Any, rows: Floats) -> Any:
        return Sample.of(rows) if stats is None else stats.and_also(rows)

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        sample: Sample = stats
        groups = len(sample.values)
        lo, hi = np.zeros(groups, np.float32), np.zeros(groups, np.float32)
        for g in range(groups):
            if g % 256 == 0:
                yield Progress("Finding the optimum", g, groups)
            x, weights = sample.counted(g)
            error = np.inf
            for grid in target.grids() if x.any() else ():
                best = yield from best_scale(x, weights, grid)
                if best.error < error and best.scale > 0:
                    error = best.error
                    low, high = grid.ends(np.array([best.scale]))
                    lo[g], hi[g] = low[0], high[0]
        return lo, hi


def best_scale(x: Doubles, weights: Doubles, grid: Grid) -> Steps[Best]:
    """The best scale of one table for ascending distinct values `[K]` that count `weights` times."""
    best = _guess(x, weights, grid)
    floor = _too_small(x, weights, grid, best.error)
    walk = _Walk(x, weights, grid.levels)
    edges = walk.windows(floor)
    for i in range(len(edges) - 1):
        best = walk.through(edges[i], edges[i + 1], best)
        if i:
            yield Progress("Finding the optimum", i, len(edges) - 1)
    return best


def _guess(x: Doubles, weights: Doubles, grid: Grid) -> Best:
    """The best of 32 scales, to begin with."""
    reach = float(np.abs(grid.levels).max())
    scales = np.abs(x).max() / reach * np.linspace(1 / 32, 1, 32)
    middles = (grid.levels[1:] + grid.levels[:-1]) / 2
    errors = np.array([(weights * (x - s * grid.levels[np.searchsorted(middles, x / s)]) ** 2).sum() for s in scales])
    return Best(np.inf, 0.0).or_better(scales, errors)


def _too_small(x: Doubles, weights: Doubles, grid: Grid, error: float) -> float:
    """A scale at which clipping alone costs more than `error`: it and all below it are out of the question."""
    low, high = float(grid.levels[0]), float(grid.levels[-1])
    reach = max(float(np.abs(grid.levels).max()), 1e-30)
    below, above = 0.0, float(np.abs(x).max()) / reach
    for _ in range(40):
        middle = (below + above) / 2
        beyond = np.maximum(x - high * middle, 0) + np.maximum(low * middle - x, 0)
        if (weights * beyond * beyond).sum() > error:
            below = middle
        else:
            above = middle
    return below


class _Walk:
    """The sums X, A and B of all values while the scale falls."""

    def __init__(self, x: Doubles, weights: Doubles, levels: Doubles) -> None:
        self._levels = levels
        self._middles = (levels[1:] + levels[:-1]) / 2
        self._x, self._weights = x, weights
        first = np.where(x > 0, np.searchsorted(self._middles, 0.0, "right"), np.searchsorted(self._middles, 0.0))
        start = levels[first]
        self._x2 = float((weights * x * x).sum())
        self._a, self._b = float((weights * x * start).sum()), float((weights * start * start).sum())

    def windows(self, floor: float) -> Doubles:
        """Scales from above all events down to `floor`, few enough events between two of them."""
        used = np.abs(self._middles[self._middles != 0])
        most = float(np.abs(self._x).max())
        top = most / float(used.min()) * 1.01 if used.size else most
        floor = max(floor, top * 1e-6)
        count = -(-len(self._x) * len(self._middles) // EVENTS)
        return np.geomspace(top, floor, count * 4 + 1) if count > 1 else np.array([top, floor])

    def through(self, above: float, below: float, best: Best) -> Best:
        """Walk down from one scale to another, past every event between them."""
        at, a, b = self._events(above, below)
        order = np.argsort(-at, kind="stable")
        a = self._a + np.concatenate([[0.0], np.cumsum(a[order])])
        b = self._b + np.concatenate([[0.0], np.cumsum(b[order])])
        scales = np.concatenate([[above], at[order], [below]])
        lowest = np.divide(a, b, out=np.zeros_like(a), where=b > 0)
        lowest = np.clip(lowest, scales[1:], scales[:-1])
        best = best.or_better(lowest, self._x2 - 2 * lowest * a + lowest * lowest * b)
        self._a, self._b = float(a[-1]), float(b[-1])
        return best

    def _events(self, above: float, below: float) -> tuple[Doubles, Doubles, Doubles]:
        """Where values change their level between two scales, and what that adds to A and B."""
        parts: list[tuple[Doubles, Doubles, Doubles]] = [(np.zeros(0), np.zeros(0), np.zeros(0))]
        for k, middle in enumerate(self._middles):
            if middle == 0:
                continue
            ends = sorted((middle * below, middle * above))
            side = "right" if middle > 0 else "left"
            first, last = np.searchsorted(self._x, ends, side=side)
            if first == last:
                continue
            x, weights = self._x[first:last], self._weights[first:last]
            old, new = (k, k + 1) if middle > 0 else (k + 1, k)
            step = self._levels[new] - self._levels[old]
            squares = self._levels[new] ** 2 - self._levels[old] ** 2
            parts.append((x / middle, weights * x * step, weights * squares))
        at, a, b = (np.concatenate(column) for column in zip(*parts, strict=True))
        return at, a, b
