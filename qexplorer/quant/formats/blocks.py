"""Block formats: small elements in blocks of a fixed size, with scales of a fixed kind. MX and NVFP4.

Definitions: OCP Microscaling Formats (MX) v1.0 §6.3; NVFP4 as NVIDIA's libraries and torchao compute it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.formats.floating import scaled_float
from qexplorer.quant.formats.integer import integer
from qexplorer.quant.granularity import PerBlock
from qexplorer.quant.level_rules import LevelEnds, LevelRule
from qexplorer.quant.minifloat import E2M1, E2M3, E3M2, E4M3FN, E5M2
from qexplorer.quant.params import Choices, QuantParams
from qexplorer.quant.scale_dtypes import ScaleDtype, scale_dtypes


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Block(Format):
    """`element` in blocks of neighbours within an output channel; scales are of `scale_dtype` or, where that is a power
    of two, of another way to choose the power.
    """

    element: Format
    size: int
    scale_dtype: ScaleDtype
    order: int = 20
    applies: ClassVar[Fields] = frozenset(("scale_dtype", "observer", "rounding", "division"))
    kind: ClassVar[str] = "has symmetric blocks of a fixed size"
    help: ClassVar[str] = "Small elements in blocks, each with a small scale of its own. Made for hardware."

    @property
    def rule(self) -> LevelRule:
        return self.element.rule

    def level_ends(self, params: QuantParams) -> LevelEnds:
        return self.element.level_ends(params)

    def refusal(self, name: str, value: Any) -> str:
        if name != "scale_dtype" or value == self.scale_dtype:
            return ""
        if not self.scale_dtype.power:
            return f"{self.title} has scales of {self.scale_dtype.name.upper()}."
        return "" if value.power else f"{self.title} has scales that are powers of two."

    def remark(self, wide: int, shape: tuple[int, ...]) -> str:
        if wide % self.size == 0:
            return ""
        return (f"An output channel of {wide:,} values is no whole number of blocks of {self.size}: its last block is "
                "short here, and most libraries and hardware refuse it.")  # fmt: skip

    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        return self.element.choose(lo, hi, choices)

    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        return self.element.quantize(rows, params)

    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        return self.element.dequantize(codes, params)

    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        return self.element.outside(rows, params)

    def half_step(self, params: QuantParams, largest: float) -> float:
        return self.element.half_step(params, largest)

    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        return self.element.reach(params)


def _block(name: str, label: str, family: str, element: Format, size: int, scale_dtype: str) -> Block:
    kind = scale_dtypes[scale_dtype]
    return Block(
        name=name,
        family=f"{family} — blocks of {size}",
        label=label,
        storage_bits=element.storage_bits,
        extent=element.extent,
        defaults={"granularity": PerBlock(1, size), "scale_dtype": kind},
        element=element,
        size=size,
        scale_dtype=kind,
    )


formats.register(
    _block("mxfp8_e4m3", "E4M3", "MXFP", scaled_float("fp8_e4m3fn", E4M3FN), 32, "e8m0"),
    _block("mxfp8_e5m2", "E5M2", "MXFP", scaled_float("fp8_e5m2", E5M2), 32, "e8m0"),
    _block("mxfp6_e2m3", "E2M3", "MXFP", scaled_float("fp6_e2m3", E2M3), 32, "e8m0"),
    _block("mxfp6_e3m2", "E3M2", "MXFP", scaled_float("fp6_e3m2", E3M2), 32, "e8m0"),
    _block("mxfp4", "E2M1", "MXFP", scaled_float("fp4_e2m1", E2M1), 32, "e8m0"),
    _block("mxint8", "INT8", "MXINT8", integer(8, signed=True), 32, "e8m0"),
    _block("nvfp4", "E2M1", "NVFP4", scaled_float("fp4_e2m1", E2M1), 16, "e4m3"),
)
