"""Scale and zero point, and how they follow from a range.

Formulas: PyTorch's observers for affine and `full_span`; the other symmetric conventions as TFLite (`restricted`),
AIMET (`full_range`), torchao (`no_clipping`) and ggml (`signed_extreme`) define them.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import Codes, Floats

Scheme = Literal["symmetric", "affine"]
Convention = Literal["restricted", "full_span", "full_range", "no_clipping", "signed_extreme"]
Rounding = Literal["half_even", "half_away", "half_up", "toward_zero"]
Division = Literal["reciprocal", "true"]

EPS = np.float32(np.finfo(np.float32).eps)
"""The smallest scale, 2⁻²³, as in PyTorch: a group of zeros then has a scale that can be inverted."""


@dataclass(frozen=True)
class QuantParams:
    """What quantizing needs to know: one scale and zero point a group, the code range, and how to round.

    `scale` is `[G]` float32 and may be negative (`signed_extreme`), `zero_point` is `[G]` int32.
    """

    scale: Floats
    zero_point: Codes
    qmin: int
    qmax: int
    rounding: Rounding = "half_even"
    division: Division = "reciprocal"

    def take(self, start: int, stop: int) -> "QuantParams":
        """The parameters of the groups `start`..`stop`."""
        return replace(self, scale=self.scale[start:stop], zero_point=self.zero_point[start:stop])

    def repeat(self, groups: int) -> "QuantParams":
        """The parameters of a single group for `groups` groups."""
        return replace(self, scale=np.repeat(self.scale, groups), zero_point=np.repeat(self.zero_point, groups))


@dataclass(frozen=True)
class Choices:
    """The fields of a spec that decide how a scale follows from a range."""

    scheme: Scheme = "symmetric"
    convention: Convention = "restricted"
    rounding: Rounding = "half_even"
    division: Division = "reciprocal"


def largest_to(level: float, lo: Floats, hi: Floats, codes: int, division: Division) -> QuantParams:
    """The scale that puts the largest magnitude of each range `lo`..`hi` on `level`, for `codes` codes."""
    scale = np.maximum(np.maximum(-lo, hi) / np.float32(level), EPS).astype(np.float32)
    return QuantParams(scale, np.zeros(lo.shape, np.int32), 0, codes - 1, division=division)


def choose_params(lo: Floats, hi: Floats, bits: int, signed: bool, choices: Choices) -> QuantParams:
    """Scale and zero point of integer quantization for the ranges `lo`..`hi`: `[G]` float32 each.

    Zero is always made part of the range, so that it is represented exactly.
    """
    lo = np.minimum(lo, np.float32(0))
    hi = np.maximum(hi, np.float32(0))
    qmin, qmax = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if choices.scheme == "affine":
        if not signed:
            qmin, qmax = 0, 2**bits - 1
        half = hi * np.float32(0.5) - lo * np.float32(0.5)  # exact, and the widest range does not overflow
        scale = np.maximum(half / np.float32((qmax - qmin) / 2), EPS)
        zero_point = np.clip(qmin - np.rint(lo / scale).astype(np.int32), qmin, qmax).astype(np.int32)
        return QuantParams(scale, zero_point, qmin, qmax, choices.rounding, choices.division)
    scale = _symmetric_scale(lo, hi, qmin, qmax, choices.convention)
    scale = np.where(np.abs(scale) < EPS, EPS, scale).astype(np.float32)
    if choices.convention == "restricted":
        qmin = -qmax
    shift = 0 if signed else 2 ** (bits - 1)
    zero_point = np.full(scale.shape, shift, np.int32)
    return QuantParams(scale, zero_point, qmin + shift, qmax + shift, choices.rounding, choices.division)


def _symmetric_scale(lo: Floats, hi: Floats, qmin: int, qmax: int, convention: Convention) -> Floats:
    largest = np.maximum(-lo, hi)
    match convention:
        case "full_span":
            scale = largest / np.float32((qmax - qmin) / 2)
        case "restricted" | "full_range":
            scale = largest / np.float32(qmax)
        case "no_clipping":
            scale = np.maximum(lo / np.float32(qmin), hi / np.float32(qmax))
        case "signed_extreme":
            scale = np.where(-lo >= hi, lo, hi) / np.float32(qmin)
    return scale.astype(np.float32)


def quotient(rows: Floats, params: QuantParams) -> Floats:
    """`rows / scale` as the division mode says: times the float32 reciprocal (torch) or a true division (ONNX)."""
    scale = params.scale[:, None]
    inverse = (np.float32(1) / scale).astype(np.float32)
    return rows * inverse if params.division == "reciprocal" else (rows / scale).astype(np.float32)


def round_to_integer(x: Floats, rounding: Rounding) -> Floats:
    """Round to whole numbers; the rules differ only where the fraction is exactly ½ (and `toward_zero` cuts)."""
    match rounding:
        case "half_even":
            return np.rint(x)
        case "half_away":
            whole = np.trunc(x)
            return whole + np.copysign((np.abs(x - whole) >= 0.5).astype(np.float32), x)
        case "half_up":
            below = np.floor(x)
            return below + (x - below >= 0.5).astype(np.float32)
        case "toward_zero":
            return np.trunc(x)
