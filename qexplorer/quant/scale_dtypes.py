"""How scales are stored. The scale that puts the reach of a group on a level is rounded to what can be stored.

Sources: the OCP MX specification §6.3 (`e8m0`) and the scale modes that torchao names, NVIDIA's NVFP4 (`e4m3`: a float8
for each group and a float32 for the tensor), QLoRA's double quantization as bitsandbytes computes it (`double`).
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from qexplorer.plugins import Instances
from qexplorer.quant.arrays import AnyArray, Codes, Doubles, Floats
from qexplorer.quant.minifloat import BF16, E4M3FN, FP16, Minifloat

LEAST = float(np.finfo(np.float32).tiny)
"""2⁻¹²⁶, the least float32 with all its digits: a group of zeros then has a scale that can be inverted."""
TORCH_EPS = float(np.finfo(np.float32).eps)
"""2⁻²³, the smallest scale that torch's observers return."""
LARGEST = np.finfo(np.float32).max
LEAST_E4M3 = 2.0**-6
DOUBLE_BLOCK = 256


@dataclass(frozen=True)
class ScaleRequest:
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

    `least` is the least scale, which a group of zeros has. `power` is set where scales are powers of two; `signed`
    where a scale may be negative; `late` where values are divided by the scale before it is rounded.
    """

    name: str
    title: str
    help: str
    order: int = field(default=100, kw_only=True)
    least: float = field(default=LEAST, kw_only=True)
    bits: ClassVar[int]
    signed: ClassVar[bool] = False
    power: ClassVar[bool] = False
    late: ClassVar[bool] = False
    bits_together: ClassVar[int] = 0
    tensor_bits: ClassVar[int] = 0

    @property
    def text(self) -> str:
        """The name, which is all there is to say of it in one word."""
        return self.name

    def total_bits(self, groups: int) -> int:
        """The bits of all scales of a tensor."""
        together = self.bits_together * -(-groups // DOUBLE_BLOCK)
        return groups * self.bits + together + self.tensor_bits

    @abstractmethod
    def scale_for(self, request: ScaleRequest) -> Floats:
        """The stored scale of every group: `[G]` float32, > 0."""

    def stored(self, values: Floats) -> Floats:
        """Other values that are stored like scales, as they are then kept: zero points that are floats."""
        return values


scale_dtypes: Instances[ScaleDtype] = Instances("scale dtype")


def exact_scale(request: ScaleRequest, least: float = LEAST) -> Floats:
    """The scale in float32, not below `least`."""
    with np.errstate(over="ignore"):
        scale = request.reach / np.asarray(request.level, np.float32)
    return np.clip(scale, np.float32(least), LARGEST).astype(np.float32)


class Float32(ScaleDtype):
    """As exact as the arithmetic."""

    bits: ClassVar[int] = 32
    signed: ClassVar[bool] = True

    def scale_for(self, request: ScaleRequest) -> Floats:
        return self.stored(exact_scale(request, self.least))


@dataclass(frozen=True)
class SmallFloat(Float32):
    """16 bits; what `number` cannot reach becomes its largest."""

    number: Minifloat
    bits: ClassVar[int] = 16

    def stored(self, values: Floats) -> Floats:
        return self.number.nearest(values).astype(np.float32)


@dataclass(frozen=True)
class PowerOfTwo(ScaleDtype):
    """2^e, −127 ≤ e ≤ 127. Exponents are taken from the numbers' bits: a logarithm would be wrong near powers of two.

    `floor`: the exponent of the reach less that of the level, as MX defines it; the reach may be clipped. `ceil`: that
    of the next power of two above the reach. `rceil`: the least power that clips nothing. `even`: as `floor`, with the
    reach rounded to the elements' mantissa first. `round`: the power nearest to the exact scale, by ratio.
    """

    mode: Literal["floor", "ceil", "rceil", "even", "round"]
    least: float = field(default=2.0**-127, kw_only=True)
    bits: ClassVar[int] = 8
    power: ClassVar[bool] = True

    def scale_for(self, request: ScaleRequest) -> Floats:
        level_fraction, level_exponent = np.frexp(np.asarray(request.level, np.float64))
        reach = request.reach
        if self.mode == "even":
            half = np.uint32(1 << (22 - request.mantissa_bits))
            reach = (np.ascontiguousarray(reach).view(np.uint32) + half).view(np.float32)
        exact = np.where(np.isfinite(reach), reach, np.float64(2.0**128))
        fraction, exponent = np.frexp(exact)
        e = exponent.astype(np.int64) - level_exponent
        match self.mode:
            case "ceil":
                e = e + (fraction > 0.5)
            case "rceil":
                e = e + (fraction > level_fraction)
            case "round":
                square, level_square = fraction * fraction, level_fraction * level_fraction  # exact in float64
                e = e + (square >= 2 * level_square).astype(np.int64) - (2 * square < level_square)
            case "floor" | "even":
                pass
        e = np.where(request.reach > 0, np.clip(e, -127, 127), -127)
        return np.ldexp(1.0, e.astype(np.int32)).astype(np.float32)


class TwoLevel(ScaleDtype):
    """A float8 for each group times a float32 for the tensor, which puts the tensor's largest scale on 448."""

    bits: ClassVar[int] = 8
    tensor_bits: ClassVar[int] = 32

    def scale_for(self, request: ScaleRequest) -> Floats:
        most = float(request.reach.max(initial=0.0)) if request.tensor_reach is None else request.tensor_reach
        level = np.asarray(request.level, np.float32)
        tensor = max(np.float32(most) / (np.float32(E4M3FN.largest) * level.min(initial=np.inf)), np.float32(2.0**-120))
        group = (request.reach / level / tensor).astype(np.float32)
        stored = E4M3FN.nearest(np.clip(group, LEAST_E4M3, E4M3FN.largest)).astype(np.float32)
        return np.asarray(stored * tensor, np.float32)


