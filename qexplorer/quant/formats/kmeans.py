"""Learned codebooks: the levels are the means of k-means, the best table there is for the tensor or for each row.

The optimum is exact for as many distinct values as `most_distinct` says. More of them are first joined into so many
parts, at equal cost, whose optimum is then improved by Lloyd's iteration on the values themselves.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.level_rules import LevelEnds, LevelRule, LevelTable
from qexplorer.quant.params import Choices, QuantParams

STEPS = 300
TABLE_BITS = 32
WORK, MOST = 1 << 22, 1 << 16
"""Distinct values times levels that are searched exactly, which takes about half a second; and the most values."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class KMeans(Format):
    """2^bits levels a group, each the mean of the values nearest to it, with the least Σe² of all tables."""

    bits: int
    order: int = 50
    applies: ClassVar[Fields] = frozenset(("granularity",))
    learns: ClassVar[bool] = True
    kind: ClassVar[str] = "learns its levels from the values: there is no scale"
    help: ClassVar[str] = (
        "The best table of levels there is for the values, exact for up to 65,536 distinct ones (7 bits: "
        "32,768, 8 bits: 16,384). Each group stores its own in float32."
    )
    rule: ClassVar[LevelRule] = LevelTable()  # pyright: ignore[reportIncompatibleMethodOverride]

    def level_ends(self, params: QuantParams) -> LevelEnds:
        levels = self._levels(params)
        return LevelEnds.of_table(levels, *self._ends(levels))

    def refusal(self, name: str, value: Any) -> str:
        if name == "granularity" and value.name not in ("tensor", "channel"):
            return "K-means learns one table for the tensor or for each channel; for a group a table costs too much."
        return ""

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        steps: Floats = np.linspace(0, 1, 2**self.bits).astype(np.float32)
        return self._params((lo[:, None] + (hi - lo)[:, None] * steps).astype(np.float32))

    def fit(self, rows: Floats, lo: Floats, hi: Floats, choices: Choices) -> Steps[QuantParams]:
        levels = np.zeros((len(rows), 2**self.bits), np.float32)
        for g, row in enumerate(rows):
            if g % 64 == 0:
                yield Progress("Learning levels", g, len(rows))
            levels[g] = learn(row[np.isfinite(row)], 2**self.bits)
        return self._params(levels)

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        levels = self._levels(params)
        codes = np.empty(rows.shape, np.int32)
        for g, row in enumerate(np.where(np.isnan(rows), np.float32(0), rows)):
            codes[g] = np.searchsorted(_middles(levels[g]), row)
        return codes

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        return np.take_along_axis(self._levels(params), codes.astype(np.int64), axis=1)

    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        low, high = self._ends(self._levels(params))
        return (rows > high[:, None]) | (rows < low[:, None])

    def half_step(self, params: QuantParams, largest: float) -> float:
        return float(np.diff(self._levels(params).astype(np.float64), axis=1).max(initial=0.0)) / 2

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        levels = self._levels(params).astype(np.float64)
        return levels[:, 0], levels[:, -1]

    def _params(self, levels: Floats) -> QuantParams:
        one, zero = np.ones(len(levels), np.float32), np.zeros(len(levels), np.int32)
        return QuantParams(one, zero, 0, 2**self.bits - 1, levels=levels)

    @staticmethod
    def _ends(levels: Floats) -> tuple[Doubles, Doubles]:
        """As far beyond the outermost levels as levels are apart: `[G]`, `[G]`."""
        wide = levels.astype(np.float64)
        reach = (wide[:, -1] - wide[:, 0]) / max(levels.shape[1] - 1, 1)
        return wide[:, 0] - reach, wide[:, -1] + reach

    @staticmethod
    def _levels(params: QuantParams) -> Floats:
        assert params.levels is not None  # noqa: S101  `choose` and `fit` always set them
        return params.levels


def _middles(levels: Floats) -> Doubles:
    return (levels[1:].astype(np.float64) + levels[:-1]) / 2


def most_distinct(count: int) -> int:
    """Of how many distinct values the best `count` levels are found exactly."""
    return min(MOST, WORK // count)


def learn(values: Floats, count: int) -> Floats:
    """The best `count` ascending levels for finite values; fewer distinct values repeat the last."""
    distinct, often = np.unique(values, return_counts=True)
    if len(distinct) <= count:
        filled = np.resize(distinct, count) if len(distinct) else np.zeros(count, np.float32)
        filled[len(distinct) :] = distinct[-1] if len(distinct) else 0
        return filled
    from qexplorer.quant.cells import Reached  # loads numba

    x, weights = distinct.astype(np.float64), often.astype(np.float64)
    reached = Reached.of(x, weights)
    if len(x) <= most_distinct(count):
        return reached.means(reached.best_cells(count)).astype(np.float32)
    parts = reached.parts(most_distinct(count))
    together = np.add.reduceat(weights, parts[:-1])
    edges = parts[Reached.of(reached.means(parts), together).best_cells(count)]
    for _ in range(STEPS):
        levels = reached.means(edges)
        moved = np.concatenate([[0], np.searchsorted(x, (levels[1:] + levels[:-1]) / 2), [len(x)]])
        if np.array_equal(moved, edges) or not np.diff(moved).all():
            break
        edges = moved
    return reached.means(edges).astype(np.float32)


def _kmeans(bits: int) -> KMeans:
    return KMeans(
        name="kmeans" if bits == 4 else f"kmeans{bits}",
        family="Codebook — k-means",
        label=str(bits),
        title=f"K-means {bits}-bit",
        storage_bits=bits,
        group_bits=TABLE_BITS * 2**bits,
        extent=(-math.inf, math.inf, 2**bits),
        bits=bits,
    )


formats.register(*(_kmeans(bits) for bits in (2, 3, 4, 5, 6, 7, 8)))
