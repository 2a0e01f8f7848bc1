"""How many values share one scale: all, those of a channel, of a group, or of a block."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.quant.arrays import AnyArray, Floats
from qexplorer.quant.tiling import Tiling
from qexplorer.settings import setting


class Granularity(Plugin):
    """A way to divide a tensor into groups that each have a scale of their own: all that differs is the `tiling`."""

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
        """Whether every output channel, the indices of axis 0, has scales of its own."""
        return False

    def channel_axis(self, axes: int) -> int:
        """The axis of channels in a tensor of so many axes."""
        del axes
        return 0

    @property
    def neighbours(self) -> int:
        """How many values along the last axis belong together."""
        return 1

    @property
    def lines(self) -> int | None:
        """How many output channels belong together; `None` where that is of no account."""
        return None

    def refusal(self, shape: tuple[int, ...]) -> str:
        """Why a tensor of this shape cannot be divided so; empty if it can."""
        del shape
        return ""

    def remark(self, shape: tuple[int, ...]) -> str:
        """What one should know about dividing such a tensor so; empty if there is nothing."""
        del shape
        return ""


granularities: Registry[Granularity] = Registry("granularity")


@granularities.register
class PerTensor(Granularity):
    """One scale for the whole tensor: `[2, 3]` → rows `[1, 6]`."""

    name: ClassVar[str] = "tensor"
    title: ClassVar[str] = "Tensor"
    help: ClassVar[str] = "One scale for all values. Smallest, and the first to suffer from outliers."
    order: ClassVar[int] = 0
    shared: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        high, wide = _matrix(shape)
        return Tiling(shape, high, wide, high, wide, channels=high, cut=shape, loose=True)


@granularities.register
@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale for each index of `axis`: `[32, 16, 3, 3]`, axis 0 → rows `[32, 144]`."""

    axis: int = setting(0, "Axis", "The axis whose every index has a scale; below 0 it counts from the last")
    name: ClassVar[str] = "channel"
    title: ClassVar[str] = "Channel"
    help: ClassVar[str] = "One scale for each output channel (axis 0 of a convolution or linear weight)."
    order: ClassVar[int] = 1
    per_channel: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        axis = self.axis % len(shape)
        high, wide = shape[axis], math.prod(shape[:axis]) * math.prod(shape[axis + 1 :])
        return Tiling(shape, high, wide, 1, wide, channels=high, cut=shape, axis=axis, loose=True)

    @property
    def separates_channels(self) -> bool:
        return self.axis == 0

    def channel_axis(self, axes: int) -> int:
        return self.axis % axes if axes and -axes <= self.axis < axes else 0

    def refusal(self, shape: tuple[int, ...]) -> str:
        if -len(shape) <= self.axis < len(shape):
            return ""
        axes = f"axes 0 to {len(shape) - 1}" if shape else "no axes"
        return f"Axis {self.axis} is not there: the tensor has {axes}."


@granularities.register
@dataclass(frozen=True)
class PerGroup(Granularity):
    """One scale for each `size` neighbours along the last axis: `[4, 70]`, size 32 → rows `[12, 32]`.

    The last group of each line may be short (ONNX allows it, and so does `[4, 70]`: 32 + 32 + 6). A line shorter than
    a group is one group.
    """

    size: int = setting(32, "Group size", "Neighbours along the last axis that share a scale", minimum=1, unit="values")
    name: ClassVar[str] = "group"
    title: ClassVar[str] = "Group"
    help: ClassVar[str] = "One scale for each run of neighbours along the last axis. Precise; scales cost bits."
    order: ClassVar[int] = 2
    within_channels: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        wide = max(shape[-1], 1) if shape else 1
        channels = shape[0] if len(shape) > 1 else 1
        return Tiling(shape, math.prod(shape) // wide, wide, 1, min(self.size, wide), channels=channels, cut=shape)

    @property
    def separates_channels(self) -> bool:
        return True

    @property
    def neighbours(self) -> int:
        return self.size

    def remark(self, shape: tuple[int, ...]) -> str:
        tiling = self.tiling(shape)
        if tiling.width == self.size:
            return ""
        values = "1 value" if tiling.wide == 1 else f"{tiling.wide} values"
        return f"A line along the last axis has {values}: each is a group, and scales cost more bits than they save."


@granularities.register
@dataclass(frozen=True)
class PerBlock(Granularity):
    """One scale for each block of `height` × `width` of the matrix “axis 0 × all others”.

    `[5, 70]` in blocks of 2 × 32 → rows `[9, 64]`.

    Blocks at the end may be short, and one wider than the matrix is as wide as that. A tensor of one axis is a single
    row of that matrix.
    """

    height: int = setting(128, "Block height", "Output channels that share a scale", minimum=1, unit="channels")
    width: int = setting(128, "Block width", "Values of each channel that share a scale", minimum=1, unit="values")
    name: ClassVar[str] = "block"
    title: ClassVar[str] = "Block"
    separator: ClassVar[str] = "x"
    help: ClassVar[str] = "One scale for each rectangle of the matrix “output channel × all its weights”."
    order: ClassVar[int] = 3
    within_channels: ClassVar[bool] = True

    def tiling(self, shape: tuple[int, ...]) -> Tiling:
        high, wide = _matrix(shape)
        cut = (high, wide) if len(shape) > 1 else shape
        height, width = max(min(self.height, high), 1), max(min(self.width, wide), 1)
        return Tiling(shape, high, wide, height, width, channels=high, cut=cut, lines=True)

    @property
    def lines(self) -> int:
        return self.height

    def remark(self, shape: tuple[int, ...]) -> str:
        tiling = self.tiling(shape)
        if tiling.width == self.width:
            return ""
        values = "1 value" if tiling.wide == 1 else f"{tiling.wide} values"
        return f"An output channel has {values}, fewer than a block: scales cost more bits than usual."


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the matrix “axis 0 × all others”; a tensor of one axis is a single row."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))
