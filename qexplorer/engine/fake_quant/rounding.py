"""The rules of `quant.rounding` in torch: the same bits, in float32 and on any device."""

import torch
from torch import Tensor

from qexplorer.errors import UserError
from qexplorer.quant.rounding import (
    GAMMA,
    LAST_SHIFT,
    MIXES,
    HalfAway,
    HalfEven,
    HalfUp,
    HalfZero,
    Rounding,
    ShiftedHalfUp,
    Stochastic,
    TowardZero,
)


def round_to_integer(x: Tensor, rounding: Rounding, first: int, *, exact: bool = False) -> Tensor:
    """Round `x` to whole numbers; `first` is the place of its first value, by which `Stochastic` decides.

    That rule compares the part above the next lower whole number with a chance. The part is rounded to float32 as for
    integers in the reference, or `exact`, as for floats there.
    """
    match rounding:
        case HalfEven():
            return x.round()
        case TowardZero():
            return x.trunc()
        case Stochastic(seed):
            chance = chances(seed, first, x)
            return x.floor() + (_exceeds(x, chance) if exact else chance < (x - x.floor()).abs())
        case HalfUp():
            whole = x.floor()
            return whole + ((x - whole).abs() >= 0.5).to(x.dtype)
        case ShiftedHalfUp(shift):
            return (x + (0.5 + shift)).floor() - shift
        case HalfAway():
            whole = x.trunc()
            return whole + ((x - whole).abs() >= 0.5).to(x.dtype).copysign(x)
        case HalfZero():
            whole = x.trunc()
            return whole + ((x - whole).abs() > 0.5).to(x.dtype).copysign(x)
        case _:
            raise UserError(f"Fake quantization cannot round {rounding.title.lower()}.", field="rounding")


def _exceeds(x: Tensor, chance: Tensor) -> Tensor:
    """Whether `x − floor(x) > chance`. Below zero the difference need not be a float32, while the part below
    the next higher whole number is one, and so is 1 − chance.
    """
    part = (x - x.trunc()).abs()
    return torch.where(x < 0, (part > 0) & (part < 1 - chance), chance < part)


def chances(seed: int, first: int, like: Tensor) -> Tensor:
    """`quant.rounding.chances` for the places of `like` from `first` on, on its device; int64 wraps as uint64 does."""
    z = torch.arange(first + 1, first + 1 + like.numel(), dtype=torch.int64, device=like.device)
    z = z * _signed(GAMMA) + seed
    for shift, factor in MIXES:
        z = (z ^ _shifted(z, shift)) * _signed(factor)
    z = z ^ _shifted(z, LAST_SHIFT)
    return (_shifted(z, 40).to(torch.float32) * 2.0**-24).reshape(like.shape)


def _signed(word: int) -> int:
    """The int64 with the bits of a uint64."""
    return word - (1 << 64) if word >> 63 else word


def _shifted(z: Tensor, by: int) -> Tensor:
    """The bits moved down, and zeros above them: torch would repeat the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)
