"""How a tensor is cut into groups, as data: one geometry for every granularity and every executor.

The tensor is taken for a matrix of channels × their inputs, which is cut into tiles of `height` × `width`; each tile is
a group.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.layer_kinds import Matrix


@dataclass(frozen=True)
class Piece:
    """Values that lie together: from place `start` in C order on, in the `shape` of a matrix that is divided like the
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
    """Tiles at the end may be short: they are filled up with NaN. Pieces are for a tensor that is the matrix itself:
    where the tiling is `loose`, a group may be divided among them; where it has `lines`, they are whole lines of tiles.

    A tensor [4, 70] in groups of 32 is a matrix of 4 × 70 and has tiles of 1 × 32: rows [12, 32].
    """

    shape: tuple[int, ...]
    matrix: Matrix
    height: int
    width: int
    loose: bool = False
    lines: bool = False

    @property
    def high(self) -> int:
        """How many channels the matrix has."""
        return self.matrix.high

    @property
    def wide(self) -> int:
        """How many values each of them has."""
        return self.matrix.wide

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
    def parts(self) -> int:
        """Into how many equal parts a group is cut so that each lies within one channel."""
        return self.height

    @property
    def together(self) -> int:
        """How many groups that follow each other lie in one channel, so that their sums may be one."""
        return 1 if self.loose or self.lines else max(self.across, 1)

    def rows(self, tensor: AnyArray) -> Floats:
        """The tensor as float32 rows, one a group: `[G, N]`."""
        rows: Floats = self.lay(np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape))
        return rows

    def lay(self, tensor: AnyArray) -> AnyArray:
        """The same in the tensor's own type: float32, float16, or uint16 for the bits of bfloat16."""
        axis = self.matrix.axis
        first = np.ascontiguousarray(np.moveaxis(tensor, axis, 0)) if axis else tensor
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
        axis = self.matrix.axis
        if not axis:
            return matrix.reshape(self.shape)
        moved = (self.shape[axis], *self.shape[:axis], *self.shape[axis + 1 :])
        return np.moveaxis(matrix.reshape(moved), 0, axis)

    def sizes(self) -> Counts:
        """How many values each group has, those that fill it up left out: `[G]`."""
        high = np.minimum(self.height, self.high - np.arange(self.down) * self.height)
        wide = np.minimum(self.width, self.wide - np.arange(self.across) * self.width)
        return np.outer(high, wide).reshape(-1)

    def group_of(self, places: Counts) -> Counts:
        """The group of each place of the matrix, in C order."""
        row, column = np.divmod(places, self.wide)
        return row // self.height * self.across + column // self.width

    def start_of(self, group: int) -> int:
        """The place of the first value of a group."""
        tile, beside = divmod(group, self.across)
        return tile * self.height * self.wide + beside * self.width

    def by_channel(self, sums: Doubles) -> Doubles:
        """Sums of each part, or of those that lie `together`, added up for each channel: `[G·parts]` → `[C]`."""
        if self.height == 1 and not self.lines:
            return sums.reshape(self.high if sums.size else 1, -1).sum(axis=1)
        return sums.reshape(self.down, self.across, self.height).sum(axis=1).reshape(-1)[: self.high]

    def pieces(self, most: int) -> Iterator[Piece]:
        """Cut the matrix into pieces of about `most` values, in C order."""
        if not self.lines or self.high == 1:
            yield from self._stretches(most)
            return
        step = max(most // max(self.wide, 1) // self.height, 1) * self.height
        whole = self.high // self.height * self.height if self.wide else 0
        for top in range(0, whole, step):
            lines = self.high - top if top + step >= whole else step  # short blocks go with the last ones that are not
            yield self._piece(top, 0, lines, self.wide)

    def whole_groups(self, most: int) -> Iterator[Piece]:
        """The same, with no group divided among pieces."""
        n = self.high * self.wide
        return self.pieces(max(most, n // max(self.groups, 1)) if self.loose else most)

    def _stretches(self, most: int) -> Iterator[Piece]:
        """Whole channels, or of each channel a whole number of groups where it is larger than `most`."""
        if not self.wide:
            return
        if self.wide <= most:
            step = most // self.wide
            for top in range(0, self.high, step):
                yield self._piece(top, 0, min(step, self.high - top), self.wide)
            return
        step = most if self.loose else max(most // self.width, 1) * self.width
        for top, left in itertools.product(range(self.high), range(0, self.wide, step)):
            yield self._piece(top, left, 1, min(step, self.wide - left))

    def _piece(self, top: int, left: int, lines: int, length: int) -> Piece:
        start = top * self.wide + left
        first = top // self.height * self.across + left // self.width
        groups = range(first, first + -(-lines // self.height) * -(-length // self.width))
        channels = range(top, top + lines)
        return Piece(start, (lines, length), groups, channels,
                     start if self.loose else first * self.height * self.width)  # fmt: skip


def _gap(dtype: "np.dtype[Any]") -> Any:
    """What fills up a short group: NaN, for bfloat16 in its bits."""
    return 0x7FC0 if dtype == np.uint16 else np.nan
