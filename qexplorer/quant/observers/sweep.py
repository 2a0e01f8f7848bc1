"""The best scale of a table of levels for given values, by a sweep over all scales that matter.

As the scale s falls, a value x leaves its level for the next one at s = x/m, where m is the middle between the two.
Between two such events every value keeps its level L, so Σw(x − s·L)² = X − 2sA + s²B is a parabola with its minimum at
A/B; A = Σw·x·L and B = Σw·L² change by one term an event. All events, sorted, give all parabolas.

Two bounds leave out most scales, without loss: at a scale too small clipping alone, at one too large the values
rounded to zero alone cost more than a scale that was tried already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.arrays import AnyArray, Doubles
from qexplorer.quant.observers import Ends, Grid
from qexplorer.quant.weighted import Sample

TOGETHER = 1 << 17
"""Values whose groups are searched together; a group of more is searched alone, each distinct value once."""
EVENTS = 1 << 18
"""Changes of level that are looked at together; a search takes up to about 60 MB."""
SHARES = 0.75 ** np.arange(12)
"""Scales to begin with, as shares of the one that clips nothing."""
OCTAVES, HALVINGS = 24, 12
TIE = 1 + 1e-9
"""Errors this near are equal, and the smaller scale is taken: those of floats repeat with every octave."""


@dataclass(frozen=True)
class Best:
    """The least error so far of each group, its scale, and which table has it: `[G]` each."""

    errors: Doubles
    scales: Doubles
    tables: AnyArray

    @staticmethod
    def none(groups: int) -> "Best":
        """Nothing tried yet."""
        return Best(np.full(groups, np.inf), np.zeros(groups), np.zeros(groups, np.int64))

    def or_better(self, errors: Doubles, scales: Doubles, table: int) -> "Best":
        """These, or others where they err no more: `[G]`."""
        less = errors <= self.errors * TIE
        return Best(np.minimum(errors, self.errors), np.where(less, scales, self.scales),
                    np.where(less, table, self.tables))  # fmt: skip


def best_ranges(sample: Sample, grids: Sequence[Grid]) -> Steps[Ends]:
    """The range of each group with the least Σe² of all scales and tables; 0 … 0 for a group of zeros."""
    groups = len(sample.values)
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


def best_scales(x: Doubles, weights: Doubles, grids: Sequence[Grid]) -> Steps[Best]:
    """The best scale and table for each group of finite values `[G, N]` that count `weights` times."""
    sweeps = [_Sweep(x, weights, grid.levels) for grid in grids]
    best = Best.none(len(x))
    for table, sweep in enumerate(sweeps):
        yield Progress("Finding the optimum", fraction=table / (2 * len(sweeps)))
        for share in SHARES:
            scales = sweep.largest * share
            best = best.or_better(sweep.error(scales), scales, table)
    for table, sweep in enumerate(sweeps):
        edges = sweep.windows(*sweep.bounds(best.errors))
        for i in range(len(edges) - 1):
            share = (len(sweeps) + table + i / (len(edges) - 1)) / (2 * len(sweeps))
            yield Progress("Finding the optimum", fraction=share)
            best = best.or_better(*sweep.through(edges[i], edges[i + 1]), table)
    return best


class _Sweep:
    """One table of levels before the values of some groups."""

    def __init__(self, x: Doubles, weights: Doubles, levels: Doubles) -> None:
        self._x, self._weights, self._levels = x, weights, levels
        self._middles = (levels[1:] + levels[:-1]) / 2
        self._x2 = np.einsum("gn,gn,gn->g", x, x, weights)
        most = np.abs(x).max(axis=1, initial=0.0)
        self._most = np.where(most > 0, most, 1.0)
        self.largest = self._most / float(np.abs(levels).max())
        """The scale that puts the largest magnitude of each group on the level farthest from zero: `[G]`."""

    def error(self, scales: Doubles) -> Doubles:
        """Σw(x − s·L)² of each group at its scale: `[G]` → `[G]`."""
        off = self._x - scales[:, None] * self._levels[self._nearest(scales)]
        return np.einsum("gn,gn,gn->g", off, off, self._weights)

    def bounds(self, errors: Doubles) -> tuple[Doubles, Doubles]:
        """A scale below all and one above all at which an error of less than `errors` is possible: `[G]`, `[G]`."""
        distances = np.abs(np.concatenate([self._middles, self._levels]))
        top = self._most / float(distances[distances > 0].min()) * 1.01
        floor, over = np.full(len(self._x), -float(OCTAVES)), np.zeros(len(self._x))
        ceiling, under = np.log2(top / self.largest), floor
        for _ in range(HALVINGS):
            middle = (floor + over) / 2
            out = self._clipping(self.largest * 2**middle) > errors
            floor, over = np.where(out, middle, floor), np.where(out, over, middle)
            middle = (ceiling + under) / 2
            out = self._vanishing(self.largest * 2**middle) > errors
            ceiling, under = np.where(out, middle, ceiling), np.where(out, under, middle)
        return self.largest * 2**floor, self.largest * 2**ceiling

    def windows(self, floor: Doubles, ceiling: Doubles) -> Doubles:
        """Scales from `ceiling` down to `floor` in steps with few enough events each: `[W + 1, G]`; none to search, no
        steps.
        """
        ceiling = np.maximum(ceiling, floor)
        if (ceiling == floor).all():
            return ceiling[None]
        events = np.abs(self._nearest(floor) - self._nearest(ceiling)).sum(axis=1).max() * len(self._x)
        count = int(-(-events // EVENTS)) or 1
        share: Doubles = np.linspace(0, 1, count + 1)[:, None]
        return ceiling * (floor / ceiling) ** share

    def through(self, above: Doubles, below: Doubles) -> tuple[Doubles, Doubles]:
        """The least error between two scales, past every event between them, and where it is: `[G]`, `[G]`."""
        old, new = self._nearest(above), self._nearest(below)
        level = self._levels[old]
        at, more_a, more_b = self._events(old, new, below)
        order = np.argsort(-at, axis=1)
        starts = ((self._sum(self._x * level), more_a), (self._sum(level * level), more_b))
        a, b = (np.cumsum(np.concatenate([start, np.take_along_axis(more, order, axis=1)], axis=1), axis=1)
                for start, more in starts)  # fmt: skip
        scales = np.concatenate([above[:, None], np.take_along_axis(at, order, axis=1), below[:, None]], axis=1)
        lowest = np.divide(a, b, out=np.zeros_like(a), where=b > 0)
        lowest = np.clip(lowest, scales[:, 1:], scales[:, :-1])
        errors = np.maximum(self._x2[:, None] + lowest * (lowest * b - 2 * a), 0)
        least = errors <= errors.min(axis=1, keepdims=True) * TIE
        best = least.shape[1] - 1 - least[:, ::-1].argmax(axis=1)[:, None]
        return np.take_along_axis(errors, best, axis=1)[:, 0], np.take_along_axis(lowest, best, axis=1)[:, 0]

    def _events(self, old: AnyArray, new: AnyArray, below: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """Where values change their level and what that adds to A and to B: `[G, E]` each, filled up with nothing."""
        count = np.abs(new - old)
        totals: AnyArray = count.sum(axis=1)
        where: AnyArray = np.flatnonzero(count)
        times: AnyArray = count.ravel()[where]
        step: AnyArray = np.arange(int(times.sum())) - np.repeat(np.cumsum(times) - times, times)
        where = np.repeat(where, times)
        x, first = self._x.ravel()[where], old.ravel()[where]
        rising = x > 0
        middle: AnyArray = np.where(rising, first + step, first - 1 - step)
        signed = np.where(rising, 1.0, -1.0) * self._weights.ravel()[where]
        widest = int(totals.max(initial=0))
        at = np.broadcast_to(below[:, None], (len(old), widest)).copy()
        more_a, more_b = np.zeros(at.shape), np.zeros(at.shape)
        filled: AnyArray = np.arange(widest) < totals[:, None]
        at[filled] = x / self._middles[middle]
        more_a[filled] = signed * x * np.diff(self._levels)[middle]
        more_b[filled] = signed * np.diff(self._levels**2)[middle]
        return at, more_a, more_b

    def _nearest(self, scales: Doubles) -> AnyArray:
        """Which level is nearest to each value: `[G]` → `[G, N]`."""
        return np.searchsorted(self._middles, self._x / scales[:, None])

    def _sum(self, terms: Doubles) -> Doubles:
        return np.einsum("gn,gn->g", terms, self._weights)[:, None]

    def _clipping(self, scales: Doubles) -> Doubles:
        """What values beyond the outermost levels cost: never less at a smaller scale. `[G]`."""
        low, high = (float(end) * scales[:, None] for end in self._levels[[0, -1]])
        beyond = self._x - np.clip(self._x, low, high)
        return np.einsum("gn,gn,gn->g", beyond, beyond, self._weights)

    def _vanishing(self, scales: Doubles) -> Doubles:
        """What values that become zero cost: never less at a larger scale; 0 where no level is zero. `[G]`."""
        zero = np.flatnonzero(self._levels == 0)
        if not zero.size:
            return np.zeros(len(scales))
        ends = np.concatenate([[-np.inf], self._middles, [np.inf]])[zero[0] : zero[0] + 2]
        low, high = (end * scales[:, None] for end in ends)
        lost = np.where((self._x > low) & (self._x < high), self._x, 0)
        return np.einsum("gn,gn,gn->g", lost, lost, self._weights)
