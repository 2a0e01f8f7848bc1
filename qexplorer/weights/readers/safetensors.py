"""safetensors: an 8-byte length, a JSON header of that length, then the numbers without gaps."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from qexplorer.collector import collector_paused
from qexplorer.progress import Progress, Steps
from qexplorer.text import elide, printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import Checkpoint, FormatError, TensorInfo
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.file_checkpoint import FileCheckpoint, unsupported
from qexplorer.weights.json_text import as_text, parse_object
from qexplorer.weights.narrow import is_count, is_sequence, is_table
from qexplorer.weights.positioned_file import PositionedFile
from qexplorer.weights.readers import Reader, Source, readers
from qexplorer.weights.shapes import checked_shape
from qexplorer.weights.strided import Strided, c_strides

_NAMES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_RAW = {stored: DTYPES[name].raw.newbyteorder("<") for stored, name in _NAMES.items()}
_PACKED = {"F4": ("float4_e2m1fn", 4), "F6_E2M3": ("float6_e2m3fn", 6), "F6_E3M2": ("float6_e3m2fn", 6)}
_Kinds = dict[tuple[Any, ...], tuple[tuple[int, ...], tuple[int, ...], int]]
"""Shape, strides and number of values of each stored type and shape, as these are written."""
_STEP = 20_000
_MEND = "The file is damaged or was altered. Download it again."


@readers.register
@dataclass(frozen=True)
class Safetensors(Reader):
    """Reads the header itself, so that types that numpy lacks and files with trailing bytes open too."""

    name: ClassVar[str] = "safetensors"
    title: ClassVar[str] = "safetensors file"
    help: ClassVar[str] = "The format of Hugging Face: a header that lists the tensors, then their numbers."
    order: ClassVar[int] = 10
    suffixes: ClassVar[tuple[str, ...]] = (".safetensors",)

    def accepts(self, source: Source) -> bool:
        head = source.head
        is_text = all(0x20 <= byte < 0x7F for byte in head[:8])  # as a length it would be beyond any file
        return head[8:9] == b"{" and not is_text

    def open(self, source: Source) -> Steps[Checkpoint]:
        yield Progress("Reading the header")
        with source.file() as file:
            return (yield from _list(source.path, file))


def _list(path: Path, file: PositionedFile) -> Steps[Checkpoint]:
    with collector_paused():
        header, start = _header(file)
    where = file.where
    metadata, warnings = _metadata(header.pop("__metadata__", {}))
    if len(header) > limits.TENSORS:
        raise FormatError("TooLarge", where, f"it lists {len(header):,} tensors; {limits.TENSORS:,} can be opened.")
    extents: list[tuple[int, int, str]] = []
    tensors: list[TensorInfo] = []
    kinds: _Kinds = {}
    entries = iter(header.items())
    while len(tensors) < len(header):
        yield Progress("Listing the tensors", len(tensors), len(header))
        with collector_paused():  # not beyond a yield, where it would be paused for everyone
            for name, entry in itertools.islice(entries, _STEP):
                tensors.append(_tensor(path, where, name, entry, start, extents, kinds))
    end = _checked_layout(where, extents, file.size - start)
    if start > limits.HEADER_WARNING_BYTES:
        warnings.append(f"The header takes {start:,} bytes, which is unusually much.")
    if end < file.size - start:
        warnings.append(f"{file.size - start - end:,} bytes follow the last tensor; they are not read.")
    return FileCheckpoint(path, "safetensors", tuple(tensors), metadata, tuple(warnings), fingerprint=file.fingerprint)


def _header(file: PositionedFile) -> tuple[dict[str, Any], int]:
    n = int.from_bytes(file.read(0, 8), "little")
    if n > limits.HEADER_BYTES:
        what = f"its header claims {n:,} bytes; {limits.HEADER_BYTES:,} are the most."
        raise FormatError("HeaderTooLarge", file.where, what, _MEND)
    if 8 + n > file.size:
        what = f"its header claims {n:,} bytes and the file holds {file.size:,}."
        raise FormatError("Truncated", file.where, what, "The file is incomplete. Download it again.")
    return parse_object(file.read(8, n), file.where, "BadHeader", "its header"), 8 + n


def _metadata(found: Any) -> tuple[dict[str, str], list[str]]:
    """The header's `__metadata__`, with long values cut, and what is to be said about it."""
    if not is_table(found):
        return {}, ["__metadata__ is not a table of texts and is left out."]
    warnings: list[str] = []
    if any(not isinstance(value, str) for value in found.values()):
        warnings.append("__metadata__ holds values that are not texts; they are shown as JSON.")
    if len(found) > limits.METADATA_ENTRIES:
        warnings.append(f"__metadata__ has {len(found):,} entries; the first {limits.METADATA_ENTRIES:,} are shown.")
    texts: dict[str, str] = {}
    for key, value in list(found.items())[: limits.METADATA_ENTRIES]:
        texts[elide(key)] = elide(as_text(value), limits.METADATA_SHOWN)
    return texts, warnings


