"""GGUF block formats: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, TQ1_0 and TQ2_0, to the bit as ggml's reference quantizes.

Values are divided by a float32 step, which is rounded to float16 only for storing. Arithmetic is in float32.
Source: `gguf/quants.py` of llama.cpp's `gguf` package. A code is the number that is stored less 8 (Q4_0), 16 (Q5_0) or
1 (TQ1_0, TQ2_0), so that code 0 stands for zero wherever a block has no offset.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.granularity import PerBlock
from qexplorer.quant.level_rules import NO_LEVEL, LevelEnds, LevelRule, WholeNumbers
from qexplorer.quant.params import Choices, QuantParams, quotient
from qexplorer.quant.rounding import HalfAway, Rounding, ShiftedHalfUp

LARGEST = np.finfo(np.float32).max
FALLBACK_SIZE = 32
TOGETHER = 1 << 20
"""Values in one step of the work."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GgufBlock(Format):
    """Codes `least` … `most` in blocks of `size` neighbours within an output channel: `x̂ = q·d`, or `q·d + m`.

    Each block also stores the step d as float16 and, where it has one, the offset m. A short block at the end of a
    channel takes the room of a whole one. `rounding` is ggml's.
    """

    size: int
    least: int
    most: int
    rounding: Rounding
    order: int = 40
    applies: ClassVar[Fields] = frozenset()
    kind: ClassVar[str] = "has blocks and a rule of its own, which are ggml's"
    help: ClassVar[str] = (
        "Blocks as in GGUF files, to the bit as llama.cpp's reference quantizes them. Steps are float16: zero below "
        "about 6·10⁻⁸, and infinite from 65,520 on."
    )

    @property
    def rule(self) -> LevelRule:
        return WholeNumbers(self.rounding, finite=True)

    def level_ends(self, params: QuantParams) -> LevelEnds:
        return LevelEnds(np.array([self.least], np.float32), np.array([self.most], np.float32), NO_LEVEL)

    @property
    def block_bytes(self) -> int:
        """The bytes of a block, codes and all."""
        return (round(self.size * self.storage_bits) + self.group_bits) // 8

    def size_bits(self, n: int, groups: int) -> int:
        return groups * self.block_bytes * 8

    def remark(self, wide: int, shape: tuple[int, ...]) -> str:
        """llama.cpp takes Q4_0 for rows that have no whole ternary blocks, and F16 where that has none either."""
        row = shape[-1] if shape else 1
        if row % self.size == 0:
            return ""
        instead = "Q4_0" if self.size > FALLBACK_SIZE and row % FALLBACK_SIZE == 0 else "F16"
        values = f"{row:,} value{'s' if row != 1 else ''}"
        return (f"Rows of {values} are no whole blocks of {self.size}: no GGUF file holds them as {self.title}, and "
                f"llama.cpp falls back to {instead}. Here the last block of an output channel is filled up and counts "
                "whole.")  # fmt: skip

    @abstractmethod
    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams: ...

    def params(self, step: Floats, lowest: Floats | None = None) -> QuantParams:
        """The parameters of blocks with such steps and, for a format with an offset, lowest values: `[G]` each.

        A step without a finite reciprocal divides as infinity would: every code is that of zero, as ggml has it for
        a step of 0. One that float16 cannot hold is infinite, as it is in the file: its values are then infinite or,
        for the code 0, no numbers.
        """
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            divides = np.isfinite(np.float32(1) / step)
            scale = step.astype(np.float16).astype(np.float32)
            offset = None if lowest is None else lowest.astype(np.float16).astype(np.float32)
        divisor = np.where(divides, step, np.float32(np.inf))
        zero = np.zeros(step.shape, np.int32)
        return QuantParams(scale, zero, self.least, self.most, divisor=divisor, offset=offset, subtrahend=lowest)

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        whole = self._unclamped(np.nan_to_num(rows, nan=0.0), params)
        return np.clip(whole, self.least, self.most).astype(np.int32)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):  # blocks of a file may hold any step
            values: Floats = codes.astype(np.float32) * params.scale[:, None]
            return values if params.offset is None else values + params.offset[:, None]

    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        whole = self._unclamped(rows, params)
        return (whole < self.least) | (whole > self.most)

    def half_step(self, params: QuantParams, largest: float) -> float:
        """Half the step that values are divided by, and what the stored step and offset have lost, where these are
        finite.
        """
        scale, step = params.scale.astype(np.float64), _divisor(params).astype(np.float64)
        step = np.where(np.isfinite(step), step, scale)
        error = np.abs(step) / 2 + np.abs(step - scale) * max(-self.least, self.most)
        if params.offset is not None and params.subtrahend is not None:
            error += np.abs(params.offset.astype(np.float64) - params.subtrahend)
        return float(error.max(initial=0.0, where=np.isfinite(error)))

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        scale, offset = (
            np.where(np.isfinite(part), part, 0.0).astype(np.float64)
            for part in (params.scale, np.zeros(1) if params.offset is None else params.offset)
        )
        ends = [q * scale for q in (self.least, self.most)]
        return np.minimum(*ends) + offset, np.maximum(*ends) + offset

    def _unclamped(self, rows: Floats, params: QuantParams) -> Floats:
        with np.errstate(over="ignore"):  # what overflows lies beyond the codes
            return self.rounding.round(quotient(rows, params))


