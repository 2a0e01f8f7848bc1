"""Integers: int1 … int8 and int16, uint1 … uint8 and uint16, with a scale and a zero point; and ternary weights."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.level_rules import NO_LEVEL, LevelEnds, LevelRule, WholeNumbers
from qexplorer.quant.observers.absmean import AbsMean
from qexplorer.quant.params import Choices, QuantParams, choose_params, quotient

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 16)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Integer(Format):
    """Two's complement or unsigned integers: `x̂ = (q − z)·s`, `q = clamp(round(x/s) + z, qmin, qmax)`.

    The rounding comes before the zero point is added, as in ONNX and torch's `fake_quantize` operators. With a float
    zero point `x̂ = (q − qmin)·s + m`, where m is the value of the lowest code.
    """

    bits: int
    signed: bool = True
    uniform: ClassVar[bool] = True
    order: int = 0
    kind: ClassVar[str] = "is an integer"
    applies: ClassVar[Fields] = frozenset(
        ("scheme", "convention", "granularity", "scale_dtype", "observer", "rounding", "division")
    )
    help: ClassVar[str] = "Evenly spaced levels, a scale and, where affine, a zero point."
    rule: ClassVar[LevelRule] = WholeNumbers()  # pyright: ignore[reportIncompatibleMethodOverride]

    def level_ends(self, params: QuantParams) -> LevelEnds:
        """Levels count from the zero point; with a float one, that of NaN is the level nearest to the value 0."""
        low, high = ((code - params.zero_point).astype(np.float32) for code in (params.qmin, params.qmax))
        if params.offset is None:
            return LevelEnds(low, high, NO_LEVEL)
        zero = np.rint(-params.offset.astype(np.float64) / params.scale.astype(np.float64))
        return LevelEnds(low, high, np.clip(zero, low, high).astype(np.float32))

    def refusal(self, name: str, value: Any) -> str:
        if name == "convention" and self.bits == 1 and value not in ("full_span", "signed_extreme"):
            return "One bit has the levels −S and 0 only: no level above zero can carry the scale."
        return ""

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return choose_params(lo, hi, self.bits, self.signed, choices)

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        ends = [(q - params.zero_point) * params.scale.astype(np.float64) for q in (params.qmin, params.qmax)]
        offset = 0.0 if params.offset is None else params.offset.astype(np.float64)
        return np.minimum(*ends) + offset, np.maximum(*ends) + offset

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        q = self._unclamped(rows, params)
        q = np.where(np.isnan(q), self._code_of_zero(params)[:, None], q)
        return np.clip(q, params.qmin, params.qmax).astype(np.int32)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        with np.errstate(over="ignore"):
            values = (codes - params.zero_point[:, None]).astype(np.float32) * params.scale[:, None]
            return values if params.offset is None else values + params.offset[:, None]

    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        q = self._unclamped(rows, params)
        return (q < params.qmin) | (q > params.qmax)

    def half_step(self, params: QuantParams, largest: float) -> float:
        step = float(np.max(np.abs(params.scale), initial=0.0))
        return step / 2 if params.rounding.to_nearest else step

    @staticmethod
    def _unclamped(rows: Floats, params: QuantParams) -> Doubles:
        with np.errstate(over="ignore"):  # what overflows lies beyond the codes, and is clamped like all that does
            whole: Doubles = params.rounding.round(quotient(rows, params), params.first).astype(np.float64)
            return whole + params.zero_point[:, None]

    @staticmethod
    def _code_of_zero(params: QuantParams) -> Doubles:
        zero_point = params.zero_point.astype(np.float64)
        if params.offset is None:
            return zero_point
        return np.rint(-params.offset.astype(np.float64) / params.scale.astype(np.float64)) + zero_point


class Ternary(Integer):
    """−S, 0 and S. With `absmean`, S is the mean magnitude: the weights of BitNet b1.58 (arXiv 2402.17764)."""

    kind: ClassVar[str] = "has the levels −S, 0 and S"
    applies: ClassVar[Fields] = frozenset(("granularity", "scale_dtype", "observer", "rounding", "division"))
    help: ClassVar[str] = "Three levels. With the mean magnitude as scale: the weights of BitNet b1.58."


def integer(bits: int, *, signed: bool) -> Integer:
    """The format of so many bits."""
    least = -(2 ** (bits - 1)) if signed else 0
    return Integer(
        name=f"{'int' if signed else 'uint'}{bits}",
        family="INT — signed integer" if signed else "UINT — unsigned integer",
        label=str(bits),
        storage_bits=bits,
        extent=(least, least + 2**bits - 1, 2**bits),
        defaults={"convention": "signed_extreme"} if bits == 1 else {},
        bits=bits,
        signed=signed,
    )


TERNARY = Ternary(name="ternary", family="Ternary and binary", label="Ternary", storage_bits=2, extent=(-1, 1, 3),
                  defaults={"observer": AbsMean()}, order=30, bits=2)  # fmt: skip

formats.register(*(integer(bits, signed=signed) for signed in (True, False) for bits in WIDTHS))
