"""A tensor whose values are read piece by piece, in the type that they are stored in."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qexplorer.errors import UserError
from qexplorer.quant.arrays import AnyArray, Floats
from qexplorer.quant.layer_kinds import LINEAR, LayerKind

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Values:
    """`read(start, stop)` gives the values of these places in C order: `[stop − start]` of float32, float16, float64,
    or uint16 for the bits of bfloat16. Any thread may call it, several at once. `kind` is that of the layer that they
    are weights of. `held` are the bytes of memory that they take as long as they are looked at.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    read: Callable[[int, int], AnyArray]
    kind: LayerKind = LINEAR
    held: int = 0

    @staticmethod
    def of(array: AnyArray, dtype: str = "", kind: LayerKind = LINEAR) -> "Values":
        """An array in memory; one of uint16 is bfloat16 where `dtype` says so. Raises `UserError` for whole numbers."""
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        flat = np.ascontiguousarray(native).reshape(-1)
        values = Values.reading(array.shape, flat.dtype, dtype, lambda start, stop: flat[start:stop], kind)
        return replace(values, held=flat.nbytes)

    @staticmethod
    def reading(
        shape: tuple[int, ...], raw: np.dtype[Any], dtype: str, read: Callable[[int, int], AnyArray],
        kind: LayerKind = LINEAR,
    ) -> "Values":  # fmt: skip
        """Values that `read` gives as `raw`, of the stored type `dtype`. Raises `UserError` for whole numbers."""
        require_floating(raw, dtype)
        return Values(shape, raw, read, kind)

    def all(self) -> AnyArray:
        """All of them at once, in their shape."""
        return self.read(0, self.n).reshape(self.shape)

    @property
    def n(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What they take as stored."""
        return self.n * self.dtype.itemsize


def require_floating(raw: np.dtype[Any], dtype: str) -> None:
    """Raise a `UserError` for whole numbers: uint16 is bfloat16 where the stored type `dtype` says so."""
    if raw.kind != "f" and not (dtype == "bfloat16" and raw == np.uint16):
        raise UserError(f"The tensor holds {dtype or raw}, not floating-point weights.", "Choose another tensor.",
                        field="tensor")  # fmt: skip


def narrowed(raw: AnyArray) -> AnyArray:
    """Values of float64 as float32, all others as they are. A `UserError` where float32 cannot hold one."""
    if raw.dtype.itemsize <= 4:
        return raw
    if np.any(np.isfinite(raw) & (np.abs(raw) > LARGEST)):
        raise UserError(f"The tensor holds {raw.dtype} values beyond ±3.4e38, which float32 cannot hold.",
                        "Keep it as it is stored, or save it scaled down.", field="tensor")  # fmt: skip
    return raw.astype(np.float32)


def widened(raw: AnyArray) -> Floats:
    """Values of any stored type as float32: exact but for float64, which is rounded."""
    if raw.dtype == np.uint16:
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.asarray(raw, dtype=np.float32)
