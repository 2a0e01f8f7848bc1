"""Reading a strided view of stored numbers block by block, in the order of its indices, with few and bounded reads."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from qexplorer.weights.checkpoint import BLOCK_BYTES

ReadBytes = Callable[[int, int], NDArray[np.uint8]]
"""`read(offset, n)` gives exactly `n` bytes."""

_SPAN_BYTES = BLOCK_BYTES
_CHEAP_SPAN_BYTES = 256 << 10
_WORTHWHILE = 4


@dataclass(frozen=True, slots=True)
class Strided:
    """Where the elements of a tensor lie: from byte `offset` on, `strides` (in elements, none negative) apart."""

    offset: int
    raw: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> int:
        """How many elements lie between the first and the last, both counted; 0 without elements."""
        return _span(self.shape, self.strides)

    @property
    def is_expanded(self) -> bool:
        """Whether it has more elements than bytes to fill them, so that some must be repeated."""
        return math.prod(self.shape) > self.span

    @property
    def is_contiguous(self) -> bool:
        """Whether its elements lie one after the other in the order of their indices."""
        return _merged(self.shape, self.strides)[1] == (1,)

    def part(self, read: ReadBytes, start: int, stop: int) -> NDArray[Any]:
        """The raw elements from `start` to `stop` of one that is contiguous, in native byte order."""
        stored = read(self.offset + start * self.raw.itemsize, (stop - start) * self.raw.itemsize)
        return stored.view(self.raw).astype(self.raw.newbyteorder("="), copy=False)

    def blocks(self, read: ReadBytes, elements: int) -> Iterator[NDArray[Any]]:
        """The raw elements in C order, as 1-D arrays of at most `elements`, in native byte order."""
        shape, strides = _merged(self.shape, self.strides)
        if 0 in shape:
            return
        native = self.raw.newbyteorder("=")
        if strides == (1,):
            for first in range(0, shape[0], elements):
                yield self.part(read, first, min(first + elements, shape[0]))
            return
        axis, inner = 0, math.prod(shape[1:])
        while inner > elements:
            axis += 1
            inner = math.prod(shape[axis + 1 :])
        step = max(1, elements // inner)
        for outer in itertools.product(*(range(n) for n in shape[:axis])):
            start = sum(i * stride for i, stride in zip(outer, strides, strict=False))
            for first in range(0, shape[axis], step):
                box = (min(step, shape[axis] - first), *shape[axis + 1 :])
                values = np.empty(box, native)
                self._fill(values, strides[axis:], start + first * strides[axis], read)
                yield values.reshape(-1)

    def _fill(self, values: NDArray[Any], strides: tuple[int, ...], start: int, read: ReadBytes) -> None:
        """Fill `values` from the elements at `start`, reading what lies between only where that is worth it."""
        size = self.raw.itemsize
        span = _span(values.shape, strides) * size
        if span <= _SPAN_BYTES and (span <= _CHEAP_SPAN_BYTES or span <= _WORTHWHILE * values.nbytes):
            stored = read(self.offset + start * size, span).view(self.raw)
            values[...] = as_strided(stored, values.shape, [n * size for n in strides], writeable=False)
            return
        widest = max(range(values.ndim), key=lambda i: (values.shape[i] - 1) * strides[i])
        half = values.shape[widest] // 2
        low, high = np.split(values, [half], axis=widest)
        self._fill(low, strides, start, read)
        self._fill(high, strides, start + half * strides[widest], read)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a tensor in C order: (2, 3, 4) -> (12, 4, 1)."""
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


def _merged(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same elements in the same order with as few axes as possible; at least one."""
    axes: list[tuple[int, int]] = []
    for n, stride in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if axes and axes[-1][1] == n * stride:
            axes[-1] = (axes[-1][0] * n, stride)
        else:
            axes.append((n, stride))
    axes = axes or [(1, 1)]
    return tuple(n for n, _ in axes), tuple(stride for _, stride in axes)
