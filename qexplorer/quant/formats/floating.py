"""Floating point: FP16, BF16 and TF32 as plain casts; FP8, FP6 and FP4 with a scale, saturating.

Definitions: IEEE 754 and the OCP formats E4M3FN, E5M2, E2M3, E3M2 and E2M1. Ties go to the even code.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from qexplorer.quant.arrays import Codes, Doubles, Floats
from qexplorer.quant.formats import Format, register
from qexplorer.quant.params import Choices, QuantParams, largest_to, quotient

Specials = Literal["ieee", "nan", "none"]


@dataclass(frozen=True)
class Float(Format):
    """A sign, `exponent_bits` and `mantissa_bits`, with subnormals.

    `specials`: with `ieee` the highest exponent stands for infinity and NaN, with `nan` only its last code is NaN,
    with `none` every code is a number.
    """

    title: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: Specials = "ieee"
    stored_in: int = 0
    """The bits that it takes when it is kept in a wider format; 0 for its own."""

    applies: ClassVar[frozenset[str]] = frozenset()
    kind: ClassVar[str] = "is a plain cast: it has no scale"
    help: ClassVar[str] = "A plain cast: no scale, steps that grow with the value; overflow becomes infinity."

    @property
    def name(self) -> str:
        return self.title

    @property
    def family(self) -> str:
        return "Float — no scale"

    @property
    def label(self) -> str:
        return self.title.upper()

    @property
    def code_bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def storage_bits(self) -> int:
        return self.stored_in or self.code_bits

    @property
    def largest_code(self) -> int:
        """The code of the largest finite value."""
        everything = (1 << (self.exponent_bits + self.mantissa_bits)) - 1
        return everything - {"ieee": 1 << self.mantissa_bits, "nan": 1, "none": 0}[self.specials]

    @property
    def largest(self) -> float:
        """The largest finite value."""
        return float(self._magnitude(np.array([self.largest_code], np.int64))[0])

    @property
    def extent(self) -> tuple[float, float, int]:
        return -self.largest, self.largest, 2 * self.largest_code + 1  # the two zeros are one level

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return QuantParams(np.ones_like(lo), np.zeros(lo.shape, np.int32), 0, 2**self.code_bits - 1)

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        most = self.largest * params.scale.astype(np.float64)
        return -most, most

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        return self._encode(rows, self.largest_code + (self.specials == "ieee"))

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        return self._decode(codes).astype(np.float32)

    def outside(self, rows: Floats, params: QuantParams) -> Doubles:
        return (np.abs(rows.astype(np.float64)) >= self._overflow).sum(axis=1).astype(np.float64)

    def half_step(self, params: QuantParams, largest: float) -> float:
        return self._half_ulp(min(largest, self.largest))

    @property
    def _overflow(self) -> float:
        """The least magnitude that is rounded beyond the largest value."""
        return self.largest + self._half_ulp(self.largest)

    def _half_ulp(self, x: float) -> float:
        return math.ldexp(0.5, max(math.frexp(x)[1] - 1, 1 - self.bias) - self.mantissa_bits)

    def _encode(self, x: Floats, last: int) -> Codes:
        """The bit pattern of the nearest value, no magnitude above the code `last`.

        In steps of the value's own binade a code is a whole number, so rounding that number and adding it to the
        binade's first code also carries into the next binade, and from the last one into infinity.
        """
        values = np.where(np.isnan(x), 0, x).astype(np.float64)
        magnitude = np.minimum(np.abs(values), 2 * self.largest)
        _, exponent = np.frexp(magnitude)
        binade = np.where(magnitude > 0, exponent.astype(np.int64) - 1, 1 - self.bias)
        binade = np.maximum(binade, 1 - self.bias)
        steps = np.rint(np.ldexp(magnitude, (self.mantissa_bits - binade).astype(np.int32))).astype(np.int64)
        code = np.minimum(((binade + self.bias - 1) << self.mantissa_bits) + steps, last)
        return (code | (np.signbit(values).astype(np.int64) << (self.code_bits - 1))).astype(np.int32)

    def _decode(self, codes: Codes) -> Doubles:
        magnitude = codes.astype(np.int64) & ((1 << (self.code_bits - 1)) - 1)
        value = self._magnitude(magnitude)
        above = magnitude > self.largest_code
        infinite = above & (magnitude == self.largest_code + 1) & (self.specials == "ieee")
        value = np.where(above, np.where(infinite, np.inf, np.nan), value)
        return np.where(codes >> (self.code_bits - 1) & 1, -value, value)

    def _magnitude(self, code: np.ndarray) -> Doubles:
        mantissa = code & ((1 << self.mantissa_bits) - 1)
        field = code >> self.mantissa_bits
        fraction = mantissa + np.where(field > 0, 1 << self.mantissa_bits, 0)
        power = np.maximum(field, 1) - self.bias - self.mantissa_bits
        return np.ldexp(fraction.astype(np.float64), power.astype(np.int32))


@dataclass(frozen=True)
class ScaledFloat(Float):
    """A small float with a scale: `x̂ = decode(encode(x/s))·s`, `s` = absmax/largest. Beyond the largest it saturates.

    With the fixed range −largest … largest the scale is 1: the format without a scale.
    """

    applies: ClassVar[frozenset[str]] = frozenset(("granularity", "observer", "division"))
    kind: ClassVar[str] = "is a float, symmetric around zero, rounded half to even"
    help: ClassVar[str] = "Steps that grow with the value, and a scale that puts the extreme on the largest one."

    @property
    def family(self) -> str:
        return "Float — with a scale"

    @property
    def label(self) -> str:
        return self.title.split("_")[-1].upper()

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return largest_to(self.largest, lo, hi, 2**self.code_bits, choices.division)

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        with np.errstate(over="ignore"):
            return self._encode(quotient(rows, params), self.largest_code)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        return self._decode(codes).astype(np.float32) * params.scale[:, None]

    def outside(self, rows: Floats, params: QuantParams) -> Doubles:
        with np.errstate(over="ignore"):
            return super().outside(quotient(rows, params), params)

    def half_step(self, params: QuantParams, largest: float) -> float:
        scale = float(params.scale.max(initial=0.0))
        return self._half_ulp(min(largest / scale, self.largest)) * scale if scale else 0.0


register(
    Float("fp16", 5, 10, bias=15),
    Float("bf16", 8, 7, bias=127),
    Float("tf32", 8, 10, bias=127, stored_in=32),
    ScaledFloat("fp8_e4m3fn", 4, 3, bias=7, specials="nan"),
    ScaledFloat("fp8_e5m2", 5, 2, bias=15),
    ScaledFloat("fp6_e2m3", 2, 3, bias=1, specials="none"),
    ScaledFloat("fp6_e3m2", 3, 2, bias=3, specials="none"),
    ScaledFloat("fp4_e2m1", 2, 1, bias=1, specials="none"),
)
