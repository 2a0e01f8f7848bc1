"""A tensor of any size as a table of values and how often each occurs: what is asked of it is answered at once.

One pass counts values by their upper bits. Of 16 bits and fewer that is every value, and the sketch is exact; so is
that of a few values. Of
float32 values those are taken together that are alike in their upper 17 bits (sign, exponent and 8 bits of mantissa):
a bucket is at most 2⁻⁸ of its values wide. Count and sum of their lower bits are added up in one 64-bit counter, so
that each bucket is known by its exact mean; 4 bytes a value are read, and one counter of a table of 1 MB is written.

`variance` bounds what lies between a bucket's values and its mean μ. All lie in a … b, so their mean squared distance
from μ is at most (μ − a)(b − μ) (Bhatia and Davis 2000).
"""

from dataclasses import dataclass

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.buckets import KEY_BITS, LOW_BITS, ZEROS
from qexplorer.quant.error_sums import compiled, ends_of
from qexplorer.quant.pool import cores, each
from qexplorer.quant.tensor_source import Values, narrowed, widened
from qexplorer.quant.weighted import Sample

PIECE = 1 << 20
"""Values that are counted in one step: they fit the cache."""
FEW = 1 << 14
"""So few values are sorted, which is as quick, and exact."""
HALF_PATTERNS = 1 << 16


@dataclass(frozen=True)
class Sketch:
    """The finite values: `values` ascending `[K]`, how often each counts, and the ends of its bucket.

    `variance` is a bound of the mean squared distance of a bucket's values from `values`, `[K]`: zero throughout where
    the sketch is `exact`. The least and the greatest value are always exact. `nonfinite` were left out.
    """

    values: Floats
    counts: Counts
    low: Floats
    high: Floats
    variance: Doubles
    n: int
    nonfinite: int

    @property
    def exact(self) -> bool:
        """Whether each value of the tensor is in the table as it is."""
        return not self.variance.any()

    @property
    def sample(self) -> Sample:
        """What an observer looks at."""
        return Sample(self.values[None], self.counts[None].astype(np.float64))

    def arrays(self) -> dict[str, AnyArray]:
        """The sketch as named arrays, for a file."""
        sizes = np.array([self.n, self.nonfinite], np.int64)
        return {"values": self.values, "counts": self.counts, "low": self.low, "high": self.high,
                "variance": self.variance, "sizes": sizes}  # fmt: skip

    @staticmethod
    def of_arrays(arrays: dict[str, AnyArray]) -> "Sketch":
        """The sketch of `arrays`. Raises `ValueError` or `KeyError` where it is none."""
        sizes = arrays["sizes"]
        columns = [arrays[name] for name in ("values", "counts", "low", "high", "variance")]
        if sizes.shape != (2,) or len({c.shape for c in columns}) != 1 or columns[0].ndim != 1:
            raise ValueError("not a sketch")
        values, counts, low, high, wide = columns
        if int(counts.sum()) != int(sizes[0]) or np.any(np.diff(values) < 0):
            raise ValueError("not a sketch")
        return Sketch(values, counts, low, high, wide, int(sizes[0]), int(sizes[1]))


