"""How many values share one scale: all, those of a channel, of a group, or of a block."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.quant.arrays import AnyArray, Floats
from qexplorer.quant.layer_kinds import ROWS, LayerKind, Matrix, axis_of
from qexplorer.quant.tiling import Tiling
from qexplorer.settings import setting


class Granularity(Plugin):
    """A way to divide a tensor into groups that each have a scale of their own: all that differs is the `tiling`.

    Without an axis of its own it goes by the output axis of the layer's kind, which `for_kind` fills in; where no kind
    is known that is axis 0.
    """

    order: ClassVar[int]
    shared: ClassVar[bool] = False
    """Whether all values share one scale."""
    per_channel: ClassVar[bool] = False
    """Whether each index of one axis has one scale."""
    within_channels: ClassVar[bool] = False
    """Whether a channel may have many scales."""

    @abstractmethod
    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        """How a tensor of this shape, for which there is no `refusal`, is divided."""

    def for_kind(self, kind: LayerKind) -> "Granularity":
        """The same, with the output axis of a kind of layer where it has none of its own."""
        del kind
        return self

    @property
    def without_axis(self) -> "Granularity":
        """The same with none of its own."""
        return self

    @property
    def of_matrix(self) -> "Granularity":
        """The same for the matrix that the tiling of a tensor is cut from."""
        return self

    def rows(self, tensor: AnyArray) -> Floats:
        """The tensor as float32 rows, one a group: `[G, N]`. A short last group is filled up with NaN."""
        return self.tiling(tensor.shape).rows(tensor)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        """Undo `rows`: put `[G, N]` back into the tensor's shape."""
        return self.tiling(shape).restore(rows)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a `UserError` where a tensor of this shape cannot be divided so."""
        reason = self.refusal(shape)
        if reason:
            raise UserError(reason, "Choose another granularity.", field="granularity")

    @property
    def separates_channels(self) -> bool:
        """Whether no two indices of axis 0 share a scale."""
        return False

    def refusal(self, shape: tuple[int, ...]) -> str:
        """Why a tensor of this shape cannot be divided so; empty if it can."""
        del shape
        return ""

    def remark(self, shape: tuple[int, ...]) -> str:
        """What one should know about dividing such a tensor so; empty if there is nothing."""
        del shape
        return ""


granularities: Registry[Granularity] = Registry("granularity")
FIRST = ("", "0", ROWS)
"""The axes by which groups follow each other as values do."""


def _axis(*, minor: bool = False) -> Any:
    return setting("", "Axis", f"The axis of the channels, below 0 counted from the last; {ROWS}: all but the last",
                   empty="output axis", minor=minor)  # fmt: skip


class Along(Granularity):
    """What is divided along the channels of an `axis`, that of the layer's kind where it is empty."""

    axis: str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "axis", axis_of(self.axis))

    def for_kind(self, kind: LayerKind) -> Granularity:
        return self if self.axis or kind.output in ("", "0") else replace(self, axis=kind.output)

    @property
    def without_axis(self) -> Granularity:
        return replace(self, axis="")

    @property
    def of_matrix(self) -> Granularity:
        return replace(self, axis="0") if self.axis else self

    def refusal(self, shape: tuple[int, ...]) -> str:
        if self.axis in ("", ROWS) or -len(shape) <= int(self.axis) < len(shape):
            return ""
        axes = f"axes 0 to {len(shape) - 1}" if shape else "no axes"
        return f"Axis {self.axis} is not there: the tensor has {axes}."


@granularities.register
class PerTensor(Granularity):
    """One scale for the whole tensor: `[2, 3]` → rows `[1, 6]`."""

    name: ClassVar[str] = "tensor"
    title: ClassVar[str] = "Tensor"
    help: ClassVar[str] = "One scale for all values. Smallest, and the first to suffer from outliers."
    order: ClassVar[int] = 0
    shared: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        matrix = Matrix.of(shape, "")
        return Tiling(shape, matrix, matrix.high, matrix.wide, loose=True)


@granularities.register
@dataclass(frozen=True)
class PerChannel(Along):
    """One scale for each output channel, or each index of `axis`: `[32, 16, 3, 3]`, axis 0 → rows `[32, 144]`."""

    axis: str = _axis()
    name: ClassVar[str] = "channel"
    title: ClassVar[str] = "Channel"
    help: ClassVar[str] = "One scale for each output channel of the layer; with an axis, for each index of that."
    order: ClassVar[int] = 1
    per_channel: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        matrix = Matrix.of(shape, self.axis)
        return Tiling(shape, matrix, 1, matrix.wide, loose=True)

    def for_kind(self, kind: LayerKind) -> Granularity:
        return self if self.axis else replace(self, axis=kind.output)

    @property
    def separates_channels(self) -> bool:
        return self.axis in FIRST


