"""Number formats. A format is data: which codes there are, what each stands for, and whether it needs a scale."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from qexplorer.errors import UserError
from qexplorer.quant.arrays import Codes, Doubles, Floats
from qexplorer.quant.params import QuantParams


@dataclass(frozen=True)
class Format(ABC):
    """One number format."""

    help: ClassVar[str]
    scaled: ClassVar[bool]
    """Whether values are divided by a scale first; a scale-free format is a plain cast."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name on the command line and in files, e.g. `int8`."""

    @property
    @abstractmethod
    def family(self) -> str:
        """The formats that it is offered with, e.g. `INT — signed integer`."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What tells it from others of its family, e.g. `8`."""

    @property
    @abstractmethod
    def storage_bits(self) -> int:
        """The bits that one value takes, without scales."""

    @property
    @abstractmethod
    def extent(self) -> tuple[float, float, int]:
        """The least and greatest code (or value, without a scale), and the number of finite levels."""

    @abstractmethod
    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        """The code of every value: `[G, N]` float32 → `[G, N]` int32. NaN has the code of zero."""

    @abstractmethod
    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        """What the codes stand for: `[G, N]` int32 → `[G, N]` float32."""

    @abstractmethod
    def outside(self, rows: Floats, params: QuantParams) -> Doubles:
        """How many values of each group the format cannot reach, so that they are clipped: `[G]`."""

    @abstractmethod
    def half_step(self, params: QuantParams, largest: float) -> float:
        """The largest rounding error of a value that is not clipped, for values of magnitude up to `largest`."""


formats: dict[str, Format] = {}
"""Every format by its name, in the order in which they are offered."""


def register(*members: Format) -> None:
    """Make formats reachable by their names."""
    formats.update({member.name: member for member in members})


def parse_format(name: str) -> Format:
    """The format of that name, or a `UserError` that lists the names there are."""
    if name not in formats:
        raise UserError(f"There is no format “{name}”.", f"Known: {', '.join(formats)}.", field="format")
    return formats[name]


for _module in ("integer", *sorted(m.name for m in pkgutil.iter_modules(__path__))):
    importlib.import_module(f"{__name__}.{_module}")
