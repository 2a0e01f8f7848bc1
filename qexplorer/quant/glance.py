"""A tensor at a glance: what a spec does to it, estimated from a sample, between bounds that hold.

Every group's extremes are exact, and with them every scale and the largest error that a value of the group can have; so
is Σx² of each short run of values. Runs are drawn with a chance that is in proportion to the largest Σe² they can have,
so that what a draw says of all Σe² lies between 0 and a known limit. Then an inequality of Maurer and Pontil (2009,
theorem 11) bounds how far the mean of independent draws is from the truth, whatever the values are.
"""

import math
from dataclasses import dataclass

import numpy as np

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.bounds import Bounds
from qexplorer.quant.error_limits import ErrorLimits
from qexplorer.quant.layer_kinds import Matrix
from qexplorer.quant.matrices import division, kind_of, matrix_of
from qexplorer.quant.metrics import sqnr_db
from qexplorer.quant.observers import Ends, zero_if_empty
from qexplorer.quant.params import QuantParams
from qexplorer.quant.ranges import extremes_of, ranges_of
from qexplorer.quant.runs import Runs, cut_in_runs
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values, narrowed, widened
from qexplorer.quant.tiling import Tiling

DOUBT = 1e-9
"""How likely a bound may be wrong."""
DRAWS = 4096
"""Runs in a sample: of 16 values each 65,536 values."""
SEED = 14
KEPT_BYTES = 1 << 28
"""A larger tensor whose channels are not the first axis is sorted by channel again for each spec."""
MOST_GROUPS = 1 << 18
"""With more of them their scales alone would take longer than a first answer may."""


