"""The values that an observer has seen, in bounded memory.

One block is kept as it is, so that the range of a single tensor is found from its own values. From the second block on
each group keeps one bucket for each pattern of the upper 16 bits of a float32 (its sign, exponent and seven bits of
mantissa): a count and a sum. There are at most 65,536 of them however long the stream is, and they do not depend on
the order of the blocks.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qexplorer.quant.arrays import Counts, Doubles, Floats

MOST_DISTINCT = 1 << 18
FEW_BITS, MANY_BITS = 16, 22
Bucket: TypeAlias = tuple[Counts, Doubles, Doubles]
"""Keys `[K]` ascending, counts `[K]` and sums `[K]` of one group."""


@dataclass(frozen=True)
class Sample:
    """Values and how often each counts: `values` is `[G, K]` float32 with NaN where a row is shorter.

    `weights` is `[G, K]`, or `None` where each value counts once.
    """

    values: Floats
    weights: Doubles | None
    buckets: tuple[Bucket, ...] = ()

    @staticmethod
    def of(rows: Floats) -> "Sample":
        """The sample of a first block `[G, N]`."""
        return Sample(np.where(np.isfinite(rows), rows, np.float32(np.nan)), None)

    def and_also(self, rows: Floats) -> "Sample":
        """The sample with one more block `[G, N]`."""
        old = self.buckets or tuple(_bucket(row) for row in self.values)
        merged = tuple(_merge(a, _bucket(row)) for a, row in zip(old, Sample.of(rows).values, strict=True))
        width = max((len(keys) for keys, _, _ in merged), default=0)
        values = np.full((len(merged), width), np.nan, np.float32)
        weights = np.zeros((len(merged), width))
        for g, (keys, counts, sums) in enumerate(merged):
            means = (sums / counts).astype(np.float32)
            order = np.argsort(means, kind="stable")
            values[g, : len(keys)], weights[g, : len(keys)] = means[order], counts[order]
        return Sample(values, weights, merged)

    @property
    def doubles(self) -> Doubles:
        """The values in float64, NaN where a row is shorter: `[G, K]`."""
        return self.values.astype(np.float64)

    def counted(self, g: int) -> tuple[Doubles, Doubles]:
        """The distinct finite values of group `g`, ascending, and how often each counts.

        Where more than 262,144 are distinct, those alike in their upper 22 bits are taken together, at their mean.
        """
        finite = np.isfinite(self.values[g])
        values = self.values[g][finite]
        if self.weights is None:
            distinct, counts = np.unique(values, return_counts=True)
            if len(distinct) > MOST_DISTINCT:
                _, counts, sums = _bucket(values, MANY_BITS)
                distinct = sums / counts
        else:
            distinct, counts = values, self.weights[g][finite]
        order = np.argsort(distinct, kind="stable")
        return distinct[order].astype(np.float64), counts[order].astype(np.float64)

    def quantile(self, q: float) -> Floats:
        """The `q`-quantile of each group, `[G]`, interpolated linearly as NumPy and torch do; +NaN for no values."""
        if self.weights is None and self.values.size and np.isfinite(self.values).all():
            return self._selected(q)
        order = np.argsort(self.values, axis=1, kind="stable")
        values = np.take_along_axis(self.values, order, axis=1)
        ones = np.isfinite(values).astype(np.float64)
        weights = ones if self.weights is None else np.take_along_axis(self.weights, order, axis=1)
        reached = np.cumsum(weights, axis=1)
        position = q * np.maximum(reached[:, -1:] - 1, 0)
        low = np.argmax(reached > np.floor(position), axis=1)[:, None]
        high = np.argmax(reached > np.ceil(position), axis=1)[:, None]
        below = np.take_along_axis(values, low, axis=1)[:, 0].astype(np.float64)
        above = np.take_along_axis(values, high, axis=1)[:, 0].astype(np.float64)
        fraction = (position - np.floor(position))[:, 0]
        return (below + (above - below) * fraction).astype(np.float32)

    def _selected(self, q: float) -> Floats:
        """The quantile of rows that are full: two order statistics, found without sorting."""
        position = q * (self.values.shape[1] - 1)
        low, high = int(np.floor(position)), int(np.ceil(position))
        parted = np.partition(self.values, (low, high), axis=1)
        below, above = (parted[:, at].astype(np.float64) for at in (low, high))
        return (below + (above - below) * (position - low)).astype(np.float32)


def weighted_mean(sample: Sample, of: Doubles) -> Doubles:
    """The mean of `of` (`[G, K]`, one figure for each value of the sample) in each group: `[G]`; 0 for none."""
    finite = np.isfinite(sample.values)
    weights = finite.astype(np.float64) if sample.weights is None else np.where(finite, sample.weights, 0)
    total = weights.sum(axis=1)
    return np.einsum("gk,gk->g", np.where(finite, of, 0), weights) / np.where(total > 0, total, 1)


def _bucket(row: Floats, bits: int = FEW_BITS) -> Bucket:
    values = np.ascontiguousarray(row[np.isfinite(row)])
    keys, where = np.unique(values.view(np.uint32) >> (32 - bits), return_inverse=True)
    counts = np.bincount(where, minlength=len(keys)).astype(np.float64)
    sums = np.bincount(where, weights=values, minlength=len(keys))
    return keys.astype(np.int64), counts, sums.astype(np.float64)


def _merge(a: Bucket, b: Bucket) -> Bucket:
    keys, where = np.unique(np.concatenate([a[0], b[0]]), return_inverse=True)
    counts = np.bincount(where, weights=np.concatenate([a[1], b[1]]), minlength=len(keys))
    sums = np.bincount(where, weights=np.concatenate([a[2], b[2]]), minlength=len(keys))
    return keys, counts.astype(np.float64), sums.astype(np.float64)
