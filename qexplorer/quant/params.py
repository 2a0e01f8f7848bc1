"""Scale and zero point, and how they follow from a range.

Formulas: PyTorch's observers for affine and `full_span`; the other symmetric conventions as TFLite (`restricted`),
AIMET (`full_range`), torchao (`no_clipping`) and ggml (`signed_extreme`) define them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import AnyArray, Codes, Counts, Floats
from qexplorer.quant.rounding import HALF_EVEN, Rounding
from qexplorer.quant.scale_dtypes import FLOAT32, ScaleDtype, ScaleRequest, exact_scale
from qexplorer.settings import Choice

Scheme = Literal["symmetric", "affine", "affine_float"]
Convention = Literal["restricted", "full_span", "full_range", "no_clipping", "signed_extreme"]
Division = Literal["reciprocal", "true"]
SCHEMES = (
    Choice("symmetric", "Symmetric", "The range is centred on 0, and so is the grid: x̂ = q·S."),
    Choice("affine", "Affine", "A zero point shifts the grid over the range: x̂ = (q − Z)·S."),
    Choice("affine_float", "Float zero", "The zero point is a float: x̂ = q·S + M. Zero need not be a level. HQQ."),
)
CONVENTIONS = (
    Choice("restricted", "Restricted", "S = A/qmax with codes −qmax … qmax. TFLite weights, ONNX Runtime."),
    Choice("full_span", "Full span", "S = 2A/(qmax − qmin): torch's default. Clips the positive extreme by S/2."),
    Choice("full_range", "Full range", "S = A/qmax with all codes; the lowest is seldom used. AIMET, non-strict."),
    Choice("no_clipping", "No clipping", "S = max(N/qmin, P/qmax): the smallest scale that clips nothing. torchao."),
    Choice("signed_extreme", "Signed extreme", "The extreme has the lowest code; S may be negative. GGUF."),
)
DIVISIONS = (
    Choice("reciprocal", "x · (1/S)", "Times the float32 reciprocal of the scale, as torch and torchao do."),
    Choice("true", "x / S", "A true division, as ONNX and ONNX Runtime do. Differs only at or beside ties."),
)

__all__ = ["CONVENTIONS", "DIVISIONS", "SCHEMES", "Choices", "Convention", "Division", "QuantParams", "Scheme",
           "choose_params", "largest_to", "quotient"]  # fmt: skip


@dataclass(frozen=True)
class QuantParams:
    """What quantizing needs to know: one scale and zero point a group, the code range, and how to round.

    `scale` is `[G]` float32 and may be negative (`signed_extreme`), `zero_point` is `[G]` int32. `divisor` (`[G]`) is
    what values are divided by where that is not the stored scale; `offset` (`[G]`) is the value of the lowest code
    where the zero point is a float, and `subtrahend` (`[G]`) what values are lessened by where that is not the stored
    offset; `levels` (`[G, K]`) is a table of each group's own. `first` is the place of the first value in the whole
    tensor, by which the stochastic rounding decides.
    """

    scale: Floats
    zero_point: Codes
    qmin: int
    qmax: int
    rounding: Rounding = HALF_EVEN
    division: Division = "reciprocal"
    divisor: Floats | None = None
    offset: Floats | None = None
    subtrahend: Floats | None = None
    levels: Floats | None = None
    first: int = 0

    def take(self, start: int, stop: int, first: int = 0) -> "QuantParams":
        """The parameters of the groups `start`..`stop`, whose first value has the place `first`."""
        return replace(self.pick(slice(start, stop)), first=first)

    def pick(self, groups: slice | Counts) -> "QuantParams":
        """The parameters of some groups, in their order; one may come several times."""
        return replace(
            self,
            scale=self.scale[groups],
            zero_point=self.zero_point[groups],
            divisor=None if self.divisor is None else self.divisor[groups],
            offset=None if self.offset is None else self.offset[groups],
            subtrahend=None if self.subtrahend is None else self.subtrahend[groups],
            levels=None if self.levels is None else self.levels[groups],
        )

    def join(self, others: "Sequence[QuantParams]") -> "QuantParams":
        """The parameters of these groups and of others after them."""
        if not others:
            return self

        def all_of(name: str) -> AnyArray | None:
            return None if getattr(self, name) is None else np.concatenate([getattr(p, name) for p in (self, *others)])

        arrays = ("scale", "zero_point", "divisor", "offset", "subtrahend", "levels")
        return replace(self, **{name: all_of(name) for name in arrays})

    def repeat(self, parts: int) -> "QuantParams":
        """The parameters of groups that are cut into so many parts each."""
        return replace(
            self,
            scale=np.repeat(self.scale, parts),
            zero_point=np.repeat(self.zero_point, parts),
            divisor=None if self.divisor is None else np.repeat(self.divisor, parts),
            offset=None if self.offset is None else np.repeat(self.offset, parts),
            subtrahend=None if self.subtrahend is None else np.repeat(self.subtrahend, parts),
            levels=None if self.levels is None else np.repeat(self.levels, parts, axis=0),
        )


@dataclass(frozen=True)
class Choices:
    """The fields of a spec that decide how a scale follows from a range; `tensor_reach` is the largest magnitude of
    the whole tensor where the ranges are those of a part.
    """

    scheme: Scheme = "symmetric"
    convention: Convention = "restricted"
    rounding: Rounding = HALF_EVEN
    division: Division = "reciprocal"
    scale_dtype: ScaleDtype = FLOAT32
    tensor_reach: float | None = None

    def scales(self, reach: Floats, level: float | Floats, mantissa_bits: int) -> tuple[Floats, Floats | None]:
        """The stored scale that puts `reach` (`[G]`) on `level`, and the divisor where it is another."""
        request = ScaleRequest(reach, level, mantissa_bits, self.tensor_reach)
        return self.scale_dtype.scale_for(request), exact_scale(request) if self.scale_dtype.late else None


def largest_to(level: float, mantissa_bits: int, lo: Floats, hi: Floats, codes: int, choices: Choices) -> QuantParams:
    """The scale that puts the largest magnitude of each range `lo`..`hi` on `level`, for `codes` codes."""
    scale, divisor = choices.scales(np.maximum(-lo, hi), level, mantissa_bits)
    zero = np.zeros(lo.shape, np.int32)
    return QuantParams(scale, zero, 0, codes - 1, choices.rounding, choices.division, divisor)


def choose_params(lo: Floats, hi: Floats, bits: int, signed: bool, choices: Choices) -> QuantParams:
    """Scale and zero point of integer quantization for the ranges `lo`..`hi`: `[G]` float32 each.

    Zero is always made part of the range, so that it is represented exactly; only with a float zero point it is not.
    """
    qmin, qmax = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if choices.scheme != "symmetric" and not signed:
        qmin, qmax = 0, 2**bits - 1
    if choices.scheme == "affine_float":
        return _from_lowest(lo, hi, qmin, qmax, choices)
    lo = np.minimum(lo, np.float32(0))
    hi = np.maximum(hi, np.float32(0))
    mantissa_bits = max(bits - 2, 0)
    if choices.scheme == "affine":
        scale, divisor = choices.scales(_half(lo, hi), (qmax - qmin) / 2, mantissa_bits)
        zero_point = np.clip(qmin - np.rint(lo / scale), qmin, qmax).astype(np.int32)
        return QuantParams(scale, zero_point, qmin, qmax, choices.rounding, choices.division, divisor)
    reach, level = _symmetric_reach(lo, hi, qmin, qmax, choices.convention)
    scale, divisor = choices.scales(reach, level, mantissa_bits)
    if choices.convention == "signed_extreme":
        scale = np.where((-lo < hi) & (hi > 0), -scale, scale)
    if choices.convention == "restricted":
        qmin = -qmax
    shift = 0 if signed else 2 ** (bits - 1)
    zero_point = np.full(scale.shape, shift, np.int32)
    return QuantParams(scale, zero_point, qmin + shift, qmax + shift, choices.rounding, choices.division, divisor)


def _half(lo: Floats, hi: Floats) -> Floats:
    half: Floats = (hi * np.float32(0.5) - lo * np.float32(0.5)).astype(np.float32)
    return half  # exact, and the widest range does not overflow


def _from_lowest(lo: Floats, hi: Floats, qmin: int, qmax: int, choices: Choices) -> QuantParams:
    """The lowest code stands for `lo` itself: `q = round((x − m)/s) + qmin`, `x̂ = (q − qmin)·s + m`."""
    scale, divisor = choices.scales(_half(lo, hi), (qmax - qmin) / 2, 0)
    offset = choices.scale_dtype.stored(lo)
    zero_point = np.full(scale.shape, qmin, np.int32)
    return QuantParams(scale, zero_point, qmin, qmax, choices.rounding, choices.division, divisor, offset)


def _symmetric_reach(lo: Floats, hi: Floats, qmin: int, qmax: int, convention: Convention,
                     ) -> tuple[Floats, float | Floats]:  # fmt: skip
    """The magnitude that decides the scale, and the level that it is put on."""
    largest = np.maximum(-lo, hi)
    match convention:
        case "full_span":
            return largest, (qmax - qmin) / 2
        case "restricted" | "full_range":
            return largest, float(qmax)
        case "no_clipping":
            below = lo / np.float32(qmin) >= hi / np.float32(qmax)
            return np.where(below, -lo, hi), np.where(below, np.float32(-qmin), np.float32(qmax))
        case "signed_extreme":
            return largest, float(-qmin)


def quotient(rows: Floats, params: QuantParams) -> Floats:
    """`rows / scale` as the division mode says: times the float32 reciprocal (torch) or a true division (ONNX)."""
    scale = (params.scale if params.divisor is None else params.divisor)[:, None]
    less = params.offset if params.subtrahend is None else params.subtrahend
    if less is not None:
        rows = rows - less[:, None]
    inverse = (np.float32(1) / scale).astype(np.float32)
    return rows * inverse if params.division == "reciprocal" else (rows / scale).astype(np.float32)
