"""Floating point: FP16, BF16 and TF32 as plain casts; FP8, FP6 and FP4 with a scale, saturating."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.level_rules import NO_LEVEL, LevelEnds, LevelRule, SmallFloats
from qexplorer.quant.minifloat import BF16, E2M1, E2M3, E3M2, E4M3FN, E5M2, FP16, TF32, Minifloat
from qexplorer.quant.params import Choices, QuantParams, largest_to, quotient


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Float(Format):
    """A plain cast, ties to the even code."""

    number: Minifloat
    order: int = 10
    applies: ClassVar[Fields] = frozenset()
    scaled: ClassVar[bool] = False
    kind: ClassVar[str] = "is a plain cast: it has no scale"
    help: ClassVar[str] = (
        "A plain cast: no scale, steps that grow with the value; overflow becomes infinity. FP16 is coarse below "
        "6·10⁻⁵ and zero below 6·10⁻⁸."
    )

    @property
    def rule(self) -> LevelRule:
        return SmallFloats(self.number, saturates=self.scaled)

    def level_ends(self, params: QuantParams) -> LevelEnds:
        below = np.nextafter(np.array([self.number.overflow], np.float32), np.float32(0))
        return LevelEnds(-below, below, NO_LEVEL)

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return QuantParams(np.ones_like(lo), np.zeros(lo.shape, np.int32), 0, 2**self.number.bits - 1)

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        most = self.number.largest * np.abs(params.scale.astype(np.float64))
        return -most, most

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        return self.number.encode(rows, saturate=False)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        return self.number.decode(codes).astype(np.float32)

    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        return np.abs(rows.astype(np.float64)) >= self.number.overflow

    def half_step(self, params: QuantParams, largest: float) -> float:
        return self.number.half_ulp(min(largest, self.number.largest))


class ScaledFloat(Float):
    """A small float with a scale: `x̂ = decode(encode(x/s))·s`, `s` = absmax/largest. Beyond the largest it saturates.

    With the fixed range −largest … largest the scale is 1: the format without a scale.
    """

    applies: ClassVar[Fields] = frozenset(("granularity", "scale_dtype", "observer", "rounding", "division"))
    scaled: ClassVar[bool] = True
    kind: ClassVar[str] = "is a float, symmetric around zero"
    help: ClassVar[str] = "Steps that grow with the value, and a scale that puts the extreme on the largest one."

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return largest_to(self.number.largest, self.number.mantissa_bits, lo, hi, 2**self.number.bits, choices)

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        with np.errstate(over="ignore"):
            x = quotient(rows, params)
        return self.number.encode(x, saturate=True, rounding=params.rounding, first=params.first)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        with np.errstate(over="ignore"):
            return self.number.decode(codes).astype(np.float32) * params.scale[:, None]

    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        with np.errstate(over="ignore"):
            return super().outside(quotient(rows, params), params)

    def half_step(self, params: QuantParams, largest: float) -> float:
        scale = float(np.abs(params.scale).max(initial=0.0))
        if not scale:
            return 0.0
        half = self.number.half_ulp(min(largest / scale, self.number.largest)) * scale
        return half if params.rounding.to_nearest else 2 * half


def _cast(name: str, number: Minifloat, stored_in: int = 0) -> Float:
    """The format of `number`, which may be kept in a wider one of `stored_in` bits."""
    return Float(
        name=name,
        family="Float — no scale",
        label=name.upper(),
        storage_bits=stored_in or number.bits,
        code_bits=number.bits,
        extent=_extent(number),
        number=number,
    )


def scaled_float(name: str, number: Minifloat) -> ScaledFloat:
    """The format of `number` with a scale."""
    return ScaledFloat(
        name=name,
        family="Float — with a scale",
        label=name.rsplit("_", maxsplit=1)[-1].removesuffix("fn").upper(),
        storage_bits=number.bits,
        extent=_extent(number),
        number=number,
    )


def _extent(number: Minifloat) -> tuple[float, float, int]:
    return -number.largest, number.largest, 2 * number.largest_code + 1  # the two zeros are one level


formats.register(
    _cast("fp16", FP16),
    _cast("bf16", BF16),
    _cast("tf32", TF32, stored_in=32),
    scaled_float("fp8_e4m3fn", E4M3FN),
    scaled_float("fp8_e5m2", E5M2),
    scaled_float("fp6_e2m3", E2M3),
    scaled_float("fp6_e3m2", E3M2),
    scaled_float("fp4_e2m1", E2M1),
)