@granularities.register
@dataclass(frozen=True)
class PerGroup(Along):
    """One scale for each `size` neighbours among the flattened inputs of each output channel, as GPTQ and torchao have
    it: `[4, 70]`, size 32 → rows `[12, 32]`; `[4, 70, 1, 1]` likewise.

    The last group of each channel may be short (ONNX allows it, and so does `[4, 70]`: 32 + 32 + 6). A channel shorter
    than a group is one group.
    """

    size: int = setting(32, "Group size", "Inputs of one output channel that share a scale", minimum=1, unit="values")
    axis: str = _axis(minor=True)
    name: ClassVar[str] = "group"
    title: ClassVar[str] = "Group"
    help: ClassVar[str] = "One scale for each run of inputs of one output channel. Precise; scales cost bits."
    order: ClassVar[int] = 2
    within_channels: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        return _groups(shape, self.axis, self.size)

    def for_kind(self, kind: LayerKind) -> Granularity:
        return LastAxis(self.size) if not self.axis and kind.output == ROWS else super().for_kind(kind)

    @property
    def separates_channels(self) -> bool:
        return self.axis in FIRST

    def remark(self, shape: tuple[int, ...]) -> str:
        wide = self.tiling(shape).wide
        return "" if wide >= self.size else f"An output channel has {_values(wide)}, fewer than a group: each is one."


@granularities.register
@dataclass(frozen=True)
class LastAxis(Granularity):
    """One scale for each `size` neighbours along the last axis, whatever it counts: `[5, 4, 3, 3]` → rows `[60, 3]`.

    The last group of each line may be short, and a line shorter than a group is one group. ONNX's blocked quantization
    and version 0.1 of this program read groups so.
    """

    size: int = setting(32, "Group size", "Neighbours along the last axis that share a scale", minimum=1, unit="values")
    name: ClassVar[str] = "last_axis"
    title: ClassVar[str] = "Last-axis group"
    help: ClassVar[str] = "One scale for each run of neighbours along the last axis, whatever it counts."
    order: ClassVar[int] = 3
    within_channels: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        return _groups(shape, ROWS, self.size)

    @property
    def of_matrix(self) -> Granularity:
        return PerGroup(self.size)

    @property
    def separates_channels(self) -> bool:
        return True

    def remark(self, shape: tuple[int, ...]) -> str:
        wide = self.tiling(shape).wide
        short = f"A line along the last axis has {_values(wide)}: each is a group, and scales cost more than they save."
        return "" if wide >= self.size else short


@granularities.register
@dataclass(frozen=True)
class PerBlock(Along):
    """One scale for each block of `height` × `width` of the matrix “output channel × all its inputs”.

    `[5, 70]` in blocks of 2 × 32 → rows `[9, 64]`.

    Blocks at the end may be short, and one wider than the matrix is as wide as that. A tensor of one axis is a single
    row of that matrix.
    """

    height: int = setting(128, "Height", "Output channels that share a scale", minimum=1, unit="channels")
    width: int = setting(128, "Width", "Inputs of each channel that share a scale", minimum=1, unit="values")
    axis: str = _axis(minor=True)
    name: ClassVar[str] = "block"
    title: ClassVar[str] = "Block"
    separator: ClassVar[str] = "x"
    help: ClassVar[str] = "One scale for each rectangle of the matrix “output channel × all its inputs”."
    order: ClassVar[int] = 4
    within_channels: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        matrix = _within(shape, self.axis)
        height, width = max(min(self.height, matrix.high), 1), max(min(self.width, matrix.wide), 1)
        return Tiling(shape, matrix, height, width, lines=True)

    @property
    def separates_channels(self) -> bool:
        return self.height == 1 and self.axis in FIRST

    def remark(self, shape: tuple[int, ...]) -> str:
        wide = self.tiling(shape).wide
        short = f"An output channel has {_values(wide)}, fewer than a block: scales cost more bits than usual."
        return "" if wide >= self.width else short


def _groups(shape: tuple[int, ...], axis: str, size: int) -> Tiling:
    matrix = _within(shape, axis)
    return Tiling(shape, matrix, 1, max(min(size, matrix.wide), 1))


def _within(shape: tuple[int, ...], axis: str) -> Matrix:
    """The matrix for what is divided within channels, of which a tensor of one axis has one."""
    return Matrix.of(shape, axis if len(shape) > 1 else "")


def _values(n: int) -> str:
    return "1 value" if n == 1 else f"{n:,} values"
