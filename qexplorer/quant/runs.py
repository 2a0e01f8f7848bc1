"""A tensor as short runs of neighbouring values, which are cheap to read: Σx² of each, and the values of some."""

from dataclasses import dataclass

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.pool import each
from qexplorer.quant.tensor_source import Values, narrowed, widened

SHORTEST = 16
MOST_RUNS = 1 << 18
"""Of larger tensors runs are longer."""
PIECE = 1 << 20
"""Values that are looked at in one step."""


@dataclass(frozen=True)
class Runs:
    """A tensor cut into runs of `length` values, the last of which may be shorter: Σx² of each, `[R]`, over its finite
    values, of which there are `finite` in all.
    """

    length: int
    x2: Doubles
    finite: int

    def places(self, numbers: Counts) -> Counts:
        """Where the values of some runs lie: `[M]` → `[M, length]`."""
        return numbers[:, None] * self.length + np.arange(self.length)

    def read(self, values: Values, numbers: Counts) -> Floats:
        """The values of some runs, `[M, length]`; 0 where one is not finite, or beyond the end."""
        known, where = np.unique(numbers, return_inverse=True)
        n, length, read = values.n, self.length, values.read
        parts = [read(at, min(at + length, n)) for at in (known * length).tolist()]  # only the last may be shorter
        return _cut(np.concatenate(parts), length)[0][where]


def cut_in_runs(values: Values) -> Steps[Runs]:
    """One pass over the tensor, on all cores."""
    length = SHORTEST
    while values.n > length * MOST_RUNS:
        length *= 2
    sums, finite = np.zeros(-(-values.n // length)), 0
    pieces = [range(at, min(at + PIECE, values.n)) for at in range(0, values.n, PIECE)]

    def look(piece: range) -> Steps[tuple[Doubles, int]]:
        yield Progress("Looking at all values")
        runs, known = _cut(values.read(piece.start, piece.stop), length)
        return np.einsum("rn,rn->r", runs, runs, dtype=np.float64), known

    def take(piece: range, found: tuple[Doubles, int]) -> None:
        nonlocal finite
        start = piece.start // length
        sums[start : start + len(found[0])] = found[0]
        finite += found[1]

    yield from each("Looking at all values", pieces, look, take, len, values.n)
    return Runs(length, sums, finite)


def _cut(raw: AnyArray, length: int) -> tuple[Floats, int]:
    """Values as runs, and how many of them are finite."""
    x = widened(narrowed(raw))
    finite = np.isfinite(x)
    known = int(np.count_nonzero(finite))
    if known < x.size:
        x = np.where(finite, x, np.float32(0))
    if x.size % length:
        x = np.pad(x, (0, -x.size % length))
    return x.reshape(-1, length), known
