"""How quotients become levels, as plain data: all that an executor beside the reference needs to know of a format.

A quotient is a value in units of its scale. There are three rules, and a format has one of them.
"""

from dataclasses import dataclass

import numpy as np

from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.minifloat import Minifloat
from qexplorer.quant.rounding import Rounding


@dataclass(frozen=True)
class WholeNumbers:
    """Levels are whole numbers between two ends. `rounding` is the format's own where it does not take the spec's.

    Where `finite`, NaN counts as 0 and an infinity as the largest float32 before the division.
    """

    rounding: Rounding | None = None
    finite: bool = False


@dataclass(frozen=True)
class LevelTable:
    """The nearest level of a table, the lower one at a tie."""


@dataclass(frozen=True)
class SmallFloats:
    """The nearest `number`; beyond the largest one that one where it `saturates`, else what IEEE 754 says."""

    number: Minifloat
    saturates: bool


LevelRule = WholeNumbers | LevelTable | SmallFloats


@dataclass(frozen=True)
class LevelEnds:
    """What follows from parameters for each group, `[G]` or `[1]` float32 unless said.

    `low` and `high` are the ends, inclusive, between which a value is not clipped: of the level where levels are whole
    numbers, else of the quotient. `zero` is the level of NaN. `table` has levels, ascending, `[G, K]` or `[1, K]`; a
    quotient above `cuts[:, k]` belongs to a level above `table[:, k]`.
    """

    low: Floats
    high: Floats
    zero: Floats
    table: Floats | None = None
    cuts: Floats | None = None

    @staticmethod
    def of_table(levels: Floats, low: Doubles, high: Doubles) -> "LevelEnds":
        """The bounds of a table of levels `[G, K]` whose quotients are not clipped from `low` to `high`, `[G]`."""
        return LevelEnds(-_rounded_down(-low), _rounded_down(high), NO_LEVEL, levels, _rounded_down(middles(levels)))


NO_LEVEL: Floats = np.zeros(1, np.float32)


def middles(levels: Floats) -> Doubles:
    """What lies half way between neighbouring levels: `[G, K]` → `[G, K − 1]`."""
    between: Doubles = (levels[:, 1:].astype(np.float64) + levels[:, :-1]) / 2
    return between


def _rounded_down(bounds: Doubles) -> Floats:
    """The greatest float32 not above each bound: a float32 lies above the one just if it lies above the other."""
    with np.errstate(over="ignore"):  # a bound that no float32 reaches becomes the greatest of them
        near = bounds.astype(np.float32)
    return np.where(near > bounds, np.nextafter(near, np.float32(-np.inf)), near)
