"""A Hugging Face folder: one weight file, or several with an index that says which tensor lies in which."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.tensor_source import Values
from qexplorer.text import elide, first_few, printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import Checkpoint, FormatError, TensorInfo
from qexplorer.weights.json_text import as_text, parse_object
from qexplorer.weights.narrow import is_table
from qexplorer.weights.paths import neighbour
from qexplorer.weights.positioned_file import PositionedFile
from qexplorer.weights.readers import Reader, Source, look_at, readers, unreadable

_INDEX = (".safetensors.index.json", ".bin.index.json")
_SINGLE = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin")
_WEIGHTS = (".safetensors", ".bin")
_STEP = 100
_MEND = "The index is damaged or was altered. Download it again."


@readers.register
@dataclass(frozen=True)
class Sharded(Reader):
    """Opens a folder by its index, or else by its only weight file; or the index itself."""

    name: ClassVar[str] = "sharded"
    title: ClassVar[str] = "Hugging Face folder"
    help: ClassVar[str] = "A folder with model.safetensors, or with several files and a *.index.json."
    order: ClassVar[int] = 40

    def accepts(self, source: Source) -> bool:
        return source.path.name.endswith(_INDEX) if source.head else bool(_entry_points(source.path))

    def open(self, source: Source) -> Steps[Checkpoint]:
        path = source.path
        if not source.head:
            first, *others = _entry_points(path) or [path]
            if first == path:  # emptied since it was looked at
                raise unreadable(path)
            if not first.name.endswith(_INDEX):
                return (yield from _open_only(path, first, others))
        else:
            first, others = path, []
        return (yield from _open_index(path, first, _left_out(others)))


@dataclass(frozen=True)
class _ShardedCheckpoint(Checkpoint):
    """The tensors of several files; each is read by the checkpoint of its own file."""

    shards: Mapping[Path, Checkpoint] = field(kw_only=True)

    def compact_blocks(self, tensor: TensorInfo) -> Generator[NDArray[Any]]:
        yield from self.shards[tensor.file].compact_blocks(tensor)

    def identity(self, tensor: TensorInfo) -> str:
        return self.shards[tensor.file].identity(tensor)

    def require_unchanged(self, tensor: TensorInfo) -> None:
        self.shards[tensor.file].require_unchanged(tensor)

    def values_steps(self, tensor: TensorInfo) -> Steps[Values]:
        values = yield from self.shards[tensor.file].values_steps(tensor)
        return replace(values, kind=self.kind(tensor).kind)  # the bias that tells it may lie in another file


def _entry_points(folder: Path) -> list[Path]:
    """What a folder can be opened by, the usual name first: its indices, or else its single weight files.

    Hidden files are none: macOS puts its own `._model.safetensors` beside a file on a disk of another system.
    """
    found = [path.name for path in folder.iterdir() if path.name.endswith((*_INDEX, *_WEIGHTS))]
    names = sorted(name for name in found if not name.startswith("."))
    indices = [name for name in names if name.endswith(_INDEX)]
    singles = [name for name in names if name.endswith(_WEIGHTS)]
    usual = [f"{Path(name).stem}{ending}" for ending in _INDEX for name in _SINGLE]
    ranked = sorted(indices, key=lambda name: (name.endswith(_INDEX[1]), name not in usual, name))
    return [folder / name for name in ranked or sorted(singles, key=_rank)]


def _rank(single: str) -> tuple[bool, bool, str]:
    return single not in _SINGLE, single.endswith(_WEIGHTS[1]), single


def _open_only(folder: Path, first: Path, others: list[Path]) -> Steps[Checkpoint]:
    rivals = [other.name for other in others if other.suffix == first.suffix]
    if rivals and first.name not in _SINGLE:
        what = f"the folder holds several weight files and no index: {first_few([first.name, *rivals])}."
        raise FormatError("NoIndex", printable(folder.name), what, "Open one of them.")
    checkpoint = yield from _open_shard(first)
    return replace(checkpoint, warnings=(*_left_out(others), *checkpoint.warnings))


def _left_out(others: list[Path]) -> list[str]:
    names = [other.name for other in others]
    return [f"Other weights in this folder are not shown: {first_few(names)}."] if others else []


def _open_shard(path: Path) -> Steps[Checkpoint]:
    """Open a file as one shard; an index or a folder is none."""
    source = yield from look_at(path)
    for reader in (cls() for cls in readers):
        if not isinstance(reader, Sharded) and reader.accepts(source):
            return (yield from reader.open(source))
    raise unreadable(path, source.head)


def _open_index(path: Path, index: Path, warnings: list[str]) -> Steps[Checkpoint]:
    yield Progress("Reading the index")
    where = printable(index.name)
    weight_map, metadata = _read_index(index)
    files = list(dict.fromkeys(weight_map.values()))
    if len(files) > limits.SHARDS:
        raise FormatError("TooLarge", where, f"it names {len(files):,} files; {limits.SHARDS:,} can be opened.", _MEND)
    paths: dict[str, Path] = {}
    for number, name in enumerate(files):
        if number % _STEP == 0:
            yield Progress("Looking for the files", number, len(files), 0.0)
        paths[name] = neighbour(index.parent, name, where)
    missing = [name for name, shard in paths.items() if not shard.exists()]
    if len(missing) == len(files):
        what = f"none of the {len(files)} files that it names is there ({first_few(missing)})."
        raise FormatError("MissingShards", where, what, "Fetch them into the same folder.")
    if missing:
        warnings.append(f"{len(missing)} of {len(files)} files are missing: {first_few(missing)}.")
    shards: dict[str, Checkpoint] = {}
    lacking = set(missing)
    present = [name for name in files if name not in lacking]
    listed = 0
    for number, name in enumerate(present):
        share = (number / len(present), (number + 1) / len(present))
        shards[name] = yield from within(_open_shard(paths[name]), *share)
        listed += len(shards[name].tensors)
        if listed > limits.TENSORS:
            raise FormatError("TooLarge", where, f"its files hold more than {limits.TENSORS:,} tensors.", _MEND)
    tensors = yield from _joined(weight_map, shards, warnings)
    for shard in shards.values():
        warnings += [f"{printable(shard.path.name)}: {warning}" for warning in shard.warnings]
    references = dict.fromkeys(name for shard in shards.values() for name in shard.code_references)
    return _ShardedCheckpoint(
        path,
        " + ".join(dict.fromkeys(f"sharded {shard.format}" for shard in shards.values())),
        tuple(tensors),
        metadata,
        tuple(warnings),
        tuple(references),
        shards={shard.path: shard for shard in shards.values()},
    )


def _read_index(index: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The file of each tensor, and the metadata."""
    with PositionedFile(index) as file:
        if file.size > limits.JSON_BYTES:
            raise FormatError("TooLarge", file.where, f"an index of {file.size:,} bytes is not opened.", _MEND)
        table = parse_object(file.read(0, file.size), file.where, "BadIndex", "the index")
    files = table.get("weight_map")
    if not is_table(files) or not files:
        raise FormatError("BadIndex", printable(index.name), "it has no weight_map, so it names no files.", _MEND)
    wrong = next((name for name, value in files.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise FormatError("BadIndex", printable(index.name), f"the file of “{printable(wrong)}” is not a name.", _MEND)
    metadata = table.get("metadata")
    plain = metadata if is_table(metadata) else {}
    shown_entries = list(plain.items())[: limits.METADATA_ENTRIES]
    return files, {elide(key): elide(as_text(value), limits.METADATA_SHOWN) for key, value in shown_entries}


def _joined(weight_map: dict[str, str], shards: dict[str, Checkpoint], warnings: list[str]) -> Steps[list[TensorInfo]]:
    """The tensors of all shards, each from the file that the index names, and warnings where they disagree."""
    tensors: dict[str, TensorInfo] = {}
    extra: list[str] = []
    for number, (file, shard) in enumerate(shards.items()):
        if number % _STEP == 0:
            yield Progress("Joining the files", number, len(shards), 1.0)
        for tensor in shard.tensors:
            if weight_map.get(tensor.name) != file:
                extra.append(f"{file}: {tensor.name}")
                if weight_map.get(tensor.name) in shards or tensor.name in tensors:
                    continue
            tensors[tensor.name] = tensor
    lost = [name for name, file in weight_map.items() if file in shards and name not in tensors]
    if lost:
        warnings.append(f"The index names {len(lost):,} tensors that their files lack: {first_few(lost)}.")
    if extra:
        warnings.append(f"{len(extra):,} tensors are not where the index says: {first_few(extra)}.")
    return list(tensors.values())