@dataclass(frozen=True)
class Estimate:
    """What a spec does to a tensor, from `sampled` values. Exact: parameters and extremes of every group, the number of
    finite values and their Σx², and whether anything is clipped. Σe² lies between `e2[0]` and `e2[1]` and is probably
    `likely`; the worst error lies between the two of `worst`.
    """

    own: QuantSpec
    params: QuantParams
    ends: Ends
    sampled: int
    n: int
    x2: float
    likely: float
    e2: tuple[float, float]
    worst: tuple[float, float]
    clips: bool

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of `Metrics` that follow; `max_abs_error` is the largest that is possible."""
        found = _figures(self.likely, self.n, self.x2) | {"max_abs_error": self.worst[1]}
        return found if self.clips else found | {"clipped_fraction": 0.0}

    @property
    def bounds(self) -> Bounds:
        """Between which ends they lie."""
        ends = [_figures(e2, self.n, self.x2) for e2 in self.e2]
        found = {name: (min(each[name] for each in ends), max(each[name] for each in ends)) for name in ends[0]}
        return found | {"max_abs_error": self.worst}


def _figures(e2: float, n: int, x2: float) -> dict[str, float]:
    mse = e2 / max(n, 1)
    return {"mse": mse, "rmse": math.sqrt(mse), "sqnr_db": sqnr_db(x2, e2), "relative_rmse": math.sqrt(e2 / x2)}


@dataclass(frozen=True)
class Owners:
    """The groups of the first and the last value of each run, `[R]`; `alone` where they are always the same."""

    first: Counts
    last: Counts
    alone: bool

    @staticmethod
    def of(tiling: Tiling, runs: Runs, n: int) -> "Owners":
        starts = np.arange(len(runs.x2)) * runs.length
        first, last = tiling.group_of(starts), tiling.group_of(np.minimum(starts + runs.length, n) - 1)
        return Owners(first, last, bool(np.array_equal(first, last)))


class Glance:
    """What was found of a tensor so far, so that another spec is answered sooner. Any thread may ask."""

    def __init__(self, values: Values, whole: Sketch | None = None) -> None:
        self.values, self._sketch = values, whole
        self._matrices: dict[Matrix, Values] = {}
        self._runs: dict[Matrix, Runs] = {}
        self._ends: dict[tuple[Matrix, str], Ends] = {}
        self._owners: dict[tuple[Matrix, str], Owners] = {}

    def sketch(self) -> Steps[Sketch]:
        """The sketch of the tensor."""
        if self._sketch is None:
            self._sketch = yield from sketch(self.values)
        return self._sketch

    def finite(self, spec: QuantSpec) -> Steps[int]:
        """How many values are finite."""
        key = division(self.values, spec.for_kind(kind_of(self.values)))
        matrix, _ = yield from self._matrix(key, spec)
        return (yield from self._cut(key, matrix)).finite

    def estimate(self, spec: QuantSpec) -> Steps[Estimate | None]:
        """The estimate; `None` where extremes and a sample give no bound. Raises `UserError` as `analyze` does."""
        applied = spec.for_kind(kind_of(self.values))
        applied.granularity.check(self.values.shape)
        form = spec.format
        searched = form.scaled and spec.observer.asks == "values"
        learned = form.learns and not _by_sign(spec)
        if searched or learned or spec.rounding.by_place:
            return None
        key = division(self.values, applied)
        matrix, own = yield from self._matrix(key, spec)
        tiling = own.granularity.tiling(matrix.shape)
        if tiling.groups > MOST_GROUPS:
            return None
        ends = yield from self._extremes(key, matrix, own)
        params = form.choose(*ranges_of(own, ends, lambda: None), own.choices)
        runs = yield from self._cut(key, matrix)
        yield Progress("Estimating")
        name = key, own.granularity.text
        if name not in self._owners:
            self._owners[name] = Owners.of(tiling, runs, matrix.n)
        return _estimate(matrix, own, tiling, params, ends, runs, self._owners[name])

    def _matrix(self, key: Matrix, spec: QuantSpec) -> Steps[tuple[Values, QuantSpec]]:
        known = self._matrices.get(key)
        if known is None:
            known, own = yield from matrix_of(self.values, spec)
            if not key.axis or self.values.nbytes <= KEPT_BYTES:
                self._matrices[key] = known
            return known, own
        applied = spec.for_kind(kind_of(self.values))
        return known, applied.adopt("granularity", applied.granularity.of_matrix)

    def _extremes(self, key: Matrix, matrix: Values, own: QuantSpec) -> Steps[Ends]:
        name = key, own.granularity.text
        if name not in self._ends:
            self._ends[name] = yield from extremes_of(matrix, own)
        return self._ends[name]

    def _cut(self, key: Matrix, matrix: Values) -> Steps[Runs]:
        if key not in self._runs:
            self._runs[key] = yield from cut_in_runs(matrix)
        return self._runs[key]


def _by_sign(spec: QuantSpec) -> bool:
    """Whether all that is learned from the values is the sign of the largest."""
    return spec.format.learns and not spec.format.applies


def _estimate(
    matrix: Values, own: QuantSpec, tiling: Tiling, params: QuantParams, ends: Ends, runs: Runs, owners: Owners
) -> Estimate | None:
    limits = ErrorLimits.of(own.format, params, zero_if_empty(*ends))
    by_run = _limits_of_runs(limits, tiling, runs, owners)
    reached = np.cumsum(by_run)
    x2, limit = float(runs.x2.sum()), float(reached[-1]) if reached.size else 0.0
    if not (math.isfinite(limit) and limit > 0 and x2 > 0):
        return None
    rng = np.random.default_rng(SEED)
    wanted = (np.arange(DRAWS) + rng.random(DRAWS)) / DRAWS * limit  # one in each of equal parts: independent draws
    drawn = np.minimum(np.searchsorted(reached, wanted, side="right"), len(by_run) - 1)
    places, values = runs.places(drawn), runs.read(matrix, drawn)
    inside = places < matrix.n
    groups = tiling.group_of(np.where(inside, places, 0))
    error = np.where(inside, _errors(matrix, own, tiling, params, ends, values, groups), 0)
    mean, half = _mean(np.einsum("rn,rn->r", error, error) * limit / by_run[drawn], limit)
    worst = float(np.abs(error).max(initial=0.0)), float(limits.most.max())
    e2 = max(mean - half, 0.0), min(mean + half, limit)
    return Estimate(own, params, ends, drawn.size * runs.length, runs.finite, x2, mean, e2, worst, limits.clips)


def _limits_of_runs(limits: ErrorLimits, tiling: Tiling, runs: Runs, owners: Owners) -> Doubles:
    """How large Σe² of each run can be: by the limits of its groups, and by its own Σx²."""
    squared, first, last = limits.most**2, owners.first, owners.last
    by_group = runs.length * (squared[first] if owners.alone else np.maximum(squared[first], squared[last]))
    if tiling.width < runs.length:  # a run may lie in more than two groups
        reached = np.append(0.0, np.cumsum(tiling.sizes() * squared))
        between = np.where(last >= first, reached[last + 1] - reached[first], runs.length * squared.max())
        by_group = np.where((last == first) | (last == first + 1), by_group, between)
    if not math.isfinite(limits.share):
        return by_group
    ratio = np.divide(limits.least, limits.most, out=np.zeros_like(squared), where=limits.most > 0)
    return np.minimum(by_group, limits.share**2 * runs.x2 * (1 + 1e-9) + float(ratio.max()) ** 2 * by_group)


def _errors(
    matrix: Values, own: QuantSpec, tiling: Tiling, params: QuantParams, ends: Ends, values: Floats, groups: Counts
) -> Doubles:
    """y − x of each value of some runs, `[M, RUN]`."""
    flat, rows = groups.reshape(-1), values.reshape(-1, 1)
    part = params.pick(flat)
    if own.format.learns:
        part = _signed(matrix, own, tiling, part, ends, flat)
    y = own.format.dequantize(own.format.quantize(rows, part), part)
    error: Doubles = y.astype(np.float64) - rows
    return error.reshape(values.shape)


def _signed(matrix: Values, own: QuantSpec, tiling: Tiling, part: QuantParams, ends: Ends, flat: Counts) -> QuantParams:
    """Parameters whose sign is that of a group's largest value: where two are as large, the first of them decides."""
    tied = np.unique(flat[-ends[0][flat] == ends[1][flat]])
    for g in tied.tolist():
        start = tiling.start_of(g)
        length = min(tiling.width, tiling.wide - start % tiling.wide)
        row = widened(narrowed(matrix.read(start, start + length)))[None]
        fitted = finish(own.format.fit(row, ends[0][g : g + 1], ends[1][g : g + 1], own.choices))
        at = flat == g
        part.scale[at] = fitted.scale
        if part.divisor is not None and fitted.divisor is not None:
            part.divisor[at] = fitted.divisor
    return part


def _mean(shares: AnyArray, limit: float) -> tuple[float, float]:
    """The mean of independent figures between 0 and `limit`, and how far it may be from what is expected."""
    m, doubt = len(shares), math.log(2 / DOUBT)
    spread = float(shares.var(ddof=1))
    return float(shares.mean()), math.sqrt(2 * spread * doubt / m) + 7 * limit * doubt / (3 * (m - 1))
