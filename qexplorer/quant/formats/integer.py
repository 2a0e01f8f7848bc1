"""Integers: int2 … int8 and int16, uint2 … uint8, with a scale and, where affine, a zero point."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qexplorer.quant.arrays import Codes, Doubles, Floats
from qexplorer.quant.formats import Format, register
from qexplorer.quant.params import Choices, QuantParams, choose_params, quotient, round_to_integer


@dataclass(frozen=True)
class Integer(Format):
    """Two's complement or unsigned integers: `x̂ = (q − z)·s`, `q = clamp(round(x/s) + z, qmin, qmax)`.

    The rounding comes before the zero point is added, as in ONNX and torch's `fake_quantize` operators.
    """

    bits: int
    signed: bool
    uniform: ClassVar[bool] = True
    kind: ClassVar[str] = "is an integer"
    applies: ClassVar[frozenset[str]] = frozenset(
        ("scheme", "convention", "granularity", "observer", "rounding", "division")
    )
    help: ClassVar[str] = "Evenly spaced levels, a scale and, where affine, a zero point."

    @property
    def name(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"

    @property
    def family(self) -> str:
        return "INT — signed integer" if self.signed else "UINT — unsigned integer"

    @property
    def label(self) -> str:
        return str(self.bits)

    @property
    def storage_bits(self) -> int:
        return self.bits

    @property
    def extent(self) -> tuple[float, float, int]:
        least = -(2 ** (self.bits - 1)) if self.signed else 0
        return least, least + 2**self.bits - 1, 2**self.bits

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return choose_params(lo, hi, self.bits, self.signed, choices)

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        ends = [(q - params.zero_point) * params.scale.astype(np.float64) for q in (params.qmin, params.qmax)]
        return np.minimum(*ends), np.maximum(*ends)

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        with np.errstate(over="ignore"):  # what overflows lies beyond the codes, and is clamped like all that does
            q = round_to_integer(quotient(rows, params), params.rounding) + params.zero_point[:, None]
        q = np.where(np.isnan(q), params.zero_point[:, None], q)
        return np.clip(q, params.qmin, params.qmax).astype(np.int32)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        with np.errstate(over="ignore"):
            return (codes - params.zero_point[:, None]).astype(np.float32) * params.scale[:, None]

    def outside(self, rows: Floats, params: QuantParams) -> Doubles:
        with np.errstate(over="ignore"):
            q = round_to_integer(quotient(rows, params), params.rounding) + params.zero_point[:, None]
        return ((q < params.qmin) | (q > params.qmax)).sum(axis=1).astype(np.float64)

    def half_step(self, params: QuantParams, largest: float) -> float:
        step = float(np.max(np.abs(params.scale), initial=0.0))
        return step if params.rounding == "toward_zero" else step / 2


register(*(Integer(bits, signed=True) for bits in (2, 3, 4, 5, 6, 7, 8, 16)))
register(*(Integer(bits, signed=False) for bits in (2, 3, 4, 5, 6, 7, 8)))