def sketch(values: Values) -> Steps[Sketch]:
    """Count a tensor, on all cores. Raises `UserError` where float32 cannot hold a value."""
    if values.n <= FEW:
        yield Progress("Counting", 0, values.n)
        return _sorted(widened(narrowed(values.read(0, values.n))))
    half = values.dtype.itemsize == 2
    tally = _HalfTally(values.dtype) if half else Tally()
    ends = ends_of_nothing()
    step = PIECE * min(-(-values.n // (PIECE * cores())), tally.together)
    shares = [range(at, min(at + step, values.n)) for at in range(0, values.n, step)]

    def count(share: range) -> Steps[tuple[AnyArray, Floats]]:
        table, found = tally.table(), ends_of_nothing()
        for start in range(share.start, share.stop, PIECE):
            raw = narrowed(values.read(start, min(start + PIECE, share.stop)))
            tally.count(raw, table)
            widen(found, np.array(ends_of(raw[None]))[:, 0])
            yield Progress("Counting", start - share.start, len(share))
        return table, found

    def take(share: range, counted: tuple[AnyArray, Floats]) -> None:
        del share
        tally.add(*counted)
        widen(ends, counted[1])

    yield from each("Counting", shares, count, take, len, values.n)
    return tally.sketch(ends, values.n)


def _sorted(values: Floats) -> Sketch:
    """The sketch of a few values, each as it is."""
    found, counts = np.unique(values[np.isfinite(values)] + np.float32(0), return_counts=True)
    n = int(counts.sum())
    return Sketch(found, counts.astype(np.int64), found, found, np.zeros(len(found)), n, values.size - n)


def ends_of_nothing() -> Floats:
    """The ends of no values at all."""
    return np.array([np.inf, -np.inf], np.float32)


def widen(ends: Floats, more: Floats) -> None:
    """Let `ends`, the least and the greatest value, hold `more` as well."""
    ends[0], ends[1] = min(ends[0], more[0]), max(ends[1], more[1])


class _HalfTally:
    """Every pattern of 16 bits has a counter of its own."""

    together = 16

    def __init__(self, dtype: "np.dtype[np.generic]") -> None:
        self.dtype = dtype
        self.counts = np.zeros(HALF_PATTERNS, np.int64)

    def table(self) -> AnyArray:
        return np.zeros(HALF_PATTERNS, np.uint32)

    def count(self, raw: AnyArray, table: AnyArray) -> None:
        if compiled(raw.size, few=True):
            from qexplorer.quant import kernels

            kernels.tally(raw, table)
        else:
            table += np.bincount(raw.view(np.uint16), minlength=HALF_PATTERNS).astype(np.uint32)

    def add(self, table: AnyArray, ends: Floats) -> None:
        del ends
        self.counts += table

    def sketch(self, ends: Floats, n: int) -> Sketch:
        del ends
        patterns = np.arange(HALF_PATTERNS, dtype=np.uint16)
        found = widened(patterns if self.dtype == np.uint16 else patterns.view(np.float16))
        used = np.flatnonzero((self.counts > 0) & np.isfinite(found))
        order = used[np.argsort(found[used], kind="stable")]
        values, counts = found[order], self.counts[order]
        return Sketch(values, counts, values, values, np.zeros(len(values)), int(counts.sum()), n - int(counts.sum()))


class Tally:
    """Each bucket of float32 values has a count and the sum of their lower bits, in one number of 64 bits: 24 for the
    count, which so many values in one table cannot fill, and 40 for the sum.
    """

    together = 15

    def __init__(self) -> None:
        self.counts = np.zeros(1 << KEY_BITS, np.int64)
        self.lows = np.zeros(1 << KEY_BITS, np.int64)

    @staticmethod
    def table() -> AnyArray:
        return np.zeros((1 << KEY_BITS) + ZEROS, np.uint64)

    @staticmethod
    def count(raw: AnyArray, table: AnyArray) -> None:
        if compiled(raw.size, few=True):
            from qexplorer.quant import kernels

            kernels.tally(raw, table)
        else:
            bits = np.ascontiguousarray(raw).view(np.uint32)
            keys, low = bits >> LOW_BITS, bits & ((1 << LOW_BITS) - 1)
            counts = np.bincount(keys, minlength=len(table)).astype(np.uint64)
            table += (counts << np.uint64(40)) + np.bincount(keys, low, len(table)).astype(np.uint64)

    def add(self, table: AnyArray, ends: Floats) -> None:
        keys, counts, lows = _untied(table, ends)
        self.counts[keys] += counts
        self.lows[keys] += lows

    def sketch(self, ends: Floats, n: int) -> Sketch:
        keys = _keys_between(ends)
        keys = keys[self.counts[keys] > 0]
        return _of_buckets(keys, self.counts[keys], self.lows[keys], ends, n)


def sketch_of_table(table: AnyArray, ends: Floats, n: int) -> Sketch:
    """The sketch of what a single table of a `Tally` counted."""
    return _of_buckets(*_untied(table, ends), ends, n)


def _untied(table: AnyArray, ends: Floats) -> tuple[Counts, Counts, Counts]:
    """The buckets that a table has values of, their counts, and the sums of their lower bits."""
    keys = _keys_between(ends)
    found = table[keys]
    found[:1] += table[1 << KEY_BITS :].sum(dtype=table.dtype)
    keys, found = keys[found > 0], found[found > 0]
    return keys, (found >> np.uint64(40)).astype(np.int64), (found & np.uint64((1 << 40) - 1)).astype(np.int64)


def _of_buckets(keys: Counts, counts: Counts, lows: Counts, ends: Floats, n: int) -> Sketch:
    near = (keys << LOW_BITS).astype(np.uint32).view(np.float32)
    far = ((keys << LOW_BITS) | ((1 << LOW_BITS) - 1)).astype(np.uint32).view(np.float32)
    unit = (far.astype(np.float64) - near) / ((1 << LOW_BITS) - 1)
    means = near + unit * (lows / counts)
    order = np.argsort(means, kind="stable")
    low, high = np.minimum(near, far)[order], np.maximum(near, far)[order]
    return _with_ends(means[order], counts[order], low, high, float(ends[0]), float(ends[1]), n)


def _keys_between(ends: Floats) -> Counts:
    """The buckets of all finite values if the least and greatest are `ends`: others are not even read."""
    bits = np.abs(np.array([max(ends[1], 0), min(ends[0], 0)], np.float32)).view(np.uint32)
    above, below = (np.arange((int(end) >> LOW_BITS) + 1) for end in bits)
    return np.concatenate((above, (1 << (KEY_BITS - 1)) + below))


def _with_ends(means: Doubles, counts: Counts, low: Floats, high: Floats, lo: float, hi: float, n: int) -> Sketch:
    """The sketch whose first and last value are the very least and greatest: each is taken out of its bucket."""
    found = int(counts.sum())
    if found:
        low, high = np.maximum(low, np.float32(lo)), np.minimum(high, np.float32(hi))
        means, counts = means.copy(), counts.copy()
        single: list[tuple[int, float]] = []
        for at, end in ((0, lo), (-1, hi)):
            if counts[at] > 1:
                means[at] += (means[at] - end) / (counts[at] - 1)
                counts[at] -= 1
                single.append((at, end))
            else:
                means[at] = end
        for at, end in single:
            place = 0 if at == 0 else len(means)
            means, counts = np.insert(means, place, end), np.insert(counts, place, 1)
            low, high = (np.insert(side, place, np.float32(end)) for side in (low, high))
        means = np.clip(means, low, high)
    wide = (means - low) * (high - means)
    return Sketch(means.astype(np.float32), counts, low, high, np.where(counts > 1, wide, 0.0), found, n - found)
