"""A checkpoint in one file, whose tensors lie at known places in it."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qexplorer.weights.checkpoint import BLOCK_BYTES, Checkpoint, FormatError, TensorInfo
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.guards import guarded
from qexplorer.weights.positioned_file import Fingerprint, PositionedFile
from qexplorer.weights.strided import Strided
from qexplorer.weights.text import shown


@dataclass(frozen=True)
class FileCheckpoint(Checkpoint):
    """A checkpoint whose every readable tensor has a `Strided` as its storage."""

    fingerprint: Fingerprint = field(kw_only=True)

    def blocks(self, tensor: TensorInfo) -> Generator[NDArray[Any]]:
        require_readable(tensor)
        with guarded(shown(tensor.name)), PositionedFile(self.path, self.fingerprint) as file:
            dtype = DTYPES[tensor.dtype]
            for raw in self.raw_blocks(file, tensor, BLOCK_BYTES // dtype.bytes_held):
                file.require_unchanged()
                yield dtype.decode(raw)

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
        raise FormatError(str(tensor.storage), shown(tensor.name), f"{tensor.unsupported}.")
