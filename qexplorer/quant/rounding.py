"""How a quotient becomes a whole number."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qexplorer.plugins import Plugin, Registry
from qexplorer.quant.arrays import AnyArray, Floats
from qexplorer.settings import setting

GAMMA = 0x9E3779B97F4A7C15
MIXES = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31
"""SplitMix64: what is added from place to place, and the shifts and factors that mix the bits."""
LAST_SEED = (1 << 63) - 1


class Rounding(Plugin):
    """A rule by which values become whole numbers."""

    to_nearest: ClassVar[bool] = True
    """Whether the nearest whole number is taken, so that rules differ only at ties."""
    by_place: ClassVar[bool] = False
    """Whether what a value becomes depends on its place in the tensor."""

    @abstractmethod
    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        """Whole numbers of the dtype of `x`; `first` is the place of its first value in the whole tensor."""


roundings: Registry[Rounding] = Registry("rounding")


@roundings.register
class HalfEven(Rounding):
    """Ties to the even number."""

    name: ClassVar[str] = "half_even"
    title: ClassVar[str] = "Half to even"
    help: ClassVar[str] = "Ties go to the even code: torch, NumPy, ONNX, IEEE 754."
    order: ClassVar[int] = 0

    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        return np.rint(x)


@roundings.register
class HalfAway(Rounding):
    """Ties away from zero."""

    name: ClassVar[str] = "half_away"
    title: ClassVar[str] = "Half away from zero"
    help: ClassVar[str] = "Ties go away from zero: C's round, GGUF Q8_0."
    order: ClassVar[int] = 1

    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        whole = np.trunc(x)
        return whole + np.copysign((_rest(x, whole) >= 0.5).astype(x.dtype), x)


@roundings.register
class HalfUp(Rounding):
    """Ties to the greater number."""

    name: ClassVar[str] = "half_up"
    title: ClassVar[str] = "Half up"
    help: ClassVar[str] = "Ties go up: floor(x + ½), GGUF Q4_0."
    order: ClassVar[int] = 2

    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        whole = np.floor(x)
        return whole + (_rest(x, whole) >= 0.5).astype(x.dtype)


@roundings.register
class HalfZero(Rounding):
    """Ties toward zero."""

    name: ClassVar[str] = "half_zero"
    title: ClassVar[str] = "Half toward zero"
    help: ClassVar[str] = "Ties go toward zero: GGUF MXFP4."
    order: ClassVar[int] = 3

    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        whole = np.trunc(x)
        return whole + np.copysign((_rest(x, whole) > 0.5).astype(x.dtype), x)


@roundings.register
class TowardZero(Rounding):
    """What lies behind the point is cut off."""

    name: ClassVar[str] = "toward_zero"
    title: ClassVar[str] = "Toward zero"
    help: ClassVar[str] = "The fraction is cut off. For comparison: it doubles the error."
    order: ClassVar[int] = 4
    to_nearest: ClassVar[bool] = False

    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        return np.trunc(x)


@roundings.register
@dataclass(frozen=True)
class Stochastic(Rounding):
    """Up with the fraction as its chance. Place and seed decide, not the order in which blocks come."""

    seed: int = setting(0, "Seed", "The same seed gives the same codes", minimum=0, maximum=LAST_SEED)
    name: ClassVar[str] = "stochastic"
    title: ClassVar[str] = "Stochastic"
    help: ClassVar[str] = "Up with the fraction as its chance: no bias. Same seed, same codes."
    order: ClassVar[int] = 5
    to_nearest: ClassVar[bool] = False
    by_place: ClassVar[bool] = True

    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        whole = np.floor(x)
        return whole + (chances(self.seed, first, x.shape) < _rest(x, whole)).astype(x.dtype)


@dataclass(frozen=True)
class ShiftedHalfUp(Rounding):
    """Half up, of a number that is moved up by `shift` before: the sum is itself rounded to float32, as ggml has it.

    No spec can choose it: it belongs to formats.
    """

    shift: int
    name: ClassVar[str] = "shifted_half_up"
    title: ClassVar[str] = "Half up after a shift"

    def round(self, x: AnyArray, first: int = 0) -> AnyArray:
        return np.floor(x + np.float32(0.5 + self.shift)) - np.float32(self.shift)


HALF_EVEN = HalfEven()


def _rest(x: AnyArray, whole: AnyArray) -> AnyArray:
    with np.errstate(invalid="ignore"):  # an infinity stays what it is
        return np.abs(x - whole)


def chances(seed: int, first: int, shape: tuple[int, ...]) -> Floats:
    """One number of 0 ≤ u < 1 in steps of 2⁻²⁴ for each place from `first` on: SplitMix64 of seed and place."""
    with np.errstate(over="ignore"):
        z = np.arange(first, first + int(np.prod(shape, dtype=np.int64)), dtype=np.uint64)
        z = (z + np.uint64(1)) * np.uint64(GAMMA) + np.uint64(seed)
        for shift, factor in MIXES:
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(LAST_SHIFT)
    return ((z >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)).reshape(shape)
