"""Codebooks: a table of levels and a scale. The nearest level wins, the lower one at a tie.

NF4 and FP4 as in bitsandbytes (Dettmers et al. 2023), AF4 as in Yoshida 2023 (arXiv 2306.06965); binary weights as in
XNOR-Net (Rastegari et al. 2016).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.formats.integer import TERNARY
from qexplorer.quant.level_rules import LevelEnds, LevelRule, LevelTable, middles
from qexplorer.quant.observers.absmean import AbsMean
from qexplorer.quant.params import Choices, QuantParams, largest_to, quotient

NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
FP4_MAGNITUDES = (0.0, 0.0625 / 12, 8 / 12, 1.0, 4 / 12, 6 / 12, 2 / 12, 3 / 12)
AF4 = (
    -1.0, -0.69441008, -0.51243739, -0.3736951, -0.25607552, -0.14982478, -0.04934812, 0.0,
    0.04273164, 0.12934483, 0.21961274, 0.31675666, 0.42563882, 0.55496234, 0.72424863, 1.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Codebook(Format):
    """`levels[code]` is what a code stands for before the scale: `x̂ = levels[code]·s`, `s` = absmax of the group."""

    levels: tuple[float, ...]
    order: int = 30
    applies: ClassVar[Fields] = frozenset(("granularity", "scale_dtype", "observer", "division"))
    kind: ClassVar[str] = "is a table of levels around zero, and the nearest one wins"
    help: ClassVar[str] = "Levels where normal weights are dense. Meant for groups of 64 neighbours."
    rule: ClassVar[LevelRule] = LevelTable()  # pyright: ignore[reportIncompatibleMethodOverride]

    def level_ends(self, params: QuantParams) -> LevelEnds:
        ascending = np.unique(self._table)[None] + np.float32(0)  # one zero, which has no sign
        least, most, _ = self.extent
        cuts = middles(ascending)
        return LevelEnds.of_table(ascending, 2 * least - cuts[:, 0], 2 * most - cuts[:, -1])

    @cached_property
    def _table(self) -> Floats:
        return np.array(self.levels, np.float32)

    @cached_property
    def _ascending(self) -> Codes:
        """Codes in the order of their levels, each level once."""
        return np.unique(self._table, return_index=True)[1].astype(np.int32)

    @cached_property
    def _middles(self) -> Doubles:
        levels = self._table[self._ascending].astype(np.float64)
        return (levels[1:] + levels[:-1]) / 2

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return largest_to(1.0, 0, lo, hi, len(self.levels), choices)

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        ends = [float(end) * params.scale.astype(np.float64) for end in (self._table.min(), self._table.max())]
        return np.minimum(*ends), np.maximum(*ends)

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        with np.errstate(over="ignore"):
            x = quotient(rows, params)
        return self._ascending[np.searchsorted(self._middles, np.where(np.isnan(x), 0, x))]

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        return self._table[codes] * params.scale[:, None]

    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        with np.errstate(over="ignore"):
            x = quotient(rows, params)
        least, most, _ = self.extent  # half a cell beyond the outermost levels is still rounding
        return (x > 2 * most - self._middles[-1]) | (x < 2 * least - self._middles[0])

    def half_step(self, params: QuantParams, largest: float) -> float:
        widest = float(np.diff(self._table[self._ascending]).max())
        return widest / 2 * float(np.abs(params.scale).max(initial=0.0))


class Binary(Codebook):
    """−S or S: the sign, and a scale; zero counts as negative. The mean magnitude is the S with the least error."""

    kind: ClassVar[str] = "has the levels −S and S"
    help: ClassVar[str] = "Two levels: the sign. With the mean magnitude as scale: the weights of XNOR-Net."


def _table(name: str, label: str, levels: tuple[float, ...]) -> Codebook:
    bits, extent = (len(levels) - 1).bit_length(), (min(levels), max(levels), len(set(levels)))
    return Codebook(
        name=name, family="Codebook — a table", label=label, storage_bits=bits, extent=extent, levels=levels
    )


formats.register(
    _table("nf4", "NF4", NF4),
    _table("fp4_bnb", "FP4 bnb", (*FP4_MAGNITUDES, *(-level for level in FP4_MAGNITUDES))),
    _table("af4", "AF4", AF4),
    TERNARY,
    Binary(name="binary", family="Ternary and binary", label="Binary", storage_bits=1, extent=(-1.0, 1.0, 2),
           defaults={"observer": AbsMean()}, levels=(-1.0, 1.0)),
)  # fmt: skip
