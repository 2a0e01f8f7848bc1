"""What a tensor's values are like: moments from sums over every value, and the few values that stand far from the rest.

Sums are in float64 over x − c, c being about the mean of the rest, so that nothing cancels. Which few values stand
alone is found in a sketch, whose extremes are exact; in a second pass these are told from the rest and noted with
their places, so that both have exact moments: a single value of 10⁶ among a million others makes nearly all of the
variance, and says nothing about them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Counts, Doubles
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.matrices import matrix_of
from qexplorer.quant.pieces import blocks, rows_of, size_of
from qexplorer.quant.pool import each
from qexplorer.quant.sketch import Sketch
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import LARGEST, Values, narrowed, widened
from qexplorer.quant.tiling import Piece

FEW, SHARE = 8, 16
"""At most so many values stand alone, and no more than one in `SHARE`."""
APART = 2.0
"""Those that do are at least so many times as far from the median as the next one."""
FAR = 6.0
"""A normal distribution reaches so many standard deviations about once in 500 million values."""
CHUNK = 1 << 17
"""Values that are summed at once: their float64 fit the cache."""


@dataclass(frozen=True)
class Outlier:
    """A value that stands alone, and its place in C order."""

    value: float
    place: int

    def indices(self, shape: tuple[int, ...]) -> list[int]:
        """Where it is, one index an axis."""
        return [int(i) for i in np.unravel_index(self.place, shape)] if shape else []


@dataclass(frozen=True)
class Moments:
    """Of `n` values between `lo` and `hi`: mean, standard deviation (of all, σ² = Σ(x − μ)²/n), skewness Σ(x − μ)³/nσ³
    and excess kurtosis Σ(x − μ)⁴/nσ⁴ − 3, both 0 where σ is.
    """

    n: int = 0
    lo: float = 0.0
    hi: float = 0.0
    mean: float = 0.0
    sigma: float = 0.0
    skew: float = 0.0
    kurtosis: float = 0.0

    def to_json(self) -> dict[str, float]:
        return {"mean": self.mean, "sigma": self.sigma, "skewness": self.skew, "excess_kurtosis": self.kurtosis}

    @property
    def reach(self) -> float:
        """How many σ the farthest value lies from the mean; 0 without different values."""
        return max(self.hi - self.mean, self.mean - self.lo) / self.sigma if self.sigma else 0.0


@dataclass(frozen=True)
class Shape:
    """The finite values of a tensor: `all` of them, the `rest` without the `outliers` (farthest first), and how many of
    the rest are more than `FAR` of its σ from its mean.
    """

    all: Moments
    rest: Moments
    outliers: tuple[Outlier, ...]
    far: int

    def to_json(self, dims: tuple[int, ...]) -> dict[str, Any]:
        """As `qexplorer analyze --json` prints it, for a tensor of these dimensions."""
        outliers = [{"value": each.value, "index": each.indices(dims), "sigmas": self.sigmas(each.value)}
                    for each in self.outliers]  # fmt: skip
        return {**self.all.to_json(), "outliers": outliers, "rest": {**self.rest.to_json(), "beyond_6_sigma": self.far}}

    def sigmas(self, value: float) -> float:
        """How many σ of the rest a value is from its mean."""
        return abs(value - self.rest.mean) / self.rest.sigma if self.rest.sigma else math.inf


@dataclass(frozen=True)
class _Fence:
    """What lies within `lo` … `hi` is the rest, `center` about its mean, `sigma` about its σ."""

    lo: float
    hi: float
    center: float
    sigma: float


@dataclass
class _Sums:
    """Σ(x − c)ᵏ for k = 0 … 4 over the rest, its ends, how many are far, and those beyond the fence."""

    powers: Doubles
    lo: float
    hi: float
    far: int
    beyond: list[Outlier]

    def add(self, more: "_Sums") -> None:
        self.powers += more.powers
        self.lo, self.hi = min(self.lo, more.lo), max(self.hi, more.hi)
        self.far += more.far
        self.beyond += more.beyond


def shape_of(values: Values, whole: Sketch) -> Steps[Shape]:
    """Sum over all values, on all cores; `whole` is their sketch."""
    fence = _fence(whole)
    total = _Sums(np.zeros(5), math.inf, -math.inf, 0, [])
    chunks = [range(at, min(at + CHUNK, values.n)) for at in range(0, values.n, CHUNK)]

    def work(chunk: range) -> Steps[_Sums]:
        yield Progress("Moments")
        x = widened(narrowed(values.read(chunk.start, chunk.stop))).astype(np.float64)
        return _sums(x, chunk.start, fence)

    yield from each("Moments", chunks, work, lambda _, more: total.add(more), len, values.n)
    rest = _moments(total.powers, fence.center, total.lo, total.hi)
    outliers = tuple(sorted(total.beyond, key=lambda each: -abs(each.value - fence.center)))
    if not outliers:
        return Shape(rest, rest, (), total.far)
    far = np.array([each.value for each in outliers])
    powers = total.powers + np.array([((far - fence.center) ** k).sum() for k in range(5)])
    lo, hi = min(total.lo, far.min()), max(total.hi, far.max())
    return Shape(_moments(powers, fence.center, float(lo), float(hi)), rest, outliers, total.far)


def channel_sizes(values: Values) -> Steps[Doubles]:
    """The mean magnitude of each channel, `[C]`, which a few large values hardly move; none where there are none."""
    if len(values.shape) < 2:
        return np.zeros(0)
    matrix, spec = yield from matrix_of(values, QuantSpec(granularity=PerChannel()))
    totals, counts = np.zeros(matrix.shape[0]), np.zeros(matrix.shape[0])

    def work(piece: Piece) -> Steps[tuple[Doubles, Doubles]]:
        yield Progress("Channels")
        rows = widened(rows_of(matrix, spec, piece))
        finite = np.isfinite(rows)
        return np.abs(np.where(finite, rows, 0)).sum(axis=1, dtype=np.float64), finite.sum(axis=1, dtype=np.float64)

    def take(piece: Piece, more: tuple[Doubles, Doubles]) -> None:
        part = slice(piece.groups.start, piece.groups.stop)
        totals[part] += more[0]
        counts[part] += more[1]

    yield from each("Channels", blocks(matrix, spec), work, take, size_of, values.n)
    return totals / np.maximum(counts, 1)


def _sums(x: Doubles, start: int, fence: _Fence) -> _Sums:
    inside = (x >= fence.lo) & (x <= fence.hi)
    beyond: list[Outlier] = []
    if not inside.all():
        places = np.flatnonzero(np.isfinite(x) & ~inside)
        beyond = [Outlier(float(x[i]), start + int(i)) for i in places]
        x = x[inside]
    d = x - fence.center
    square = d * d
    powers = np.array([d.size, d.sum(), square.sum(), (square * d).sum(), (square * square).sum()], np.float64)
    far = int(np.count_nonzero(np.abs(d) > FAR * fence.sigma)) if fence.sigma else 0
    return _Sums(powers, float(x.min(initial=math.inf)), float(x.max(initial=-math.inf)), far, beyond)


def _moments(powers: Doubles, center: float, lo: float, hi: float) -> Moments:
    n = int(powers[0])
    if not n:
        return Moments()
    m, s2, s3, s4 = (powers[1:] / n).tolist()
    variance = max(s2 - m * m, 0.0) if hi > lo else 0.0
    if not variance:
        return Moments(n, lo, hi, center + m if hi > lo else lo)
    third = s3 - 3 * m * s2 + 2 * m**3
    fourth = s4 - 4 * m * s3 + 6 * m * m * s2 - 3 * m**4
    return Moments(n, lo, hi, center + m, math.sqrt(variance), third / variance**1.5, fourth / variance**2 - 3)


def _fence(whole: Sketch) -> _Fence:
    """What tells the few values that stand alone from the rest."""
    if not whole.n:
        return _Fence(-LARGEST, LARGEST, 0.0, 0.0)
    values, counts = whole.values.astype(np.float64), whole.counts
    median = values[np.searchsorted(np.cumsum(counts), whole.n / 2)]
    away = np.abs(values - median)
    order = np.argsort(-away, kind="stable")[: FEW + 1]
    often, far = np.cumsum(counts[order]), away[order]
    best, taken = APART, 0
    for k in range(1, len(order)):
        ratio = far[k - 1] / far[k] if far[k] else math.inf
        if often[k - 1] > min(FEW, whole.n // SHARE) or ratio < best:
            continue
        if far[k - 1] >= FAR * _spread(values, counts, order[:k])[1]:
            best, taken = ratio, k
    center, sigma = _spread(values, counts, order[:taken])
    if not taken:
        return _Fence(-LARGEST, LARGEST, center, sigma)
    limit = (far[taken - 1] + far[taken]) / 2
    return _Fence(median - limit, median + limit, center, sigma)


def _spread(values: Doubles, counts: Counts, without: AnyArray) -> tuple[float, float]:
    """About the mean and the standard deviation of all but some."""
    weights = counts.astype(np.float64)
    weights[without] = 0
    mean = float((weights * values).sum() / weights.sum())
    return mean, math.sqrt(float((weights * (values - mean) ** 2).sum() / weights.sum()))
