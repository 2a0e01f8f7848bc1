"""A tensor as the matrix that its groups are cut from: output channels × their inputs, in that order."""

import math
from dataclasses import replace

import numpy as np

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Doubles
from qexplorer.quant.granularity import LastAxis
from qexplorer.quant.layer_kinds import ROWS, VECTOR, LayerKind, Matrix
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values

READ = 1 << 20
"""Values that are read at once."""


def kind_of(values: Values) -> LayerKind:
    """The kind of layer that the values are weights of; those of one axis have no channels."""
    return values.kind if len(values.shape) > 1 else VECTOR


def matrix_of(values: Values, spec: QuantSpec) -> Steps[tuple[Values, QuantSpec]]:
    """The values as a matrix, read as before where their channels come first, else held in memory; and the spec, made
    for their kind, that divides the matrix as `spec` divides the tensor.

    Where one scale serves all, rows are the channels of the kind, unless chance goes by the place of a value. Raises
    `UserError` for an axis that is not there.
    """
    spec = spec.for_kind(kind_of(values))
    spec.granularity.check(values.shape)
    matrix = division(values, spec)
    first = (yield from _moved(values, matrix.axis)) if matrix.axis else values
    own = Values((matrix.high, matrix.wide), values.dtype, first.read)
    return own, replace(spec, granularity=spec.granularity.of_matrix)


def division(values: Values, spec: QuantSpec) -> Matrix:
    """The matrix for a spec that was made for the values' kind."""
    by = spec.granularity
    if by.shared and not spec.rounding.by_place:
        return Matrix.of(values.shape, kind_of(values).output)
    return by.tiling(values.shape).matrix


def by_channel(sums: Doubles, spec: QuantSpec, shape: tuple[int, ...], kind: LayerKind) -> Doubles:
    """Sums of the matrix's rows as those of channels: of the axis that the spec names, else of the kind's output axis;
    none where rows hold values of several channels.
    """
    by = spec.granularity
    if by.per_channel or len(shape) < 2 or len(sums) < 2:
        return sums
    mixed = by.shared and spec.rounding.by_place and kind.output not in ("", "0")
    if mixed or (isinstance(by, LastAxis) and kind.output_axis(len(shape)) == len(shape) - 1):
        return np.zeros(0)
    if not isinstance(by, LastAxis) or kind.output == ROWS:
        return sums
    axis = int(kind.output or 0)
    return sums.reshape(math.prod(shape[:axis]), shape[axis], -1).sum(axis=(0, 2))


def _moved(values: Values, axis: int) -> Steps[Values]:
    """The values with an axis put first, in memory."""
    outer, n, inner = math.prod(values.shape[:axis]), values.shape[axis], math.prod(values.shape[axis + 1 :])
    step = max(READ // max(n * inner, 1), 1)
    try:
        moved: AnyArray = np.empty((n, outer, inner), values.dtype)
    except MemoryError:
        raise UserError(f"There is not enough memory to sort its {values.n:,} values by channel.",
                        "Choose another granularity.", field="granularity") from None  # fmt: skip
    for start in range(0, outer if n * inner else 0, step):
        yield Progress("Reading", start, outer)
        stop = min(start + step, outer)
        part = values.read(start * n * inner, stop * n * inner).reshape(stop - start, n, inner)
        moved[:, start:stop] = part.swapaxes(0, 1)
    flat = moved.reshape(-1)
    return Values((n, outer * inner), values.dtype, lambda start, stop: flat[start:stop])
