"""Between which ends the true figures lie when a sketch was quantized instead of the values themselves.

A bucket's values lie in a … b, their mean is μ, and their mean squared distance from it is at most v. Quantizing is
monotone. Where a and b become the same level y, all values do: their errors are y − x, so that their squares sum to
n·(y − μ)² and n times the spread, 0 … v, more. Elsewhere a level's border lies within the bucket. Where values are
rounded to the nearest level, |e| is their distance from the nearest level, which changes no faster than x: the root of
their mean squared error is within √v of |e(μ)|. With other roundings |e| is at most the larger of |y(b) − a| and
|y(a) − b|.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qexplorer.quant.arrays import AnyArray, Doubles, Mask
from qexplorer.quant.metrics import entropy_bits, sqnr_db
from qexplorer.quant.params import QuantParams
from qexplorer.quant.sketch import Sketch
from qexplorer.quant.spec import QuantSpec

Bounds: TypeAlias = Mapping[str, tuple[float, float]]
"""The least and the greatest value that a figure of `Metrics` can have, by its name; none where all is exact."""
NO_BOUNDS: Bounds = {}


@dataclass(frozen=True)
class _Buckets:
    """Each bucket: how many values, their mean, up to how much that was rounded to float32, the bound of their spread;
    levels of both ends and of the mean.
    """

    counts: Doubles
    mean: Doubles
    off: Doubles
    spread: Doubles
    low: Doubles
    high: Doubles
    y_low: Doubles
    y_high: Doubles
    y: Doubles

    @property
    def alike(self) -> Mask:
        """Whether all of a bucket's values become the same."""
        return self.y_low == self.y_high

    def sum(self, figures: AnyArray | np.bool) -> float:
        return float((self.counts * figures).sum())


def bounds_of(whole: Sketch, spec: QuantSpec, possible: Sequence[QuantParams]) -> Bounds:
    """The bounds of every figure that follows from a sketch with any of the parameters; none where it is exact."""
    if whole.exact or not whole.n:
        return NO_BOUNDS
    each = [_bounds_with(whole, spec, params) for params in possible]
    return {name: (min(b[name][0] for b in each), max(b[name][1] for b in each)) for name in each[0]}


def _bounds_with(whole: Sketch, spec: QuantSpec, params: QuantParams) -> Bounds:
    ends = np.stack([whole.low, whole.high, whole.values])
    codes = spec.format.quantize(ends.reshape(1, -1), params)
    y_low, y_high, y = spec.format.dequantize(codes, params).reshape(3, -1).astype(np.float64)
    low, high, mean = ends.astype(np.float64)
    off = np.where(whole.variance > 0, np.spacing(np.abs(whole.values)).astype(np.float64) / 2, 0.0)
    b = _Buckets(whole.counts.astype(np.float64), mean, off, whole.variance, low, high, y_low, y_high, y)
    n = float(whole.n)
    e2, e1, e_max = _errors(b, nearest=spec.rounding.to_nearest)
    x2 = b.sum(np.maximum(np.abs(mean) - off, 0) ** 2), b.sum((np.abs(mean) + off) ** 2 + b.spread)
    outside = spec.format.outside(ends.reshape(1, -1), params).reshape(3, -1)
    rmse = math.sqrt(e2[0] / n), math.sqrt(e2[1] / n)
    return {
        "mse": (e2[0] / n, e2[1] / n),
        "rmse": rmse,
        "mae": (e1[0] / n, e1[1] / n),
        "max_abs_error": e_max,
        "sqnr_db": (sqnr_db(x2[0], e2[1]), sqnr_db(x2[1], e2[0])),
        "relative_rmse": (math.sqrt(e2[0] / x2[1]) if x2[1] else 0.0, math.sqrt(e2[1] / x2[0]) if x2[0] else math.inf),
        "cosine": _cosine(b, x2, e2),
        "clipped_fraction": (b.sum(outside[:2].all(axis=0)) / n, b.sum(outside.any(axis=0)) / n),
        "original_sparsity": (b.sum((b.mean == 0) & (b.off == 0)) / n, b.sum((b.low <= 0) & (b.high >= 0)) / n),
        "sparsity": (b.sum(b.alike & (b.y == 0)) / n, b.sum((b.y_low <= 0) & (b.y_high >= 0)) / n),
        **_codes(b, codes.reshape(3, -1)[2], 2**spec.format.code_bits),
    }


