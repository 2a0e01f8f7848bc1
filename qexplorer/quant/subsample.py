"""A part of a tensor that stands for all of it: whole channels, or runs of neighbours along its last axis."""

import math
from collections.abc import Mapping

import numpy as np

from qexplorer.quant.arrays import AnyArray, Codes
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values

RUN = 256
"""So many neighbours along the last axis stay together; every block of a format fits in whole."""
FEWEST = 16
"""At least so many channels are looked at, each in part where whole ones would be too many values."""
READ = 1 << 20
"""Values that are read at once."""
SEED = 0


def thin(values: Values, spec: QuantSpec, limit: int) -> Values:
    """At most about `limit` values of a tensor, in memory, in as many axes; the same ones every time.

    Channels (of axis 0, or of the axis that the spec divides) stay whole as long as `FEWEST` of them fit; along the
    last axis neighbours stay together. Only what is needed is read.
    """
    if values.n <= limit or not values.shape:
        return values
    part = _gather(values, values.shape, 0, _places(values.shape, spec, limit))
    flat = part.reshape(-1)
    return Values(part.shape, values.dtype, lambda start, stop: flat[start:stop])


def _places(shape: tuple[int, ...], spec: QuantSpec, limit: int) -> dict[int, Codes]:
    """Which places are kept along the axes that lose some."""
    axis, runs = _division(shape, spec)
    rest = sorted((a for a in range(len(shape)) if a != axis), key=lambda a: -shape[a])
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


def _division(shape: tuple[int, ...], spec: QuantSpec) -> tuple[int, dict[int, int]]:
    """The axis of channels, and how many neighbours along an axis stay together."""
    by = spec.granularity
    runs = {len(shape) - 1: -(-RUN // by.neighbours) * by.neighbours}
    if len(shape) > 1:
        runs[0] = by.lines or max(RUN // max(math.prod(shape[1:]), 1), 1)  # each run is read by itself
    return by.channel_axis(len(shape)), runs


def _spread(length: int, run: int, wanted: int, rng: np.random.Generator) -> Codes:
    """The places of `wanted` runs, one in each equal stretch of an axis: ascending."""
    all_runs = -(-length // run)
    stretches = (np.arange(wanted) + rng.random(wanted)) * (all_runs / wanted)
    first = np.unique(np.minimum(stretches.astype(np.int64), all_runs - 1)) * run
    places = (first[:, None] + np.arange(run)).ravel()
    return places[places < length].astype(np.int32)
