"""The rows of `quant.tiling`, one a group, made of torch tensors: the same values in the same places."""

import math

from torch import Tensor
from torch.nn.functional import pad

from qexplorer.quant.granularity import Granularity
from qexplorer.quant.tiling import Tiling


def tiling_for(granularity: Granularity, x: Tensor) -> Tiling:
    """How a tensor is divided; a `UserError` says why it cannot be."""
    shape = tuple(x.shape)
    granularity.check(shape)
    return granularity.tiling(shape)


def rows_of(x: Tensor, by: Tiling) -> Tensor:
    """A tensor with at least one value as rows `[G, N]`."""
    matrix = x.movedim(by.matrix.axis, 0).reshape(by.high, by.wide) if by.matrix.axis else x.reshape(by.high, by.wide)
    below, right = by.down * by.height - by.high, by.across * by.width - by.wide
    if below or right:
        matrix = pad(matrix, (0, right, 0, below), value=math.nan)
    tiles = matrix.reshape(by.down, by.height, by.across, by.width)
    return tiles.transpose(1, 2).reshape(by.groups, by.height * by.width)


def restore(rows: Tensor, by: Tiling) -> Tensor:
    """Undo `rows`: `[G, N]` → the tensor's shape."""
    tiles = rows.reshape(by.down, by.across, by.height, by.width).transpose(1, 2)
    matrix = tiles.reshape(by.down * by.height, by.across * by.width)[: by.high, : by.wide]
    axis = by.matrix.axis
    if not axis:
        return matrix.reshape(by.shape)
    others = (*by.shape[:axis], *by.shape[axis + 1 :])
    return matrix.reshape(by.shape[axis], *others).movedim(0, axis)
