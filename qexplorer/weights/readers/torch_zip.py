"""PyTorch's zip files, since 1.6: a pickle that describes the tensors, and one record of bytes for each storage."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from qexplorer.progress import Progress, Steps
from qexplorer.text import elide, first_few, printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import Checkpoint, FormatError, TensorInfo
from qexplorer.weights.file_checkpoint import FileCheckpoint
from qexplorer.weights.pickle_opcodes import PickleReader
from qexplorer.weights.pickle_values import Named
from qexplorer.weights.pickle_walk import Walk, pairs_of
from qexplorer.weights.positioned_file import PositionedFile
from qexplorer.weights.readers import Reader, Source, readers
from qexplorer.weights.strided import Strided
from qexplorer.weights.torch_tensors import StoredTensor, TensorRebuilder, is_code, is_tensor, unwrap
from qexplorer.weights.zip_archive import StoredReader, ZipEntry, read_whole

_STEP = 5000


@readers.register
@dataclass(frozen=True)
class TorchZip(Reader):
    """Reads the pickle's instructions without running them; what it refers to is named and never called."""

    name: ClassVar[str] = "torch"
    title: ClassVar[str] = "PyTorch file"
    help: ClassVar[str] = "What torch.save and torch.jit.save write: .pt, .pth, .bin, .ckpt. No code in it is run."
    order: ClassVar[int] = 20
    suffixes: ClassVar[tuple[str, ...]] = (".pt", ".pth", ".bin")

    def accepts(self, source: Source) -> bool:
        return any(_is_data(name) for name in source.records or ())

    def open(self, source: Source) -> Steps[Checkpoint]:
        path = source.path
        with source.file() as file:
            archive = _Archive.of(file, source.records or {})
            root, named = yield from archive.pickle(file, "data.pkl")
            constants: Any = ()
            if "constants.pkl" in archive:
                constants, more = yield from archive.pickle(file, "constants.pkl")
                named = {**named, **more}
        rebuilder = TensorRebuilder(path, file.where, archive.records, archive.is_big_endian)
        walk = Walk(file.where, is_tensor, unwrap)
        tensors: dict[str, TensorInfo] = {}
        times: Counter[str] = Counter()
        for value, name, folder in ((root, "", "data"), (constants, "constants", "constants")):
            leaves = yield from walk.leaves(value, name)
            for number, (found, call) in enumerate(leaves):
                if number % _STEP == 0:
                    yield Progress("Listing the tensors", len(tensors))
                own = found or path.stem
                while own in tensors:  # two paths in the pickle may spell the same
                    times[found] += 1
                    own = f"{found or path.stem}#{times[found] + 1}"
                tensors[own] = rebuilder.describe(own, call, archive.prefix + folder)
                if len(tensors) > limits.TENSORS:
                    raise FormatError("TooLarge", file.where, f"it has more than {limits.TENSORS:,} tensors.")
        code = [name for name in named if is_code(name)]
        return _TorchCheckpoint(
            path,
            "TorchScript" if archive.is_script else "PyTorch",
            tuple(tensors.values()),
            _plain_values(root),
            tuple(_warnings(archive, walk, tensors, code)),
            tuple(printable(name) for name in code[: limits.CODE_REFERENCES]),
            fingerprint=file.fingerprint,
        )


@dataclass(frozen=True)
class _TorchCheckpoint(FileCheckpoint):
    """Each tensor is a part of a record; the checksum is verified where it is all of it."""

    checksums: ClassVar[bool] = True

    def place(self, tensor: TensorInfo) -> Strided | None:
        storage: StoredTensor = tensor.storage
        return storage.placed

    def raw_blocks(self, file: PositionedFile, tensor: TensorInfo, elements: int) -> Iterator[NDArray[Any]]:
        storage: StoredTensor = tensor.storage
        read = StoredReader(file, storage.entry, is_zero_none=True)
        yield from storage.placed.blocks(read, elements)


@dataclass(frozen=True)
class _Archive:
    """An archive's records, and the folder in it, `prefix`, that holds all that matters."""

    where: str
    records: Mapping[str, ZipEntry]
    prefix: str
    is_big_endian: bool

    @classmethod
    def of(cls, file: PositionedFile, records: Mapping[str, ZipEntry]) -> "_Archive":
        found = [name for name in records if _is_data(name)]
        if len(found) != 1:
            raise FormatError("Duplicate", file.where, f"the archive holds {len(found)} pickles ({first_few(found)}).")
        prefix = found[0].removesuffix("data.pkl")
        order = "little"
        if entry := records.get(f"{prefix}byteorder"):
            order = read_whole(file, entry, 16, is_zero_none=True).decode("latin-1")
        if order not in ("little", "big"):
            raise FormatError("BadByteOrder", file.where, f"its byte order “{printable(order)}” is not known.")
        return cls(file.where, records, prefix, order == "big")

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.records

    @property
    def is_script(self) -> bool:
        """Whether it is a TorchScript program, whose constants have a pickle of their own."""
        return "constants.pkl" in self

    def pickle(self, file: PositionedFile, name: str) -> Steps[tuple[Any, dict[str, Named]]]:
        """The inert tree of one of the archive's pickles, and all that it refers to."""
        data = read_whole(file, self.records[self.prefix + name], limits.PICKLE_BYTES, is_zero_none=True)
        reader = PickleReader(data, self.where)
        tree = yield from reader.read()
        return tree, reader.references


def _is_data(name: str) -> bool:
    return name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)


def _plain_values(root: Any) -> dict[str, str]:
    """The numbers and texts beside the tensors at the top, e.g. the epoch."""
    plain = [
        (key, value) for key, value in pairs_of(root) if isinstance(key, str) and isinstance(value, str | int | float)
    ]
    return {elide(key): elide(str(value), limits.METADATA_SHOWN) for key, value in plain[: limits.METADATA_ENTRIES]}


def _warnings(archive: _Archive, walk: Walk, tensors: Mapping[str, TensorInfo], code: list[str]) -> list[str]:
    warnings: list[str] = []
    if archive.is_script:
        warnings.append("This is a TorchScript program. Its code is not run; only its tensors are shown.")
    if len(code) > limits.CODE_REFERENCES:
        warnings.append(f"It refers to code by {len(code):,} names; {limits.CODE_REFERENCES:,} are listed.")
    for again, first in walk.shared:
        if any(name.startswith(f"{first}.") for name in tensors):
            warnings.append(f"“{printable(again)}” is the same as “{printable(first)}” and is listed once.")
    return warnings
