"""How scales are stored. The scale that puts the reach of a group on a level is rounded to what can be stored.

Sources: the OCP MX specification §6.3 (`e8m0`) and the scale modes that torchao names, NVIDIA's NVFP4 (`e4m3`: a float8
for each group and a float32 for the tensor), QLoRA's double quantization as bitsandbytes computes it (`double`).
"""

from dataclasses import dataclass

import numpy as np

from qexplorer.quant.arrays import AnyArray, Codes, Doubles, Floats
from qexplorer.quant.minifloat import BF16, E4M3FN, FP16

EPS = np.float32(np.finfo(np.float32).eps)
"""The smallest scale, 2⁻²³, as in PyTorch: a group of zeros then has a scale that can be inverted."""
LARGEST = np.finfo(np.float32).max
LEAST_E4M3 = 2.0**-6
DOUBLE_BLOCK = 256


@dataclass(frozen=True)
class Ask:
    """What a scale shall do: put `reach` (`[G]`, ≥ 0) on `level` (one, or `[G]`).

    `mantissa_bits` are those of the elements, for the mode that rounds to them; `tensor_reach` is the largest reach of
    the whole tensor, where `reach` is that of a part.
    """

    reach: Floats
    level: float | Floats
    mantissa_bits: int
    tensor_reach: float | None = None


@dataclass(frozen=True)
class ScaleDtype:
    """`bits` a group, `bits_together` for so many groups together, `tensor_bits` once for the tensor.

    `power` is set where scales are powers of two; `signed` where a scale may be negative; `late` where values are
    divided by the scale before it is rounded.
    """

    bits: int
    signed: bool = True
    power: str = ""
    late: bool = False
    bits_together: int = 0
    tensor_bits: int = 0

    def total_bits(self, groups: int) -> int:
        """The bits of all scales of a tensor."""
        together = self.bits_together * -(-groups // DOUBLE_BLOCK)
        return groups * self.bits + together + self.tensor_bits


SCALE_DTYPES: dict[str, ScaleDtype] = {
    "float32": ScaleDtype(32),
    "float16": ScaleDtype(16),
    "bfloat16": ScaleDtype(16),
    "e8m0": ScaleDtype(8, signed=False, power="floor"),
    "e8m0_ceil": ScaleDtype(8, signed=False, power="ceil"),
    "e8m0_rceil": ScaleDtype(8, signed=False, power="rceil"),
    "e8m0_even": ScaleDtype(8, signed=False, power="even"),
    "e8m0_round": ScaleDtype(8, signed=False, power="round"),
    "e4m3": ScaleDtype(8, signed=False, tensor_bits=32),
    "double": ScaleDtype(8, signed=False, late=True, bits_together=32, tensor_bits=32),
}


def scale_for(ask: Ask, dtype: str) -> Floats:
    """The stored scale of every group: `[G]` float32, > 0."""
    kind = SCALE_DTYPES[dtype]
    if kind.power:
        return _power_of_two(ask, kind.power)
    if dtype == "e4m3":
        return _two_level(ask)
    exact = exact_scale(ask)
    return double_quantized(exact) if dtype == "double" else stored(exact, dtype)


def exact_scale(ask: Ask) -> Floats:
    """The scale in float32, never below `EPS`."""
    with np.errstate(over="ignore"):
        scale = ask.reach / np.asarray(ask.level, np.float32)
    return np.clip(scale, EPS, LARGEST).astype(np.float32)


def stored(values: Floats, dtype: str) -> Floats:
    """Values as float32, float16 or bfloat16 keeps them; what float16 cannot reach becomes its largest."""
    form = {"float16": FP16, "bfloat16": BF16}.get(dtype)
    return values if form is None else form.nearest(values).astype(np.float32)


def _power_of_two(ask: Ask, mode: str) -> Floats:
    """2^e, −127 ≤ e ≤ 127. Exponents are taken from the numbers' bits: a logarithm would be wrong near powers of two.

    `floor`: the exponent of the reach less that of the level, as MX defines it; the reach may be clipped. `ceil`: that
    of the next power of two above the reach. `rceil`: the least power that clips nothing. `even`: as `floor`, with the
    reach rounded to the elements' mantissa first. `round`: the power nearest to the exact scale, by ratio.
    """
    level_fraction, level_exponent = np.frexp(np.asarray(ask.level, np.float64))
    reach = ask.reach
    if mode == "even":
        half = np.uint32(1 << (22 - ask.mantissa_bits))
        reach = (np.ascontiguousarray(reach).view(np.uint32) + half).view(np.float32)
    exact = np.where(np.isfinite(reach), reach, np.float64(2.0**128))
    fraction, exponent = np.frexp(exact)
    e = exponent.astype(np.int64) - level_exponent
    match mode:
        case "ceil":
            e = e + (fraction > 0.5)
        case "rceil":
            e = e + (fraction > level_fraction)
        case "round":
            square, level_square = fraction * fraction, level_fraction * level_fraction  # exact in float64
            e = e + (square >= 2 * level_square).astype(np.int64) - (2 * square < level_square)
        case _:
            pass
    e = np.where(ask.reach > 0, np.clip(e, -127, 127), -127)
    return np.ldexp(1.0, e.astype(np.int32)).astype(np.float32)


def _two_level(ask: Ask) -> Floats:
    """A float8 for each group times a float32 for the tensor, which puts the tensor's largest scale on 448."""
    most = float(ask.reach.max(initial=0.0)) if ask.tensor_reach is None else ask.tensor_reach
    level = np.asarray(ask.level, np.float32)
    tensor = max(np.float32(most) / (np.float32(E4M3FN.largest) * level.min(initial=np.inf)), np.float32(2.0**-120))
    group = (ask.reach / level / tensor).astype(np.float32)
    stored = E4M3FN.nearest(np.clip(group, LEAST_E4M3, E4M3FN.largest)).astype(np.float32)
    return np.asarray(stored * tensor, np.float32)


def double_quantized(scale: Floats) -> Floats:
    """Scales after their own quantization: less their mean, in blocks of 256, to the 8-bit dynamic map."""
    if not scale.size:
        return scale
    mean = scale.mean(dtype=np.float64).astype(np.float32)
    rest = (scale - mean).astype(np.float32)
    short = -len(rest) % DOUBLE_BLOCK
    blocks = np.pad(rest, (0, short)).reshape(-1, DOUBLE_BLOCK)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    shares = blocks / np.where(largest > 0, largest, np.float32(1))
    table = _dynamic_map()
    middles = (table[1:].astype(np.float64) + table[:-1]) / 2
    codes: Codes = np.searchsorted(middles, shares).astype(np.int32)
    restored: Floats = (table[codes] * largest).reshape(-1)[: len(rest)] + mean
    return np.maximum(restored, EPS).astype(np.float32)


def _dynamic_map() -> Floats:
    """256 levels: in each of seven decades 2^i means of equal parts of 0.1 … 1, either sign, and 0 and 1."""
    levels: list[AnyArray] = [np.array([0.0, 1.0])]
    for i in range(7):
        edges: Doubles = np.linspace(0.1, 1.0, 2**i + 1)
        means = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (i - 6)
        levels += [means, -means]
    return np.sort(np.concatenate(levels)).astype(np.float32)
