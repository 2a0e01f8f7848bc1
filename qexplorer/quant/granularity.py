"""How many values share one scale: all, those of a channel, of a group, or of a block."""

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.plugins import Plugin, Registry
from qexplorer.quant.arrays import AnyArray, Doubles, Floats
from qexplorer.settings import setting


@dataclass(frozen=True)
class Piece:
    """Values that lie together: from place `start` in C order on, in the shape of a tensor that is divided like the
    whole one. Its groups are `groups` of the whole and its channels `channels`; in the order of all rows its first
    value has the place `first`.
    """

    start: int
    shape: tuple[int, ...]
    groups: range
    channels: range
    first: int

    @property
    def stop(self) -> int:
        """The place after the last value."""
        return self.start + math.prod(self.shape)


class Granularity(Plugin):
    """A way to divide a tensor into groups that each have a scale of their own."""

    order: ClassVar[int]

    def rows(self, tensor: AnyArray) -> Floats:
        """The tensor as float32 rows, one a group: `[G, N]`. A short last group is filled up with NaN."""
        rows: Floats = self.lay(_float32(tensor))
        return rows

    @abstractmethod
    def lay(self, tensor: AnyArray) -> AnyArray:
        """The same in the tensor's own type: float32, float16, or uint16 for the bits of bfloat16."""

    @abstractmethod
    def pieces(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        """Cut a tensor into pieces of about `most` values, in C order."""

    def whole_groups(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        """The same, with no group divided among pieces, however large it is."""
        return self.pieces(shape, most)

    def in_order(self, shape: tuple[int, ...]) -> bool:
        """Whether the values of a piece follow each other in the order of all rows, too."""
        del shape
        return True

    @abstractmethod
    def groups(self, shape: tuple[int, ...]) -> int:
        """How many groups a tensor has."""

    @abstractmethod
    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        """Undo `rows`: put `[G, N]` back into the tensor's shape."""

    def channels(self, shape: tuple[int, ...]) -> int:
        """How many channels it has: the indices of axis 0, or of the axis that is divided."""
        return shape[0] if len(shape) > 1 else 1

    def parts(self, shape: tuple[int, ...]) -> int:
        """Into how many equal parts a group is cut so that each lies within one channel."""
        del shape
        return 1

    def together(self, shape: tuple[int, ...]) -> int:
        """How many groups that follow each other lie in one channel, so that their sums may be one."""
        del shape
        return 1

    def by_channel(self, sums: Doubles, shape: tuple[int, ...]) -> Doubles:
        """Sums of each part, or of those that lie `together`, added up for each channel: `[G·parts]` → `[C]`."""
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

    def lay(self, tensor: AnyArray) -> AnyArray:
        return tensor.reshape(1, -1)

    def groups(self, shape: tuple[int, ...]) -> int:
        return 1

    def pieces(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        for at, start, box in _boxes(shape, most):
            yield Piece(start, box, range(1), _first_axis(shape, at, box), start)

    def whole_groups(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        return self.pieces(shape, max(most, math.prod(shape)))

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        return rows.reshape(shape)

    def parts(self, shape: tuple[int, ...]) -> int:
        return shape[0] if len(shape) > 1 and 0 not in shape else 1


@granularities.register
@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale for each index of `axis`: `[32, 16, 3, 3]`, axis 0 → rows `[32, 144]`."""

    axis: int = setting(0, "Axis", "The axis whose every index has a scale; below 0 it counts from the last")
    name: ClassVar[str] = "channel"
    title: ClassVar[str] = "Channel"
    help: ClassVar[str] = "One scale for each output channel (axis 0 of a convolution or linear weight)."
    order: ClassVar[int] = 1

    def lay(self, tensor: AnyArray) -> AnyArray:
        first = np.moveaxis(tensor, self.axis, 0)
        return np.ascontiguousarray(first).reshape(first.shape[0], -1 if first.size else 0)

    def groups(self, shape: tuple[int, ...]) -> int:
        return shape[self.axis]

    def channels(self, shape: tuple[int, ...]) -> int:
        return shape[self.axis]

    def pieces(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        axis = self.axis % len(shape)
        for at, start, box in _boxes(shape, most):
            groups = range(at[axis], at[axis] + box[axis])
            yield Piece(start, box, groups, groups, start)

    def in_order(self, shape: tuple[int, ...]) -> bool:
        return not shape or self.axis % len(shape) == 0

    def whole_groups(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        """Where channels lie on another axis than the first they are spread over the tensor: one piece."""
        whole = math.prod(shape)
        return self.pieces(shape, max(most, whole if self.axis % len(shape) else whole // max(shape[0], 1)))

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

    size: int = setting(32, "Group size", "Neighbours along the last axis that share a scale", minimum=1, unit="values")
    name: ClassVar[str] = "group"
    title: ClassVar[str] = "Group"
    help: ClassVar[str] = "One scale for each run of neighbours along the last axis. Precise; scales cost bits."
    order: ClassVar[int] = 2

    def lay(self, tensor: AnyArray) -> AnyArray:
        length, size = self._cut(tensor.shape)
        lines = tensor.reshape(-1, length)
        short = -length % size
        if short:
            lines = np.pad(lines, ((0, 0), (0, short)), constant_values=_gap(tensor.dtype))
        return lines.reshape(-1, size)

    def groups(self, shape: tuple[int, ...]) -> int:
        length, size = self._cut(shape)
        return math.prod(shape[:-1]) * -(-length // size) if 0 not in shape else 0

    def pieces(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        length, size = self._cut(shape)
        in_line = -(-length // size)
        for at, start, box in _boxes(shape, most, size):
            first = start // length * in_line + start % length // size
            groups = range(first, first + math.prod(box[:-1]) * -(-(box[-1] if box else 1) // size))
            yield Piece(start, box, groups, _first_axis(shape, at, box), first * size)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        length, size = self._cut(shape)
        return rows.reshape(-1, length + -length % size)[:, :length].reshape(shape)

    def together(self, shape: tuple[int, ...]) -> int:
        return max(self.groups(shape) // self.channels(shape), 1) if 0 not in shape else 1

    def by_channel(self, sums: Doubles, shape: tuple[int, ...]) -> Doubles:
        return sums.reshape(self.channels(shape) if sums.size else 1, -1).sum(axis=1)

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

    height: int = setting(128, "Block height", "Output channels that share a scale", minimum=1, unit="channels")
    width: int = setting(128, "Block width", "Values of each channel that share a scale", minimum=1, unit="values")
    name: ClassVar[str] = "block"
    title: ClassVar[str] = "Block"
    separator: ClassVar[str] = "x"
    help: ClassVar[str] = "One scale for each rectangle of the matrix “output channel × all its weights”."
    order: ClassVar[int] = 3

    def lay(self, tensor: AnyArray) -> AnyArray:
        high, wide, height, width = self._cut(tensor.shape)
        matrix = tensor.reshape(high, wide)
        short = ((0, -high % height), (0, -wide % width))
        if short != ((0, 0), (0, 0)):
            matrix = np.pad(matrix, short, constant_values=_gap(tensor.dtype))
        tiles = matrix.reshape(len(matrix) // height, height, matrix.shape[1] // width, width)
        return np.ascontiguousarray(tiles.swapaxes(1, 2)).reshape(-1, height * width)

    def groups(self, shape: tuple[int, ...]) -> int:
        high, wide, height, width = self._cut(shape)
        return -(-high // height) * -(-wide // width) if 0 not in shape else 0

    def pieces(self, shape: tuple[int, ...], most: int) -> Iterator[Piece]:
        high, wide, height, width = self._cut(shape)
        in_line = -(-wide // width)
        if high == 1:
            for _, start, box in _boxes((wide,) if len(shape) == 1 else (1, wide) if shape else (), most, width):
                first = start // width
                groups = range(first, first + -(-math.prod(box) // width))
                yield Piece(start, box, groups, range(1), first * width)
            return
        step = max(most // max(wide, 1) // height, 1) * height
        whole = high // height * height if wide else 0
        for top in range(0, whole, step):
            lines = high - top if top + step >= whole else step  # short blocks go with the last ones that are not
            first = top // height * in_line
            groups = range(first, first + -(-lines // height) * in_line)
            yield Piece(top * wide, (lines, wide), groups, range(top, top + lines), first * height * width)

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


def _gap(dtype: "np.dtype[Any]") -> Any:
    """What fills up a short group: NaN, for bfloat16 in its bits."""
    return 0x7FC0 if dtype == np.uint16 else np.nan


def _boxes(shape: tuple[int, ...], most: int, unit: int = 1) -> Iterator[tuple[tuple[int, ...], int, tuple[int, ...]]]:
    """Cut a tensor, in C order, into parts of at most about `most` values that lie together: where each begins, as
    indices and as a place, and its shape. The last axis is cut at multiples of `unit`.
    """
    if not shape:
        yield (), 0, ()
        return
    if 0 in shape:
        return
    axis, inner = 0, math.prod(shape[1:])
    while inner > most and axis < len(shape) - 1:
        axis += 1
        inner = math.prod(shape[axis + 1 :])
    step = max(1, most // inner)
    if axis == len(shape) - 1:
        step = max(step // unit, 1) * unit
    start = 0
    for outer in itertools.product(*(range(n) for n in shape[:axis])):
        for first in range(0, shape[axis], step):
            box = (*(1 for _ in outer), min(step, shape[axis] - first), *shape[axis + 1 :])
            yield (*outer, first, *(0 for _ in shape[axis + 1 :])), start, box
            start += math.prod(box)


def _first_axis(shape: tuple[int, ...], at: tuple[int, ...], box: tuple[int, ...]) -> range:
    """The channels of a part: its indices on the first axis, or the only one where there are no others."""
    return range(at[0], at[0] + box[0]) if len(shape) > 1 else range(1)


def _float32(tensor: AnyArray) -> Floats:
    return np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape)
