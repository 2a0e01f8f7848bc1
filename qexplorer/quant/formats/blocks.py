"""Block formats: small elements in blocks of a fixed size, with scales of a fixed kind. MX and NVFP4.

Definitions: OCP Microscaling Formats (MX) v1.0 §6.3; NVFP4 as NVIDIA's libraries and torchao compute it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.formats import Fields, Format, formats
from qexplorer.quant.formats.floating import ScaledFloat
from qexplorer.quant.formats.integer import Integer
from qexplorer.quant.granularity import PerBlock
from qexplorer.quant.minifloat import E2M1, E2M3, E3M2, E4M3FN, E5M2
from qexplorer.quant.params import Choices, QuantParams
from qexplorer.quant.scale_dtypes import ScaleDtype, scale_dtypes


@dataclass(frozen=True)
class Block(Format):
    """`element` in blocks of `size` neighbours within an output channel; scales are of `scale_dtype` or, where that is
    a power of two, of another way to choose the power.
    """

    block_name: str
    family_text: str
    label_text: str
    element: Format
    size: int
    scale_dtype: ScaleDtype
    order: ClassVar[int] = 20
    applies: ClassVar[Fields] = frozenset(("scale_dtype", "observer", "rounding", "division"))
    kind: ClassVar[str] = "has symmetric blocks of a fixed size"
    help: ClassVar[str] = "Small elements in blocks, each with a small scale of its own. Made for hardware."

    @property
    def name(self) -> str:
        return self.block_name

    @property
    def family(self) -> str:
        return self.family_text

    @property
    def label(self) -> str:
        return self.label_text

    @property
    def storage_bits(self) -> float:
        return self.element.storage_bits

    @property
    def extent(self) -> tuple[float, float, int]:
        return self.element.extent

    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"granularity": PerBlock(1, self.size), "scale_dtype": self.scale_dtype}

    def refusal(self, name: str, value: Any) -> str:
        if name != "scale_dtype" or value == self.scale_dtype:
            return ""
        if not self.scale_dtype.power:
            return f"{self.title} has scales of {self.scale_dtype.name.upper()}."
        return "" if value.power else f"{self.title} has scales that are powers of two."

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


def _mx(name: str, label: str, element: Format) -> Block:
    family = f"{'MXINT8' if name == 'mxint8' else 'MXFP'} — blocks of 32"
    return Block(name, family, label, element, 32, scale_dtypes["e8m0"])


formats.register(
    _mx("mxfp8_e4m3", "E4M3", ScaledFloat("fp8_e4m3fn", E4M3FN)),
    _mx("mxfp8_e5m2", "E5M2", ScaledFloat("fp8_e5m2", E5M2)),
    _mx("mxfp6_e2m3", "E2M3", ScaledFloat("fp6_e2m3", E2M3)),
    _mx("mxfp6_e3m2", "E3M2", ScaledFloat("fp6_e3m2", E3M2)),
    _mx("mxfp4", "E2M1", ScaledFloat("fp4_e2m1", E2M1)),
    _mx("mxint8", "INT8", Integer(8)),
    Block("nvfp4", "NVFP4 — blocks of 16", "E2M1", ScaledFloat("fp4_e2m1", E2M1), 16, scale_dtypes["e4m3"]),
)
