"""The rows of `quant.granularity`, one a group, made of torch tensors: the same values in the same places."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad

from qexplorer.errors import UserError
from qexplorer.quant.granularity import Granularity, PerBlock, PerChannel, PerGroup, PerTensor


@dataclass(frozen=True)
class Tiles:
    """A tensor of `shape`, with `axis` put first, as a matrix of `high` × `wide` that is cut into tiles.

    Tiles at the end may be short: they are filled up with NaN.
    """

    shape: tuple[int, ...]
    axis: int
    high: int
    wide: int
    height: int
    width: int

    @property
    def groups(self) -> int:
        """How many tiles there are."""
        return -(-self.high // self.height) * -(-self.wide // self.width)

    def rows(self, x: Tensor) -> Tensor:
        """The tiles of `x` [shape] as rows `[G, N]`."""
        matrix = (x.movedim(self.axis, 0) if self.axis else x).reshape(self.high, self.wide)
        below, right = -self.high % self.height, -self.wide % self.width
        if below or right:
            matrix = pad(matrix, (0, right, 0, below), value=math.nan)
        down, across = -(-self.high // self.height), -(-self.wide // self.width)
        tiles = matrix.reshape(down, self.height, across, self.width)
        return tiles.transpose(1, 2).reshape(self.groups, self.height * self.width)

    def restore(self, rows: Tensor) -> Tensor:
        """Undo `rows`: `[G, N]` → `[shape]`."""
        down, across = -(-self.high // self.height), -(-self.wide // self.width)
        tiles = rows.reshape(down, across, self.height, self.width).transpose(1, 2)
        matrix = tiles.reshape(down * self.height, across * self.width)[: self.high, : self.wide]
        if not self.axis:
            return matrix.reshape(self.shape)
        others = (*self.shape[: self.axis], *self.shape[self.axis + 1 :])
        return matrix.reshape(self.shape[self.axis], *others).movedim(0, self.axis)


def tiles_for(granularity: Granularity, shape: tuple[int, ...]) -> Tiles:
    """How a tensor of this shape, with at least one value, is divided; a `UserError` says why it cannot be."""
    refusal = granularity.refusal(shape)
    if refusal:
        raise UserError(refusal, field="granularity")
    n = math.prod(shape)
    match granularity:
        case PerTensor():
            return Tiles(shape, 0, 1, n, 1, n)
        case PerChannel():
            axis = granularity.axis % len(shape)
            wide = n // shape[axis]
            return Tiles(shape, axis, shape[axis], wide, 1, wide)
        case PerGroup():
            wide = shape[-1] if shape else 1
            return Tiles(shape, 0, n // wide, wide, 1, min(granularity.size, wide))
        case PerBlock():
            high = shape[0] if len(shape) > 1 else 1
            wide = n // high
            return Tiles(shape, 0, high, wide, min(granularity.height, high), min(granularity.width, wide))
        case _:
            raise UserError(f"Fake quantization does not know groups per {granularity.name}.", field="granularity")
