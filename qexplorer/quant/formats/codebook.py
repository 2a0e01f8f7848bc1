"""Codebooks: a table of levels and a scale. The nearest level wins, the lower one at a tie.

NF4 and FP4 as in bitsandbytes (Dettmers et al. 2023), AF4 as in Yoshida 2023 (arXiv 2306.06965); binary weights as in
XNOR-Net (Rastegari et al. 2016).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.formats.integer import Ternary
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


@dataclass(frozen=True)
class Codebook(Format):
    """`levels[code]` is what a code stands for before the scale: `x̂ = levels[code]·s`, `s` = absmax of the group."""

    title_text: str
    label_text: str
    levels: tuple[float, ...]
    order: ClassVar[int] = 30
    applies: ClassVar[Fields] = frozenset(("granularity", "scale_dtype", "observer", "division"))
    kind: ClassVar[str] = "is a table of levels around zero, and the nearest one wins"
    help: ClassVar[str] = "Levels where normal weights are dense. Meant for groups of 64 neighbours."

    @property
    def name(self) -> str:
        return self.title_text

    @property
    def family(self) -> str:
        return "Codebook — a table"

    @property
    def label(self) -> str:
        return self.label_text

    @property
    def storage_bits(self) -> int:
        return (len(self.levels) - 1).bit_length()

    @property
    def extent(self) -> tuple[float, float, int]:
        return min(self.levels), max(self.levels), len(set(self.levels))

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
        scale = params.scale.astype(np.float64)
        return float(self._table.min()) * scale, float(self._table.max()) * scale

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
        return widest / 2 * float(params.scale.max(initial=0.0))


@dataclass(frozen=True)
class Binary(Codebook):
    """−S or S: the sign, and a scale; zero counts as negative. The mean magnitude is the S with the least error."""

    kind: ClassVar[str] = "has the levels −S and S"
    help: ClassVar[str] = "Two levels: the sign. With the mean magnitude as scale: the weights of XNOR-Net."

    @property
    def family(self) -> str:
        return "Ternary and binary"

    @property
    def defaults(self) -> Mapping[str, Any]:
        from qexplorer.quant.observers.absmean import AbsMean

        return {"observer": AbsMean()}


formats.register(
    Codebook("nf4", "NF4", NF4),
    Codebook("fp4_bnb", "FP4 bnb", (*FP4_MAGNITUDES, *(-level for level in FP4_MAGNITUDES))),
    Codebook("af4", "AF4", AF4),
    Ternary(),
    Binary("binary", "Binary", (-1.0, 1.0)),
)
