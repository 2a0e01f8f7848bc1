"""NumPy's files: `.npy`, one array, and `.npz`, a zip archive of such arrays."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.progress import Progress, Steps
from qexplorer.quant.tensor_source import Values, require_floating
from qexplorer.text import first_few, printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import Checkpoint, FormatError, TensorInfo, require_room
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.file_checkpoint import FileCheckpoint, require_readable, unsupported
from qexplorer.weights.guards import guarded
from qexplorer.weights.inflated_record import InflatedRecord
from qexplorer.weights.npy_header import MAGIC, NpyHeader, read_header
from qexplorer.weights.positioned_file import PositionedFile
from qexplorer.weights.readers import Reader, Source, readers
from qexplorer.weights.strided import Strided
from qexplorer.weights.zip_archive import DEFLATED, STORED, StoredReader, ZipEntry, inflated

_MEND = "The file is damaged or was altered."


@readers.register
@dataclass(frozen=True)
class NumpyFile(Reader):
    """Reads the headers itself; arrays of Python objects are refused."""

    name: ClassVar[str] = "numpy"
    title: ClassVar[str] = "NumPy file"
    help: ClassVar[str] = "What numpy.save and numpy.savez write: .npy and .npz."
    order: ClassVar[int] = 30
    suffixes: ClassVar[tuple[str, ...]] = (".npy", ".npz")

    def accepts(self, source: Source) -> bool:
        return source.head.startswith(MAGIC) or any(name.endswith(".npy") for name in source.records or ())

    def open(self, source: Source) -> Steps[Checkpoint]:
        with source.file() as file:
            if source.records is not None:
                return (yield from _open_archive(file, source.records))
            yield Progress("Reading the header")
            return _open_array(file)


@dataclass(frozen=True, slots=True)
class _Member:
    """An array and the record that it lies in."""

    entry: ZipEntry
    header: NpyHeader


@dataclass(frozen=True)
class _NpzCheckpoint(FileCheckpoint):
    """Uncompressed records are read in place, compressed ones as a stream."""

    checksums: ClassVar[bool] = True

    def place(self, tensor: TensorInfo) -> Strided | None:
        storage: _Member = tensor.storage
        return storage.header.strided(storage.entry.offset) if storage.entry.method == STORED else None

    def values_steps(self, tensor: TensorInfo) -> Steps[Values]:
        """A large compressed tensor is inflated anew at each look, so that it takes no memory either."""
        require_readable(tensor)
        storage: _Member = tensor.storage
        dtype, header = DTYPES[tensor.dtype], storage.header
        if (
            storage.entry.method == STORED
            or header.is_fortran
            or tensor.n * dtype.compact.itemsize <= limits.INFLATED_HELD_BYTES
        ):
            return (yield from super().values_steps(tensor))
        require_floating(dtype.compact, tensor.dtype)
        record, place = InflatedRecord(self.path, self.fingerprint, storage.entry), header.strided(0)
        with guarded(printable(tensor.name)):
            yield from record.verified()

        def read(start: int, stop: int) -> NDArray[Any]:
            with guarded(printable(tensor.name)):
                return dtype.compacted(place.part(record.read, start, stop))

        return Values.reading(tensor.shape, dtype.compact, tensor.dtype, read, self.kind(tensor).kind)

    def raw_blocks(self, file: PositionedFile, tensor: TensorInfo, elements: int) -> Iterator[NDArray[Any]]:
        storage: _Member = tensor.storage
        entry, header = storage.entry, storage.header
        if entry.method == STORED:
            yield from _stored_blocks(file, entry, header, elements)
            return
        content = inflated(file, entry)
        if header.is_fortran:
            require_room(entry.size + header.nbytes, file.where, f"the compressed tensor {printable(tensor.name)}")
            data, done = np.empty(entry.size, np.uint8), 0
            for piece in content:
                data[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
                done += len(piece)
            yield from header.strided(0).blocks(lambda offset, n: data[offset : offset + n], elements)
            return
        held = bytearray()
        to_skip, most = header.data_start, elements * header.raw.itemsize
        for piece in content:
            held += piece[to_skip:]
            to_skip = max(0, to_skip - len(piece))
            while len(held) >= most:
                yield np.frombuffer(bytes(held[:most]), header.raw).astype(header.raw.newbyteorder("="))
                del held[:most]
        if held:
            yield np.frombuffer(bytes(held), header.raw).astype(header.raw.newbyteorder("="))


def _stored_blocks(file: PositionedFile, entry: ZipEntry, header: NpyHeader, elements: int) -> Iterator[NDArray[Any]]:
    """The elements in place; the checksum is verified on the way where they are read in order, else beforehand."""
    read = StoredReader(file, entry)
    if header.is_fortran or not header.nbytes:
        for _ in inflated(file, entry):
            pass
    else:
        read(entry.offset, header.data_start)
    yield from header.strided(entry.offset).blocks(read, elements)


def _open_array(file: PositionedFile) -> Checkpoint:
    header = read_header(lambda n: file.read(0, min(n, file.size)), file.where, file.path.stem)
    end = header.data_start + header.nbytes
    if end > file.size and not header.unsupported:
        what = f"its array needs {end:,} bytes and the file holds {file.size:,}."
        raise FormatError("Truncated", file.where, what, "The file is incomplete. Download it again.")
    warnings = [header.warning] if header.warning else []
    if end < file.size and not header.unsupported:
        warnings.append(f"{file.size - end:,} bytes follow the array; they are not read.")
    tensor = _info(file.path.stem, header, file.path, header.strided(0))
    return FileCheckpoint(file.path, "NumPy array", (tensor,), {}, tuple(warnings), fingerprint=file.fingerprint)


def _open_archive(file: PositionedFile, records: Mapping[str, ZipEntry]) -> Steps[Checkpoint]:
    arrays = [entry for name, entry in records.items() if name.endswith(".npy")]
    others = [name for name in records if not name.endswith((".npy", "/"))]
    warnings = [f"Left out, being no arrays: {first_few(others)}."] if others else []
    tensors: list[TensorInfo] = []
    headers = _Headers(file)
    for number, entry in enumerate(arrays):
        if number % 100 == 0:
            yield Progress("Reading the headers", number, len(arrays))
        tensor, warning = _member(headers, entry)
        tensors.append(tensor)
        if warning:
            warnings.append(warning)
    return _NpzCheckpoint(file.path, "NumPy archive", tuple(tensors), {}, tuple(warnings), fingerprint=file.fingerprint)


@dataclass
class _Headers:
    """The beginnings of an archive's arrays, which may take so many bytes together and no more."""

    file: PositionedFile
    together: int = 0

    def of(self, entry: ZipEntry) -> Callable[[int], bytes]:
        """A function that reads the first bytes of an array."""
        beginning = _beginning(self.file, entry)

        def read(n: int) -> bytes:
            self.together += n
            if self.together > limits.NPY_HEADERS_TOGETHER:
                what = f"the headers of its arrays take more than {limits.NPY_HEADERS_TOGETHER:,} bytes."
                raise FormatError("TooLarge", self.file.where, what, _MEND)
            return beginning(n)

        return read


