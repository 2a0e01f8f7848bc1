"""A part of a tensor that stands for all of it: whole channels, or runs of neighbours among their inputs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from qexplorer.quant.arrays import AnyArray, Codes
from qexplorer.quant.matrices import division, kind_of
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values

RUN = 256
"""So many neighbours stay together; every block of a format fits in whole."""
FEWEST = 16
"""At least so many channels are looked at, each in part where whole ones would be too many values."""
READ = 1 << 20
"""Values that are read at once."""
SEED = 0


def thin(values: Values, spec: QuantSpec, limit: int) -> Values:
    """At most about `limit` values of a tensor, in memory, that the spec divides like all of them; the same ones every
    time.

    Channels stay whole as long as `FEWEST` of them fit, and where they are divided and are not the first axis; else
    neighbours stay together. Only what is needed is read.
    """
    if values.n <= limit or not values.shape:
        return values
    own = spec.for_kind(kind_of(values))
    own.granularity.check(values.shape)
    matrix, by = division(values, own), own.granularity.tiling(values.shape)
    if matrix.axis:
        shape, runs = values.shape, dict[int, int]()
        others = [a for a in range(len(shape)) if a != matrix.axis]
        rest = sorted(others, key=lambda a: -shape[a]) if by.loose else []
    else:
        width = 1 if by.loose else by.width
        shape, rest = (matrix.high, matrix.wide), [1]
        runs = {1: -(-RUN // width) * width, 0: by.height if by.lines else max(RUN // max(matrix.wide, 1), 1)}
    part = _gather(values, shape, 0, _places(shape, matrix.axis, rest, runs, limit))
    flat = part.reshape(-1)
    return Values(part.shape, values.dtype, lambda start, stop: flat[start:stop], values.kind)


def _places(
    shape: tuple[int, ...], axis: int, rest: Sequence[int], runs: Mapping[int, int], limit: int
) -> dict[int, Codes]:
    """Which places are kept along the axes that lose some: that of the channels, and the rest."""
    rng = np.random.default_rng(SEED)
    left, places = list(shape), dict[int, Codes]()
    for a in (axis, *rest):
        length, run = left[a], runs.get(a, 1)
        wanted = limit * length // math.prod(left)
        if a == axis and rest:
            wanted = max(wanted, 2 * run if run > 1 else FEWEST)
        if wanted < length:
            places[a] = _spread(length, run, max(wanted // run, 1), rng)
            left[a] = len(places[a])
    return places


def _gather(values: Values, shape: tuple[int, ...], offset: int, places: Mapping[int, Codes]) -> AnyArray:
    """The places of a part of `shape` that begins at `offset`."""
    inner = math.prod(shape[1:])
    at = places[0] if 0 in places else np.arange(shape[0], dtype=np.int64)
    others = {axis - 1: kept for axis, kept in places.items() if axis}
    if inner > READ:
        return np.stack([_gather(values, shape[1:], offset + int(i) * inner, others) for i in at])
    parts: list[AnyArray] = []
    for run in np.split(at, np.flatnonzero(np.diff(at) != 1) + 1):
        most = max(1, READ // max(inner, 1))
        for start in range(int(run[0]), int(run[-1]) + 1, most):
            stop = min(start + most, int(run[-1]) + 1)
            part = values.read(offset + start * inner, offset + stop * inner).reshape(stop - start, *shape[1:])
            for axis, kept in others.items():
                part = part.take(kept, axis=axis + 1)
            parts.append(part)
    return np.concatenate(parts)


def _spread(length: int, run: int, wanted: int, rng: np.random.Generator) -> Codes:
    """The places of `wanted` runs, one in each equal stretch of an axis: ascending."""
    all_runs = -(-length // run)
    stretches = (np.arange(wanted) + rng.random(wanted)) * (all_runs / wanted)
    first = np.unique(np.minimum(stretches.astype(np.int64), all_runs - 1)) * run
    places = (first[:, None] + np.arange(run)).ravel()
    return places[places < length].astype(np.int32)
