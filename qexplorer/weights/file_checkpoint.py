"""A checkpoint in one file, whose tensors lie at known places in it."""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from qexplorer.progress import Progress, Steps
from qexplorer.quant.tensor_source import Values, require_floating
from qexplorer.text import printable
from qexplorer.weights.checkpoint import BLOCK_BYTES, Checkpoint, FormatError, TensorInfo
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.guards import guarded
from qexplorer.weights.positioned_file import Fingerprint, PositionedFile, require_same
from qexplorer.weights.strided import Strided

HELD_BYTES = 4 << 20
"""Tensors of at most so many bytes are held in memory while they are looked at."""


@dataclass(frozen=True)
class FileCheckpoint(Checkpoint):
    """A checkpoint whose every readable tensor has a `Strided` as its storage."""

    fingerprint: Fingerprint = field(kw_only=True)
    checksums: ClassVar[bool] = False
    """Whether reading a tensor from end to end verifies it."""

    def compact_blocks(self, tensor: TensorInfo) -> Generator[NDArray[Any]]:
        require_readable(tensor)
        with guarded(printable(tensor.name)), PositionedFile(self.path, self.fingerprint) as file:
            dtype = DTYPES[tensor.dtype]
            for raw in self.raw_blocks(file, tensor, BLOCK_BYTES // dtype.bytes_held):
                file.require_unchanged()
                yield dtype.compacted(raw)

    def values_steps(self, tensor: TensorInfo) -> Steps[Values]:
        """Large tensors that lie in one piece are read from the file at each look, so that they take no memory. Where
        there is a checksum they are read from end to end first.
        """
        require_readable(tensor)
        dtype, place = DTYPES[tensor.dtype], self.place(tensor)
        if place is None or not place.is_contiguous or tensor.n * dtype.compact.itemsize <= HELD_BYTES:
            return (yield from super().values_steps(tensor))
        require_floating(dtype.compact, tensor.dtype)
        if self.checksums:
            done = 0
            for block in self.compact_blocks(tensor):
                done += block.size
                yield Progress("Verifying", done, tensor.n)

        def read(start: int, stop: int) -> NDArray[Any]:
            with guarded(printable(tensor.name)), PositionedFile(self.path, self.fingerprint) as file:
                raw = place.part(file.read_array, start, stop)
                file.require_unchanged()
            return dtype.compacted(raw)

        return Values.reading(tensor.shape, dtype.compact, tensor.dtype, read, self.kind(tensor).kind)

    def identity(self, tensor: TensorInfo) -> str:
        place = None if tensor.unsupported else self.place(tensor)
        where = tensor.name if place is None else (place.offset, place.strides)
        file = (str(self.path.absolute()), self.fingerprint, self.digest)
        return repr((file, where, tensor.shape, tensor.dtype))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that the file's header says."""
        listed = [(t.name, t.shape, t.dtype, t.storage) for t in self.tensors]
        return hashlib.sha256(repr((self.format, listed, dict(self.metadata))).encode(errors="replace")).hexdigest()

    def require_unchanged(self, tensor: TensorInfo) -> None:
        del tensor
        require_same(self.path, self.fingerprint)

    def place(self, tensor: TensorInfo) -> Strided | None:
        """Where its elements lie in the file; `None` where they do not lie there as they are."""
        return tensor.storage

    def raw_blocks(self, file: PositionedFile, tensor: TensorInfo, elements: int) -> Iterator[NDArray[Any]]:
        """The tensor's stored elements in C order, at most `elements` at once."""
        storage: Strided = tensor.storage
        yield from storage.blocks(file.read_array, elements)


def unsupported(
    kind: str, name: str, shape: tuple[int, ...], dtype: str, nbytes: int, file: Path, why: str
) -> TensorInfo:
    """A tensor that is listed and cannot be read: reading it raises `FormatError` of that `kind`."""
    return TensorInfo(name, shape, dtype, nbytes, file, unsupported=why, storage=kind)


def require_readable(tensor: TensorInfo) -> None:
    """Raise the `FormatError` of an unsupported tensor."""
    if tensor.unsupported:
        raise FormatError(str(tensor.storage), printable(tensor.name), f"{tensor.unsupported}.")