def _member(headers: _Headers, entry: ZipEntry) -> tuple[TensorInfo, str]:
    file, name = headers.file, entry.name.removesuffix(".npy")
    try:
        header = read_header(headers.of(entry), file.where, name)
    except FormatError as error:
        if error.kind != "ObjectArray":
            raise
        return unsupported(error.kind, name, (), "object", 0, file.path, "it holds Python objects"), ""
    if header.data_start + header.nbytes != entry.size and not header.unsupported:
        what = f"the array {printable(name)} needs {header.nbytes:,} bytes, which its record does not hold exactly."
        raise FormatError("Truncated", file.where, what, _MEND)
    if entry.method == STORED:
        return _info(name, header, file.path, _Member(entry, header)), header.warning
    if entry.method != DEFLATED:
        why = f"it is compressed in a way ({entry.method}) that cannot be read"
        return unsupported(
            "Unsupported", name, header.shape, header.dtype, entry.stored, file.path, why
        ), header.warning
    return _info(name, header, file.path, _Member(entry, header)), header.warning


def _beginning(file: PositionedFile, entry: ZipEntry) -> Callable[[int], bytes]:
    """`read(n)`: the first `n` bytes of a record, inflating little beyond them."""

    def read(n: int) -> bytes:
        if entry.method == STORED:
            return file.read(entry.offset, min(n, entry.size))
        data = b""
        for piece in inflated(file, entry):
            data += piece
            if len(data) >= n:
                break
        return data[:n]

    return read


def _info(name: str, header: NpyHeader, file: Path, storage: Strided | _Member) -> TensorInfo:
    if header.unsupported:
        return unsupported("Unsupported", name, header.shape, header.dtype, header.nbytes, file, header.unsupported)
    return TensorInfo(name, header.shape, header.dtype, header.nbytes, file, storage=storage)
