"""The number types of weight files: their size, how numpy holds their bytes, and what values those bytes mean."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Decode = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Dtype:
    """A stored type under torch's name. `raw` is what numpy holds its bytes as, `values` what they are decoded to."""

    name: str
    raw: np.dtype[Any]
    values: np.dtype[Any]

    def decode(self, raw: NDArray[Any]) -> NDArray[Any]:
        """The values of raw elements in native byte order; every decoding is exact."""
        if self.name in _DECODE:
            return _DECODE[self.name](raw)
        return raw.astype(self.values, copy=False)

    @property
    def compact(self) -> np.dtype[Any]:
        """What its values take least room as: the bits of bfloat16, else what they are decoded to."""
        return self.raw if self.name == "bfloat16" else self.values

    def compacted(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Raw elements in that type."""
        return raw if self.name == "bfloat16" else self.decode(raw)

    @property
    def bytes_held(self) -> int:
        """What one element takes while it is decoded: the larger of its two forms."""
        return max(self.raw.itemsize, self.values.itemsize)


def bfloat16_values(raw: NDArray[Any]) -> NDArray[np.float32]:
    """A bfloat16 is the upper half of a float32."""
    return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)


def bool_values(raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Any byte but zero is true."""
    return raw != 0


@cache
def float8_table(exponent_bits: int, *, ieee: bool, fnuz: bool) -> NDArray[np.float32]:
    """The 256 values of an 8-bit float, by its byte: 1 sign bit, `exponent_bits`, the rest mantissa.

    With `ieee` the highest exponent holds infinity and NaN; with `fnuz` ("finite, unsigned zero") the bias is one
    larger and 0x80 is the only NaN; with neither ("fn") only 0x7f and 0xff are NaN. Source: ONNX, "Float stored in
    8 bits".
    """
    mantissa_bits = 7 - exponent_bits
    bias = (1 << (exponent_bits - 1)) - 1 + fnuz
    code = np.arange(256)
    exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = code & ((1 << mantissa_bits) - 1)
    significand = mantissa + np.where(exponent > 0, 1 << mantissa_bits, 0)
    magnitude = np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - bias - mantissa_bits)
    if ieee:
        highest = exponent == (1 << exponent_bits) - 1
        magnitude = np.where(highest, np.where(mantissa == 0, np.inf, np.nan), magnitude)
    values = np.where(code & 0x80, -magnitude, magnitude).astype(np.float32)
    if fnuz:
        values[0x80] = np.nan
    elif not ieee:
        values[[0x7F, 0xFF]] = np.nan
    values.flags.writeable = False
    return values


@cache
def power_table() -> NDArray[np.float32]:
    """The values of the unsigned exponent type E8M0: 2^(code − 127), and NaN for 255."""
    values = np.append(np.ldexp(np.float32(1), np.arange(255) - 127), np.float32(np.nan))
    values.flags.writeable = False
    return values


_DECODE: dict[str, _Decode] = {
    "bool": bool_values,
    "bfloat16": bfloat16_values,
    "float8_e4m3fn": lambda raw: float8_table(4, ieee=False, fnuz=False)[raw],
    "float8_e5m2": lambda raw: float8_table(5, ieee=True, fnuz=False)[raw],
    "float8_e4m3fnuz": lambda raw: float8_table(4, ieee=False, fnuz=True)[raw],
    "float8_e5m2fnuz": lambda raw: float8_table(5, ieee=False, fnuz=True)[raw],
    "float8_e8m0fnu": lambda raw: power_table()[raw],
}


def _dtype(name: str, raw: str, values: str) -> Dtype:
    return Dtype(name, np.dtype(raw), np.dtype(values))


DTYPES: dict[str, Dtype] = {
    d.name: d
    for d in (
        *(_dtype(f"{sign}int{8 * n}", f"{sign[:1] or 'i'}{n}", f"{sign[:1] or 'i'}{n}")
          for sign in ("", "u") for n in (1, 2, 4, 8)),
        _dtype("float16", "f2", "f2"),
        _dtype("float32", "f4", "f4"),
        _dtype("float64", "f8", "f8"),
        _dtype("complex64", "c8", "c8"),
        _dtype("complex128", "c16", "c16"),
        _dtype("bool", "u1", "?"),
        _dtype("bfloat16", "u2", "f4"),
        *(_dtype(f"float8_{kind}", "u1", "f4") for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu")),
    )
}  # fmt: skip
"""Every type whose numbers can be read, by torch's name."""
