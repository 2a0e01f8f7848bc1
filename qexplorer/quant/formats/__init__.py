"""Number formats. A format is data: which codes there are, what each stands for, and how its scale follows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from qexplorer.plugins import Instances
from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.params import Choices, QuantParams

Fields = frozenset[str]


@dataclass(frozen=True)
class Format(ABC):
    """One number format. `applies` are the spec's fields that mean something for it, `kind` says in a few words why
    the others do not, `defaults` are its own where the spec's do not suit it.
    """

    applies: ClassVar[Fields]
    kind: ClassVar[str]
    help: ClassVar[str]
    order: ClassVar[int]
    uniform: ClassVar[bool] = False
    """Whether levels are evenly spaced, one scale apart."""
    scaled: ClassVar[bool] = True
    """Whether values are divided by a scale first; a scale-free format is a plain cast."""
    learns: ClassVar[bool] = False
    """Whether `fit` looks at the values themselves."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name on the command line and in files, e.g. `int8`."""

    @property
    def text(self) -> str:
        """The name, which is all there is to say of it in one word."""
        return self.name

    @property
    @abstractmethod
    def family(self) -> str:
        """The formats that it is offered with, e.g. `INT — signed integer`."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What tells it from others of its family, e.g. `8`."""

    @property
    def title(self) -> str:
        """Its name for people, e.g. `INT8`."""
        return self.name.upper()

    @property
    @abstractmethod
    def storage_bits(self) -> float:
        """The bits that one value takes, without scales; no whole number where several share a byte."""

    @property
    def code_bits(self) -> int:
        """The bits of a code; fewer than are stored for TF32, which lies in a float32."""
        return math.ceil(self.storage_bits)

    @property
    def group_bits(self) -> int:
        """The bits that a group takes beside its codes, its scale and its zero point: those of a table, say."""
        return 0

    def size_bits(self, n: int, groups: int) -> int:
        """The bits of `n` values in so many groups, without scales of a type that the spec chooses."""
        return math.ceil(n * self.storage_bits) + groups * self.group_bits

    @property
    @abstractmethod
    def extent(self) -> tuple[float, float, int]:
        """The least and greatest code (or level, where levels are no integers), and the number of finite levels. The
        ends are infinite where levels are learned.
        """

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Values of the spec's fields that stand for “not chosen” with this format."""
        return {}

    def refusal(self, name: str, value: Any) -> str:
        """Why the spec's field `name` cannot have this value with this format; empty if it can."""
        del name, value
        return ""

    def fit(self, rows: Floats, lo: Floats, hi: Floats, choices: Choices) -> Steps[QuantParams]:
        """The parameters for the values `[G, N]` themselves, where a range does not tell all."""
        del rows
        yield Progress("Choosing the scale")
        return self.choose(lo, hi, choices)

    @abstractmethod
    def choose(self, lo: Floats, hi: Floats, choices: Choices) -> QuantParams:
        """Scale and zero point that cover the ranges `lo`..`hi`, `[G]` each."""

    @abstractmethod
    def quantize(self, rows: Floats, params: QuantParams) -> Codes:
        """The code of every value: `[G, N]` float32 → `[G, N]` int32. NaN has the code of zero."""

    @abstractmethod
    def dequantize(self, codes: Codes, params: QuantParams) -> Floats:
        """What the codes stand for: `[G, N]` int32 → `[G, N]` float32."""

    @abstractmethod
    def outside(self, rows: Floats, params: QuantParams) -> Mask:
        """Which values `[G, N]` the format cannot reach, so that they are clipped."""

    @abstractmethod
    def half_step(self, params: QuantParams, largest: float) -> float:
        """The largest rounding error of a value that is not clipped, for values of magnitude up to `largest`."""

    @abstractmethod
    def reach(self, params: QuantParams) -> tuple[Doubles, Doubles]:
        """The least and greatest finite value that each group can represent: `[G]`, `[G]`."""


formats: Instances[Format] = Instances("format")
formats.discover(__name__, list(__path__))
