"""How a tensor is cut into groups, as data: one geometry for every granularity and every executor.

The tensor, with `axis` put first, is taken for a matrix of `high` × `wide`, which is cut into tiles of `height` ×
`width`; each tile is a group.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qexplorer.quant.arrays import AnyArray, Doubles, Floats


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


@dataclass(frozen=True)
class Tiling:
    """Tiles at the end may be short: they are filled up with NaN. `channels` are the indices of axis 0, or of the axis
    that is divided. Pieces are cut from the shape `cut`: where it is `loose`, a group may be divided among them; where
    it has `lines`, they are whole lines of tiles.

    A tensor [4, 70] in groups of 32 is a matrix of 4 × 70 and has tiles of 1 × 32: rows [12, 32].
    """

    shape: tuple[int, ...]
    high: int
    wide: int
    height: int
    width: int
    channels: int
    cut: tuple[int, ...]
    axis: int = 0
    loose: bool = False
    lines: bool = False

    @property
    def down(self) -> int:
        """How many tiles lie below each other."""
        return 1 if self.height == self.high else -(-self.high // self.height)

    @property
    def across(self) -> int:
        """How many tiles lie beside each other."""
        return 1 if self.width == self.wide else -(-self.wide // self.width)

    @property
    def groups(self) -> int:
        """How many tiles there are."""
        return self.down * self.across

    @property
    def in_order(self) -> bool:
        """Whether the values of a piece follow each other in the order of all rows, too."""
        return not self.axis

    @property
    def parts(self) -> int:
        """Into how many equal parts a group is cut so that each lies within one channel."""
        return self.height

    @property
    def together(self) -> int:
        """How many groups that follow each other lie in one channel, so that their sums may be one."""
        return 1 if self.loose or self.lines else max(self.groups // max(self.channels, 1), 1)

    def rows(self, tensor: AnyArray) -> Floats:
        """The tensor as float32 rows, one a group: `[G, N]`."""
        rows: Floats = self.lay(np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape))
        return rows

    def lay(self, tensor: AnyArray) -> AnyArray:
        """The same in the tensor's own type: float32, float16, or uint16 for the bits of bfloat16."""
        first = np.ascontiguousarray(np.moveaxis(tensor, self.axis, 0)) if self.axis else tensor
        matrix = first.reshape(self.high, self.wide)
        short = ((0, self.down * self.height - self.high), (0, self.across * self.width - self.wide))
        if short != ((0, 0), (0, 0)):
            matrix = np.pad(matrix, short, constant_values=_gap(tensor.dtype))
        tiles = matrix.reshape(self.down, self.height, self.across, self.width).swapaxes(1, 2)
        return np.ascontiguousarray(tiles).reshape(self.groups, self.height * self.width)

    def restore(self, rows: AnyArray) -> AnyArray:
        """Undo `rows`: put `[G, N]` back into the tensor's shape."""
        tiles = rows.reshape(self.down, self.across, self.height, self.width).swapaxes(1, 2)
        matrix = tiles.reshape(self.down * self.height, self.across * self.width)[: self.high, : self.wide]
        if not self.axis:
            return matrix.reshape(self.shape)
        moved = (self.shape[self.axis], *self.shape[: self.axis], *self.shape[self.axis + 1 :])
        return np.moveaxis(matrix.reshape(moved), 0, self.axis)

    def by_channel(self, sums: Doubles) -> Doubles:
        """Sums of each part, or of those that lie `together`, added up for each channel: `[G·parts]` → `[C]`."""
        if self.height == 1 and not self.lines:
            return sums.reshape(self.channels if sums.size else 1, -1).sum(axis=1)
        return sums.reshape(self.down, self.across, self.height).sum(axis=1).reshape(-1)[: self.high]

    def pieces(self, most: int) -> Iterator[Piece]:
        """Cut the tensor into pieces of about `most` values, in C order."""
        if not self.lines or self.high == 1:
            for at, start, box in _boxes(self.cut, most, 1 if self.loose else self.width):
                yield self._piece(at, start, box)
            return
        step = max(most // max(self.wide, 1) // self.height, 1) * self.height
        whole = self.high // self.height * self.height if self.wide else 0
        for top in range(0, whole, step):
            lines = self.high - top if top + step >= whole else step  # short blocks go with the last ones that are not
            yield self._piece((top, 0), top * self.wide, (lines, self.wide))

    def whole_groups(self, most: int) -> Iterator[Piece]:
        """The same, with no group divided among pieces: where their axis is not the first one they are spread over the
        tensor, which is one piece.
        """
        n = math.prod(self.shape)
        return self.pieces(max(most, n if self.axis else n // max(self.groups, 1)) if self.loose else most)

    def _piece(self, at: tuple[int, ...], start: int, box: tuple[int, ...]) -> Piece:
        if self.axis:
            groups = range(at[self.axis], at[self.axis] + box[self.axis])
            return Piece(start, box, groups, groups, start)
        line, place = divmod(start, self.wide)
        first = line // self.height * self.across + place // self.width
        lines, length = max(math.prod(box) // self.wide, 1), min(math.prod(box), self.wide)
        groups = range(first, first + -(-lines // self.height) * -(-length // self.width))
        channels = range(at[0], at[0] + box[0]) if len(self.cut) > 1 else range(1)
        if self.loose and self.groups == self.channels:
            channels = groups
        return Piece(start, box, groups, channels, start if self.loose else first * self.height * self.width)


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