class DoubleQuantized(ScaleDtype):
    """Scales that are quantized themselves, 256 together. One that is far below the mean of all may be restored as zero
    or below, as bitsandbytes restores it; values are divided by the scale before, and come back as zero or with the
    other sign.
    """

    bits: ClassVar[int] = 8
    late: ClassVar[bool] = True
    bits_together: ClassVar[int] = 32
    tensor_bits: ClassVar[int] = 32

    def scale_for(self, request: ScaleRequest) -> Floats:
        return double_quantized(exact_scale(request))


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
    return restored.astype(np.float32)


def _dynamic_map() -> Floats:
    """256 levels: in each of seven decades 2^i means of equal parts of 0.1 … 1, either sign, and 0 and 1."""
    levels: list[AnyArray] = [np.array([0.0, 1.0])]
    for i in range(7):
        edges: Doubles = np.linspace(0.1, 1.0, 2**i + 1)
        means = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (i - 6)
        levels += [means, -means]
    return np.sort(np.concatenate(levels)).astype(np.float32)


FLOAT32 = Float32("float32", "FP32", "32 bits a scale: as exact as the arithmetic.")
scale_dtypes.register(
    FLOAT32,
    Float32(
        "float32_eps",
        "FP32, torch's least",
        "32 bits a scale, never below 2⁻²³, as in torch's observers.",
        least=TORCH_EPS,
    ),
    SmallFloat("float16", "FP16", "16 bits a scale, from 2⁻²⁴ on; below 2⁻¹⁴ they lose digits.", FP16, least=2.0**-24),
    SmallFloat("bfloat16", "BF16", "16 bits a scale, with the range of float32 and eight bits of precision.", BF16),
    PowerOfTwo("e8m0", "E8M0, floor", "A power of two, chosen as MX defines it; the extreme may be clipped.", "floor"),
    PowerOfTwo("e8m0_ceil", "E8M0, ceil", "A power of two, from the power of two above the extreme.", "ceil"),
    PowerOfTwo("e8m0_rceil", "E8M0, no clipping", "The least power of two that clips nothing (RCEIL).", "rceil"),
    PowerOfTwo(
        "e8m0_even", "E8M0, even", "As floor, with the extreme rounded to the elements' mantissa first.", "even"
    ),
    PowerOfTwo("e8m0_round", "E8M0, nearest", "The power of two nearest to the exact scale.", "round"),
    TwoLevel(
        "e4m3",
        "E4M3 · FP32",
        "A float8 a group, from 2⁻⁶ on as in torchao, and one float32 for the tensor: NVFP4's two levels.",
    ),
    DoubleQuantized(
        "double",
        "Double quantized",
        "8 bits a scale, 256 scales together quantized again: QLoRA. As in bitsandbytes, small ones may turn negative.",
    ),
)
