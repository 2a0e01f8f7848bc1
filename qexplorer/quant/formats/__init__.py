"""Number formats. A format is data: which codes there are, what each stands for, and how its scale follows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from qexplorer.plugins import Instances
from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import Codes, Doubles, Floats, Mask
from qexplorer.quant.level_rules import LevelEnds, LevelRule
from qexplorer.quant.params import Choices, QuantParams

Fields = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """One number format.

    `name` is what the command line and files call it (`int8`), `title` what people do (`INT8`); it is offered with
    others of its `family` and told from them by its `label`. A value takes `storage_bits`, without scales, which is no
    whole number where several share a byte; a code has `code_bits`, fewer than are stored for TF32, which lies in a
    float32. A group takes `group_bits` beside its codes, its scale and its zero point: those of a table, say. `extent`
    is the least and the greatest code (or level, where levels are no integers), and the number of finite levels; the
    ends are infinite where levels are learned. `defaults` are values of the spec's fields that stand for “not chosen”
    where the spec's own do not suit. `applies` are the spec's fields that mean something for it, `kind` says in a few
    words why the others do not.
    """

    name: str
    family: str
    label: str
    storage_bits: float
    extent: tuple[float, float, int]
    title: str = ""
    code_bits: int = 0
    group_bits: int = 0
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    order: int = 100

    applies: ClassVar[Fields]
    kind: ClassVar[str]
    help: ClassVar[str]
    uniform: ClassVar[bool] = False
    """Whether codes are whole numbers, one scale apart."""
    scaled: ClassVar[bool] = True
    """Whether values are divided by a scale first; a scale-free format is a plain cast."""
    learns: ClassVar[bool] = False
    """Whether `fit` looks at the values themselves."""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name.upper())
        if not self.code_bits:
            object.__setattr__(self, "code_bits", math.ceil(self.storage_bits))

    @property
    def text(self) -> str:
        """The name, which is all there is to say of it in one word."""
        return self.name

    @property
    @abstractmethod
    def rule(self) -> LevelRule:
        """How quotients become levels."""

    @abstractmethod
    def level_ends(self, params: QuantParams) -> LevelEnds:
        """The ends and tables with which they do."""

    def size_bits(self, n: int, groups: int) -> int:
        """The bits of `n` values in so many groups, without scales of a type that the spec chooses."""
        return math.ceil(n * self.storage_bits) + groups * self.group_bits

    def refusal(self, name: str, value: Any) -> str:
        """Why the spec's field `name` cannot have this value with this format; empty if it can."""
        del name, value
        return ""

    def remark(self, wide: int, shape: tuple[int, ...]) -> str:
        """What one should know about a tensor of this shape in this format, an output channel having `wide` values;
        empty if there is nothing.
        """
        del wide, shape
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