def _errors(b: _Buckets, *, nearest: bool) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Σe², Σ|e| and the worst |e|: from where to where."""
    error, sigma = np.abs(b.y - b.mean), np.sqrt(b.spread)
    near, far = np.maximum(error - b.off, 0), error + b.off
    farthest = np.maximum(np.abs(b.y_high - b.low), np.abs(b.y_low - b.high))
    least = np.maximum(near - sigma, 0) if nearest else np.zeros_like(error)
    most = np.minimum(far + sigma, farthest) if nearest else farthest
    one_side = b.alike & ((b.y <= b.low) | (b.y >= b.high))
    squares = b.sum(np.where(b.alike, near**2, least**2)), b.sum(np.where(b.alike, far**2 + b.spread, most**2))
    sums = (
        b.sum(np.where(b.alike, near, least)),
        b.sum(np.where(one_side, far, np.where(b.alike, far + sigma, most))),
    )
    worst = float(np.where(b.alike, near, 0.0).max(initial=0.0)), float(farthest.max(initial=0.0))
    return squares, sums, worst


def _cosine(b: _Buckets, x2: tuple[float, float], e2: tuple[float, float]) -> tuple[float, float]:
    """Each Σ over a bucket lies between those of its ends; and the sine is at most ‖e‖/‖x‖."""
    ends = np.stack([b.y_low**2, b.y_high**2])
    crossing = np.where((b.y_low < 0) & (b.y_high > 0), 0.0, ends.min(axis=0))
    y2 = b.sum(crossing), b.sum(ends.max(axis=0))
    if not 0 < y2[1] < math.inf:
        return (-1.0, 1.0) if y2[1] else (0.0, 0.0)
    corners = np.stack([x * y for x in (b.low, b.high) for y in (b.y_low, b.y_high)])
    xy = [
        b.sum(np.where(b.alike, b.mean * b.y + sign * b.off * np.abs(b.y), corner))
        for sign, corner in ((-1, corners.min(axis=0)), (1, corners.max(axis=0)))
    ]
    wide, narrow = math.sqrt(x2[1] * y2[1]), math.sqrt(x2[0] * y2[0])
    low, high = (
        s / by if by else math.copysign(1.0, s)
        for s, by in ((xy[0], wide if xy[0] > 0 else narrow), (xy[1], narrow if xy[1] > 0 else wide))
    )
    sine2 = e2[1] / x2[0] if x2[0] else math.inf
    high = min(high, 1.0)
    return min(max(low, -1.0, math.sqrt(1 - sine2) if sine2 < 1 else -1.0), high), high


def _codes(b: _Buckets, codes: AnyArray, all_codes: int) -> Bounds:
    """Utilization: codes that are certainly in use, and one more for each value that may have another. Entropy: a
    share t of values with other codes changes it by t·log₂(K − 1) + h(t) at most (Audenaert 2007).
    """
    certain = len(np.unique(codes[b.alike]))
    loose = float(b.counts[~b.alike].sum())
    used = max(certain, 1) / all_codes, min(certain + loose, all_codes) / all_codes
    t, k = loose / float(b.counts.sum()), min(all_codes, int(b.counts.sum()))
    change = math.log2(max(k, 1))
    if t < 1 - 1 / max(k, 1):
        change = t * math.log2(max(k - 1, 1)) + (-t * math.log2(t) - (1 - t) * math.log2(1 - t) if t > 0 else 0.0)
    entropy = entropy_bits(np.bincount(codes - codes.min(), weights=b.counts))
    return {
        "code_utilization": used,
        "code_entropy_bits": (max(entropy - change, 0.0), min(entropy + change, math.log2(max(k, 1)))),
    }
