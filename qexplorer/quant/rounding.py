"""How a quotient becomes a whole number."""

import numpy as np

from qexplorer.errors import UserError
from qexplorer.quant.arrays import AnyArray, Floats

ROUNDINGS = ("half_even", "half_away", "half_up", "half_zero", "toward_zero", "stochastic")
"""The rules. Those named `half` differ only at ties. `stochastic` takes a seed: `stochastic:7`."""
GAMMA = 0x9E3779B97F4A7C15
MIXES = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31
"""SplitMix64: what is added from place to place, and the shifts and factors that mix the bits."""


def parse_rounding(text: str) -> str:
    """The rule in its full form: `stochastic` is `stochastic:0`. A `UserError` says what there is."""
    rule, _, seed = text.partition(":")
    if rule not in ROUNDINGS or (seed and rule != "stochastic"):
        raise UserError(f"There is no rounding “{text}”.", f"Known: {', '.join(ROUNDINGS)}:SEED.", field="rounding")
    if rule != "stochastic":
        return rule
    if not (seed or "0").isdecimal() or int(seed or "0") >= 1 << 63:
        raise UserError(f"“{seed}” is not a seed.", "Take a whole number from 0 on.", field="rounding")
    return f"stochastic:{int(seed or '0')}"


def round_to_integer(x: AnyArray, rounding: str, first: int = 0) -> AnyArray:
    """Round `x` to whole numbers of its own dtype; `first` is the place of its first value in the whole tensor, for
    the stochastic rule, which decides by place and not by order, so that blocks may come in any order.
    """
    if rounding == "half_even":
        return np.rint(x)
    if rounding == "toward_zero":
        return np.trunc(x)
    whole = np.floor(x) if rounding.startswith(("half_up", "stochastic")) else np.trunc(x)
    with np.errstate(invalid="ignore"):  # an infinity stays what it is
        rest = np.abs(x - whole)
    match rounding:
        case "half_away":
            return whole + np.copysign((rest >= 0.5).astype(x.dtype), x)
        case "half_zero":
            return whole + np.copysign((rest > 0.5).astype(x.dtype), x)
        case "half_up":
            return whole + (rest >= 0.5).astype(x.dtype)
        case _:
            return whole + (chances(int(rounding.partition(":")[2]), first, x.shape) < rest).astype(x.dtype)


def chances(seed: int, first: int, shape: tuple[int, ...]) -> Floats:
    """One number of 0 ≤ u < 1 in steps of 2⁻²⁴ for each place from `first` on: SplitMix64 of seed and place."""
    with np.errstate(over="ignore"):
        z = np.arange(first, first + int(np.prod(shape, dtype=np.int64)), dtype=np.uint64)
        z = (z + np.uint64(1)) * np.uint64(GAMMA) + np.uint64(seed)
        for shift, factor in MIXES:
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(LAST_SHIFT)
    return ((z >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)).reshape(shape)