def _tensor(
    path: Path, where: str, name: str, entry: Any, start: int, extents: list[tuple[int, int, str]], kinds: _Kinds
) -> TensorInfo:
    """Describe one entry of the header and add its extent to `extents`. `kinds` are those that were checked already:
    of very many tensors most are of a few.
    """
    if len(name) > limits.NAME_STORED:
        raise FormatError("TooLarge", where, f"a tensor's name has {len(name):,} characters.", _MEND)
    try:
        stored, found, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        what = f"the entry of “{printable(name)}” is not a dtype, a shape and two offsets."
        raise FormatError("BadHeader", where, what, _MEND) from None
    try:
        key = (stored, *found, *map(type, found)) if is_sequence(found) else ()  # True is 1, and no size
        kind = kinds.get(key)
    except TypeError:
        key, kind = (), None
    if kind is None:
        shape = checked_shape(found, where, name)
        if not isinstance(stored, str):
            raise _invalid(where, name)
        kinds[key] = kind = (shape, c_strides(shape), math.prod(shape))
    shape, strides, n = kind
    if not (is_count(begin) and is_count(end) and begin <= end < 1 << 63):
        raise _invalid(where, name)
    extents.append((begin, end, name))
    nbytes = end - begin
    if stored in _NAMES:
        raw = _RAW[stored]
        bits = 8 * raw.itemsize
        tensor = TensorInfo(
            name, shape, _NAMES[stored], nbytes, path, "", "", Strided(start + begin, raw, shape, strides)
        )
    elif stored in _PACKED:
        dtype, bits = _PACKED[stored]
        why = f"{stored} values are packed into bytes, which cannot be shown yet"
        tensor = unsupported("Unsupported", name, shape, dtype, nbytes, path, why)
    else:
        why = f"its type “{printable(stored, 40)}” is not known"
        return unsupported("Unsupported", name, shape, elide(stored, 40), nbytes, path, why)
    if n * bits != 8 * nbytes:
        what = f"“{printable(name)}” takes {nbytes:,} bytes, which its shape {list(shape)} of {stored} does not fill."
        raise FormatError("BadHeader", where, what, _MEND)
    return tensor


def _invalid(where: str, name: str) -> FormatError:
    return FormatError("BadHeader", where, f"the dtype or the offsets of “{printable(name)}” are not valid.", _MEND)


def _checked_layout(where: str, extents: list[tuple[int, int, str]], available: int) -> int:
    """Where the last tensor ends; "Overlap" or "Hole" where two tensors do not meet, "Truncated" beyond the file."""
    last = 0
    for begin, end, name in sorted(extents):
        if begin != last:
            kind, how = ("Overlap", "begins inside") if begin < last else ("Hole", "does not begin at the end of")
            raise FormatError(kind, where, f"“{printable(name)}” {how} the tensor before it.", _MEND)
        last = end
    if last > available:
        what = f"its tensors take {last:,} bytes and the file holds {available:,} of them."
        raise FormatError("Truncated", where, what, "The file is incomplete. Download it again.")
    return last
