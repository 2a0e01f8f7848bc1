"""Floating point without a scale: FP16 and BF16, as IEEE 754 casts (half to even, overflow to infinity)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qexplorer.quant.arrays import Codes, Doubles, Floats
from qexplorer.quant.formats import Format, register
from qexplorer.quant.params import QuantParams


@dataclass(frozen=True)
class Float(Format):
    """A sign, `exponent_bits` and `mantissa_bits`, with subnormals, infinities and NaN as IEEE 754 has them."""

    title: str
    exponent_bits: int
    mantissa_bits: int
    scaled: ClassVar[bool] = False
    help: ClassVar[str] = "A plain cast: no scale, steps that grow with the value."

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
    def storage_bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """The exponent bias, 2^(e−1) − 1."""
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def largest(self) -> float:
        """The largest finite value."""
        return float((2 - 2.0**-self.mantissa_bits) * 2.0**self.bias)

    @property
    def extent(self) -> tuple[float, float, int]:
        finite = 2 * (2**self.exponent_bits - 1) * 2**self.mantissa_bits - 1  # the two zeros are one level
        return -self.largest, self.largest, finite

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        """The bit pattern of the nearest value, ties to even.

        In steps of the value's own binade a code is a whole number, so rounding that number and adding it to the
        binade's first code also carries into the next binade, and from the last one into infinity.
        """
        x = np.where(np.isnan(rows), 0, rows).astype(np.float64)
        magnitude = np.minimum(np.abs(x), 2.0 ** (self.bias + 1))
        _, exponent = np.frexp(magnitude)
        lowest = 1 - self.bias  # that of zero and the subnormals
        binade = np.where(magnitude > 0, np.maximum(exponent.astype(np.int64) - 1, lowest), lowest)
        steps = np.rint(np.ldexp(magnitude, (self.mantissa_bits - binade).astype(np.int32))).astype(np.int64)
        first = (binade + self.bias - 1) << self.mantissa_bits
        infinity = (2**self.exponent_bits - 1) << self.mantissa_bits
        code = np.minimum(first + steps, infinity)
        return (code | (np.signbit(x).astype(np.int64) << (self.storage_bits - 1))).astype(np.int32)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        mantissa = codes & (2**self.mantissa_bits - 1)
        field = (codes >> self.mantissa_bits) & (2**self.exponent_bits - 1)
        normal = field > 0
        fraction = mantissa + np.where(normal, 2**self.mantissa_bits, 0)
        power = np.where(normal, field, 1) - self.bias - self.mantissa_bits
        value = np.ldexp(fraction.astype(np.float64), power.astype(np.int32))
        value = np.where(field == 2**self.exponent_bits - 1, np.where(mantissa == 0, np.inf, np.nan), value)
        return np.where(codes >> (self.storage_bits - 1) & 1, -value, value).astype(np.float32)

    def outside(self, rows: Floats, params: QuantParams) -> Doubles:
        reach = self.largest + 2.0 ** (self.bias - self.mantissa_bits - 1)
        return (np.abs(rows.astype(np.float64)) >= reach).sum(axis=1).astype(np.float64)

    def half_step(self, params: QuantParams, largest: float) -> float:
        _, exponent = np.frexp(min(largest, self.largest))
        return float(2.0 ** (max(int(exponent) - 1, 1 - self.bias) - self.mantissa_bits - 1))


register(Float("fp16", exponent_bits=5, mantissa_bits=10), Float("bf16", exponent_bits=8, mantissa_bits=7))