class SignedExtreme(GgufBlock):
    """Q4_0 and Q5_0: the first value of the largest magnitude has the least code, so that d may be negative."""

    learns: ClassVar[bool] = True

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return self.params(self._steps(np.stack([lo, hi], axis=1)))

    def fit(self, rows: Floats, lo: Floats, hi: Floats, choices: Choices) -> Steps[QuantParams]:
        steps = np.zeros(len(rows), np.float32)
        together = max(1, TOGETHER // rows.shape[1])
        for at in range(0, len(rows), together):
            yield Progress("Choosing the scale", at, len(rows))
            steps[at : at + together] = self._steps(rows[at : at + together])
        return self.params(steps)

    def _steps(self, rows: Floats) -> Floats:
        known = np.where(np.isfinite(rows), rows, np.float32(0))
        first = np.abs(known).argmax(axis=1)[:, None]
        extreme: Floats = np.take_along_axis(known, first, axis=1)[:, 0]
        return extreme / np.float32(self.least)


class Span(GgufBlock):
    """Q4_1 and Q5_1: the codes span the range, and the lowest value is the offset."""

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        with np.errstate(over="ignore"):
            step = (hi - lo) / np.float32(self.most)
        return self.params(np.minimum(step, LARGEST), lo)  # by infinity an infinite difference could not be divided


class Absmax(GgufBlock):
    """Q8_0, TQ1_0 and TQ2_0: the largest magnitude has the largest code, and ties go away from zero."""

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        reach: Floats = np.maximum(np.abs(lo), np.abs(hi))
        return self.params(reach / np.float32(self.most))


def _divisor(params: QuantParams) -> Floats:
    return params.scale if params.divisor is None else params.divisor


B = TypeVar("B", bound=GgufBlock)


def _block(cls: type[B], label: str, bits: float, least: int, most: int, rounding: Rounding | None = None, *,
           size: int = 32, group_bits: int = 16) -> B:  # fmt: skip
    """`bits` is what a code takes on average."""
    return cls(
        name=label.lower(),
        family="GGUF — blocks of 32" if size == 32 else "GGUF — ternary blocks",
        label=label,
        storage_bits=bits,
        group_bits=group_bits,
        extent=(least, most, most - least + 1),
        defaults={"granularity": PerBlock(1, size)},
        size=size,
        least=least,
        most=most,
        rounding=rounding or ShiftedHalfUp(-least),
    )


formats.register(
    _block(SignedExtreme, "Q4_0", 4, -8, 7),
    _block(Span, "Q4_1", 4, 0, 15, group_bits=32),
    _block(SignedExtreme, "Q5_0", 5, -16, 15),
    _block(Span, "Q5_1", 5, 0, 31, group_bits=32),
    _block(Absmax, "Q8_0", 8, -127, 127, HalfAway()),
    _block(Absmax, "TQ1_0", 1.625, -1, 1, HalfAway(), size=256),
    _block(Absmax, "TQ2_0", 2, -1, 1, HalfAway(), size=256),
)
