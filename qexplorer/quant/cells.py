"""The best division of sorted values into cells, each of which becomes its mean: exact k-means in one dimension.

In one dimension every cell of the optimum is a stretch of the sorted values, so that dynamic programming finds it: the
least cost of the first j values in c cells is the least, over the last cut i, of that of the first i in c − 1 cells and
of the cell i … j. The best cut never moves back as j grows, so that each row of the table is filled by halving, in
n·log n steps (Wu 1991; Grønlund et al. 2017).

Importing this module loads numba and compiles, or loads what is cached: import it where it is first needed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from qexplorer.quant.arrays import AnyArray, Doubles
from qexplorer.quant.compiled import compiled

HALVINGS = 20
_F8 = types.float64[::1]
_I8 = types.int64[::1]


@compiled(types.float64(_F8, _F8, _F8, types.int64, types.int64))
def _cost(often: Any, sums: Any, squares: Any, i: int, j: int) -> float:
    """Σw(x − mean)² of the values i … j − 1, from what is reached by each."""
    n = often[j] - often[i]
    if n <= 0:
        return 0.0
    s = sums[j] - sums[i]
    return max(squares[j] - squares[i] - s * s / n, 0.0)


@compiled(types.void(_F8, _F8, _F8, _F8, types.int64, _F8, types.int32[::1]))
def _row(often: Any, sums: Any, squares: Any, before: Any, cells: int, costs: Any, cuts: Any) -> None:
    """The least cost of the first j values in so many cells, and the last cut with which it is reached, for every j,
    from those `before` of one cell less. Between two places whose cuts are known those of others need no search beyond.
    """
    n = often.size - 1
    step = 1
    while step < n:
        step *= 2
    while step:
        for j in range(step, n + 1, 2 * step):
            low = max(np.int64(cuts[j - step]), cells - 1)
            high = np.int64(cuts[j + step]) if j + step <= n else n
            high = min(high, j - 1)
            least, where = np.inf, min(low, np.int64(j))
            for i in range(low, high + 1):
                cost = before[i] + _cost(often, sums, squares, i, j)
                if cost < least:
                    least, where = cost, i
            costs[j], cuts[j] = least, where
        step //= 2


@compiled(types.void(_F8, _F8, _F8, types.int64, _I8))
def _best(often: Any, sums: Any, squares: Any, cells: int, edges: Any) -> None:
    n = often.size - 1
    cuts = np.zeros((cells, n + 1), np.int32)
    before, costs = np.empty(n + 1), np.empty(n + 1)
    for j in range(n + 1):
        before[j] = _cost(often, sums, squares, 0, j)
    for c in range(1, cells):
        costs[:] = np.inf
        _row(often, sums, squares, before, c + 1, costs, cuts[c])
        before, costs = costs, before
    edges[cells] = n
    for c in range(cells - 1, 0, -1):
        edges[c] = cuts[c, edges[c + 1]]
    edges[0] = 0


@compiled(types.int64(_F8, _F8, _F8, types.float64, _I8))
def _merge(often: Any, sums: Any, squares: Any, most: float, edges: Any) -> int:
    """Join neighbours as long as what they cost together is at most `most`: where the parts begin, and the end, as far
    as there is room in `edges`. How many parts there are, or one more than there is room for.
    """
    n, parts, begin = often.size - 1, 0, 0
    for j in range(1, n):
        if _cost(often, sums, squares, begin, j + 1) > most:
            begin, parts = j, parts + 1
            if parts >= edges.size - 1:
                return parts + 1
            edges[parts] = begin
    edges[0], edges[parts + 1] = 0, n
    return parts + 1


@dataclass(frozen=True)
class Reached:
    """What is reached before each of N ascending values and after the last, counted from the median outward, so that
    far outliers take no digits from what lies between them: Σw, Σw(x − median) and Σw(x − median)², `[N + 1]` each.
    """

    median: float
    often: Doubles
    sums: Doubles
    squares: Doubles

    @staticmethod
    def of(x: Doubles, weights: Doubles) -> "Reached":
        """Those of distinct ascending values that count `weights` times each."""
        reached: Doubles = np.cumsum(weights)
        middle = int(np.argmax(reached >= reached[-1] / 2))
        off = x - x[middle]
        often, sums, squares = (_outward(weights * power, middle) for power in (1.0, off, off * off))
        return Reached(x[middle].item(), often, sums, squares)

    def means(self, edges: AnyArray) -> Doubles:
        """The mean of each cell; none may be empty."""
        return self.median + np.diff(self.sums[edges]) / np.diff(self.often[edges])

    def best_cells(self, cells: int) -> AnyArray:
        """The cells that cost least, fewer than there are values: where each begins, and the end, `[cells + 1]`."""
        edges = np.zeros(cells + 1, np.int64)
        _best(self.often, self.sums, self.squares, cells, edges)
        return edges

    def parts(self, most: int) -> AnyArray:
        """At most so many parts, each of which costs about as much as another, `[P + 1]`."""
        edges = np.zeros(most + 1, np.int64)
        low, high = -80.0, 0.0
        total = _cost(self.often, self.sums, self.squares, 0, self.often.size - 1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            fits = _merge(self.often, self.sums, self.squares, total * 2**middle, edges) <= most
            low, high = (low, middle) if fits else (middle, high)
        parts = _merge(self.often, self.sums, self.squares, total * 2**high, edges)
        return edges[: parts + 1]


def _outward(terms: Doubles, middle: int) -> Doubles:
    """What is reached before each value and after the last, counted from the middle: `[N]` → `[N + 1]`."""
    below = -np.cumsum(terms[:middle][::-1])[::-1]
    return np.concatenate([below, [0.0], np.cumsum(terms[middle:])])
