"""What an observer asks of a group of very many values, answered by passes over them, piece by piece on all cores."""

from collections.abc import Callable

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.bins import Bins
from qexplorer.quant.error_sums import compiled
from qexplorer.quant.observers import Ends
from qexplorer.quant.pieces import blocks, rows_of, size_of
from qexplorer.quant.pool import each
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values, widened
from qexplorer.quant.tiling import Piece


class ManyValues:
    """The `Passes` over a tensor whose values all share one scale; `ends` are its extremes, `[1]` each."""

    def __init__(self, values: Values, spec: QuantSpec, ends: Ends) -> None:
        self._values, self._spec = values, spec
        self.ends = float(ends[0][0]), float(ends[1][0])

    def sum(self, of: Callable[[Floats], AnyArray]) -> Steps[AnyArray]:
        """The sum of `of(piece)` over pieces that hold each finite value once."""
        total: AnyArray = np.zeros(())

        def work(piece: Piece) -> Steps[AnyArray]:
            yield Progress("Finding the range")
            rows = widened(rows_of(self._values, self._spec, piece))
            return of(rows[np.isfinite(rows)])

        def take(piece: Piece, found: AnyArray) -> None:
            nonlocal total
            del piece
            total = total + found

        pieces = blocks(self._values, self._spec)
        yield from each("Finding the range", pieces, work, take, size_of, self._values.n)
        return total

    def magnitudes(self, bins: Bins) -> Steps[Counts]:
        """How many |x| lie in each bin."""

        def count(x: Floats) -> Counts:
            if compiled(x.size):
                from qexplorer.quant import kernels

                return kernels.histogram(np.abs(x), bins)
            return bins.counts(np.abs(x))

        return (yield from self.sum(count))

    def quantiles(self, *shares: float) -> Steps[Floats]:
        """Quantiles, from the order statistics beside them: the sketch says in which bucket each lies, and one pass
        counts the values of these buckets one by one.
        """
        whole = yield from sketch(self._values)
        if not whole.n:
            return np.full(len(shares), np.nan, np.float32)
        places = np.array(shares) * (whole.n - 1)
        ranks = np.stack([np.floor(places), np.ceil(places)]).astype(np.int64)
        below, above = (yield from self._at(whole, ranks.ravel())).reshape(ranks.shape)
        return (below + (above - below) * (places - ranks[0])).astype(np.float32)

    def _at(self, whole: Sketch, ranks: Counts) -> Steps[Doubles]:
        """The values of these ranks, 0 for the least."""
        at = np.unique(np.searchsorted(np.cumsum(whole.counts), ranks, side="right"))
        firsts, lasts = _orders(whole.low[at]), _orders(whole.high[at])
        sizes = lasts - firsts + 1

        def count(x: Floats) -> Counts:
            orders = _orders(x)
            counts = [np.zeros(0, np.int64)]
            for first, last, size in zip(firsts, lasts, sizes, strict=True):
                within = orders[(orders >= first) & (orders <= last)]
                counts += [np.count_nonzero(orders < first, keepdims=True), np.bincount(within - first, minlength=size)]
            return np.concatenate(counts)

        found, begin = np.zeros(len(ranks)), 0
        counted = yield from self.sum(count)
        for first, size in zip(firsts, sizes, strict=True):
            reached = np.cumsum(counted[begin : begin + 1 + size])  # those below the bucket, then its values
            place = np.searchsorted(reached, ranks, side="right") - 1
            inside = (place >= 0) & (place < size)
            found[inside] = _of_orders(first + place[inside])
            begin += 1 + size
        return found


def _orders(x: Floats) -> Counts:
    """Whole numbers that stand in the order of the values, next to each other where no float32 lies between."""
    bits = (x + np.float32(0)).view(np.int32).astype(np.int64)  # one zero, which has no sign
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _of_orders(orders: Counts) -> Floats:
    bits = np.abs(orders).astype(np.uint32) | np.where(orders < 0, np.uint32(1 << 31), np.uint32(0))
    return bits.astype(np.uint32).view(np.float32)
