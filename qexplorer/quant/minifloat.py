"""Small floating-point numbers: a sign, an exponent and a mantissa, with subnormals.

Definitions: IEEE 754, and the OCP specifications of E4M3FN, E5M2, E2M3, E3M2 and E2M1.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import AnyArray, Codes, Doubles
from qexplorer.quant.rounding import HALF_EVEN, Rounding

Specials = Literal["ieee", "nan", "none"]


@dataclass(frozen=True)
class Minifloat:
    """`specials`: with `ieee` the highest exponent stands for infinity and NaN, with `nan` only its last code is NaN,
    with `none` every code is a number.
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: Specials = "ieee"

    @property
    def bits(self) -> int:
        """The bits of a code."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @cached_property
    def largest_code(self) -> int:
        """The code of the largest finite value."""
        everything = (1 << (self.exponent_bits + self.mantissa_bits)) - 1
        return everything - {"ieee": 1 << self.mantissa_bits, "nan": 1, "none": 0}[self.specials]

    @cached_property
    def largest(self) -> float:
        """The largest finite value."""
        return float(self._magnitude(np.array([self.largest_code], np.int64))[0])

    @property
    def overflow(self) -> float:
        """The least magnitude that is rounded beyond the largest value, half to even."""
        return self.largest + self.half_ulp(self.largest)

    def half_ulp(self, x: float) -> float:
        """Half the distance between neighbours around `x`: the largest rounding error there."""
        return math.ldexp(0.5, max(math.frexp(x)[1] - 1, 1 - self.bias) - self.mantissa_bits)

    def encode(self, x: AnyArray, *, saturate: bool, rounding: Rounding = HALF_EVEN, first: int = 0) -> Codes:
        """The bit pattern of the nearest value; NaN has the code of zero. Beyond the largest value: that value where
        `saturate`, else infinity.

        In steps of the value's own binade a code is a whole number, so rounding that number and adding it to the
        binade's first code also carries into the next binade, and from the last one into infinity.
        """
        values = np.where(np.isnan(x), 0, x).astype(np.float64)
        magnitude = np.minimum(np.abs(values), 2 * self.largest)
        _, exponent = np.frexp(magnitude)
        binade = np.where(magnitude > 0, exponent.astype(np.int64) - 1, 1 - self.bias)
        binade = np.maximum(binade, 1 - self.bias)
        signed = np.copysign(np.ldexp(magnitude, (self.mantissa_bits - binade).astype(np.int32)), values)
        steps = np.abs(rounding.round(signed, first)).astype(np.int64)
        last = self.largest_code + (not saturate and self.specials == "ieee")
        code = np.minimum(((binade + self.bias - 1) << self.mantissa_bits) + steps, last)
        return (code | (np.signbit(values).astype(np.int64) << (self.bits - 1))).astype(np.int32)

    def decode(self, codes: Codes) -> Doubles:
        """The value of every code."""
        magnitude = codes.astype(np.int64) & ((1 << (self.bits - 1)) - 1)
        value = self._magnitude(magnitude)
        above = magnitude > self.largest_code
        infinite = above & (magnitude == self.largest_code + 1) & (self.specials == "ieee")
        value = np.where(above, np.where(infinite, np.inf, np.nan), value)
        return np.where(codes >> (self.bits - 1) & 1, -value, value)

    def nearest(self, x: AnyArray) -> Doubles:
        """`x` rounded half to even, saturating."""
        return self.decode(self.encode(x, saturate=True))

    def _magnitude(self, code: AnyArray) -> Doubles:
        mantissa = code & ((1 << self.mantissa_bits) - 1)
        field = code >> self.mantissa_bits
        fraction = mantissa + np.where(field > 0, 1 << self.mantissa_bits, 0)
        power = np.maximum(field, 1) - self.bias - self.mantissa_bits
        return np.ldexp(fraction.astype(np.float64), power.astype(np.int32))


FP16 = Minifloat(5, 10, bias=15)
BF16 = Minifloat(8, 7, bias=127)
TF32 = Minifloat(8, 10, bias=127)
E4M3FN = Minifloat(4, 3, bias=7, specials="nan")
E5M2 = Minifloat(5, 2, bias=15)
E2M3 = Minifloat(2, 3, bias=1, specials="none")
E3M2 = Minifloat(3, 2, bias=3, specials="none")
E2M1 = Minifloat(2, 1, bias=1, specials="none")
