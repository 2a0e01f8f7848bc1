"""How many values share one scale: all, those of a channel, of a group, or of a block."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.quant.arrays import AnyArray, Doubles, Floats


class Granularity(Plugin):
    """A way to divide a tensor into groups that each have a scale of their own."""

    order: ClassVar[int]

    @abstractmethod
    def rows(self, tensor: AnyArray) -> Floats:
        """The tensor as float32 rows, one a group: `[G, N]`. A short last group is filled up with NaN."""

    @abstractmethod
    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        """Undo `rows`: put `[G, N]` back into the tensor's shape."""

    def parts(self, shape: tuple[int, ...]) -> int:
        """Into how many equal parts a group is cut so that each lies within one channel."""
        del shape
        return 1

    def by_channel(self, sums: Doubles, shape: tuple[int, ...]) -> Doubles:
        """Sums of each part, added up for each channel: `[G·parts]` → `[C]`."""
        del shape
        return sums

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
@dataclass(frozen=True)
class PerTensor(Granularity):
    """One scale for the whole tensor: `[2, 3]` → rows `[1, 6]`."""

    name: ClassVar[str] = "tensor"
    title: ClassVar[str] = "Tensor"
    help: ClassVar[str] = "One scale for all values. Smallest, and the first to suffer from outliers."
    order: ClassVar[int] = 0

    def rows(self, tensor: AnyArray) -> Floats:
        return _float32(tensor).reshape(1, -1)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        return rows.reshape(shape)

    def parts(self, shape: tuple[int, ...]) -> int:
        return shape[0] if len(shape) > 1 and 0 not in shape else 1


@granularities.register
@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale for each index of `axis`: `[32, 16, 3, 3]`, axis 0 → rows `[32, 144]`."""

    axis: int = 0
    name: ClassVar[str] = "channel"
    title: ClassVar[str] = "Channel"
    help: ClassVar[str] = "One scale for each output channel (axis 0 of a convolution or linear weight)."
    order: ClassVar[int] = 1

    def rows(self, tensor: AnyArray) -> Floats:
        first = np.moveaxis(tensor, self.axis, 0)
        return _float32(first).reshape(first.shape[0], -1 if first.size else 0)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        axis = self.axis % len(shape)
        moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
        return np.moveaxis(rows.reshape(moved), 0, axis)

    def refusal(self, shape: tuple[int, ...]) -> str:
        if -len(shape) <= self.axis < len(shape):
            return ""
        axes = f"axes 0 to {len(shape) - 1}" if shape else "no axes"
        return f"Axis {self.axis} is not there: the tensor has {axes}."


@granularities.register
@dataclass(frozen=True)
class PerGroup(Granularity):
    """One scale for each `size` neighbours along the last axis: `[4, 70]`, size 32 → rows `[12, 32]`.

    The last group of each line may be short (ONNX allows it, and so does `[4, 70]`: 32 + 32 + 6).
    """

    size: int = 32
    name: ClassVar[str] = "group"
    title: ClassVar[str] = "Group"
    help: ClassVar[str] = "One scale for each run of neighbours along the last axis. Precise; scales cost bits."
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"A group of {self.size} values is not possible.", "Take 1 or more.",
                            field="granularity")  # fmt: skip

    def rows(self, tensor: AnyArray) -> Floats:
        length, size = self._cut(tensor.shape)
        lines = _float32(tensor).reshape(-1, length)
        short = -length % size
        if short:
            lines = np.pad(lines, ((0, 0), (0, short)), constant_values=np.nan)
        return lines.reshape(-1, size)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        length, size = self._cut(shape)
        return rows.reshape(-1, length + -length % size)[:, :length].reshape(shape)

    def by_channel(self, sums: Doubles, shape: tuple[int, ...]) -> Doubles:
        return sums.reshape(shape[0] if len(shape) > 1 and sums.size else 1, -1).sum(axis=1)

    def remark(self, shape: tuple[int, ...]) -> str:
        length, size = self._cut(shape)
        if size == self.size:
            return ""
        values = "1 value" if length == 1 else f"{length} values"
        return f"A line along the last axis has {values}: each is a group, and scales cost more bits than they save."

    def _cut(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The length of a line, and of the groups in it: a line shorter than a group is one group."""
        length = max(shape[-1], 1) if shape else 1
        return length, min(self.size, length)


@granularities.register
@dataclass(frozen=True)
class PerBlock(Granularity):
    """One scale for each block of `height` × `width` of the matrix “axis 0 × all others”.

    `[5, 70]` in blocks of 2 × 32 → rows `[9, 64]`.

    Blocks at the end may be short. A tensor of one axis is a single row of that matrix.
    """

    height: int = 128
    width: int = 128
    name: ClassVar[str] = "block"
    title: ClassVar[str] = "Block"
    separator: ClassVar[str] = "x"
    help: ClassVar[str] = "One scale for each rectangle of the matrix “output channel × all its weights”."
    order: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise UserError(f"A block of {self.height} × {self.width} is not possible.", "Take 1 or more.",
                            field="granularity")  # fmt: skip

    def rows(self, tensor: AnyArray) -> Floats:
        high, wide, height, width = self._cut(tensor.shape)
        matrix = _float32(tensor).reshape(high, wide)
        short = ((0, -high % height), (0, -wide % width))
        if short != ((0, 0), (0, 0)):
            matrix = np.pad(matrix, short, constant_values=np.nan)
        tiles = matrix.reshape(len(matrix) // height, height, matrix.shape[1] // width, width)
        return np.ascontiguousarray(tiles.swapaxes(1, 2)).reshape(-1, height * width)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        high, wide, height, width = self._cut(shape)
        tiles = rows.reshape(-(-high // height), -(-wide // width), height, width).swapaxes(1, 2)
        matrix = tiles.reshape(high + -high % height, wide + -wide % width)
        return matrix[:high, :wide].reshape(shape)

    def parts(self, shape: tuple[int, ...]) -> int:
        return self._cut(shape)[2]

    def by_channel(self, sums: Doubles, shape: tuple[int, ...]) -> Doubles:
        high, wide, height, width = self._cut(shape)
        tiles = sums.reshape(-(-high // height), -(-wide // width), height).sum(axis=1)
        return tiles.reshape(-1)[:high]

    def remark(self, shape: tuple[int, ...]) -> str:
        _, wide, _, width = self._cut(shape)
        if width == self.width:
            return ""
        values = "1 value" if wide == 1 else f"{wide} values"
        return f"An output channel has {values}, fewer than a block: scales cost more bits than usual."

    def _cut(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Height and width of the matrix, and of the blocks in it: one wider than the matrix is as wide as that."""
        high = shape[0] if len(shape) > 1 else 1
        wide = math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)
        return high, wide, max(min(self.height, high), 1), max(min(self.width, wide), 1)


def _float32(tensor: AnyArray) -> Floats:
    return np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape)
