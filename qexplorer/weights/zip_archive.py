"""A zip archive listed strictly: what its two lists of entries disagree about, or claim twice, is refused.

Layout: PKWARE APPNOTE 6.3.10. Python's `zipfile` is lenient where a weight file must not be: it accepts duplicates
and, before 3.11.8, overlapping entries.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qexplorer.progress import Progress, Steps
from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.positioned_file import PositionedFile

STORED, DEFLATED = 0, 8

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _DESCRIBED_LATER, _UTF8 = 0x2041, 0x8, 0x800
_U16, _U32 = 0xFFFF, 0xFFFFFFFF
STEP = 64 << 10
_ENTRIES_AT_ONCE = 2000
_MEND = "The file is damaged or was altered. Download it again."


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One record: `stored` bytes from `offset` on, which are `size` bytes once inflated."""

    name: str
    method: int
    size: int
    stored: int
    crc: int
    offset: int

    @property
    def end(self) -> int:
        """Where its stored bytes end."""
        return self.offset + self.stored


class Inflater(Protocol):
    """What zlib calls a decompression object."""

    @property
    def unconsumed_tail(self) -> bytes:
        """Input that there was no room for."""
        ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        """At most `max_length` bytes of content."""
        ...

    def copy(self) -> "Inflater":
        """The same state once more."""
        ...


@dataclass(frozen=True, slots=True)
class _Listed:
    raw_name: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    header: int


class StoredReader:
    """`read(offset, n)` for an uncompressed record: its checksum is verified once it was read from end to end.

    "BadChecksum" is raised before the last bytes are given out. Parts, and parts out of order, go unverified. With
    `is_zero_none` a checksum of 0 means that none was noted, as PyTorch writes where it is told not to.
    """

    def __init__(self, file: PositionedFile, entry: ZipEntry, *, is_zero_none: bool = False) -> None:
        self._file = file
        self._entry = entry
        self._is_zero_none = is_zero_none
        self._next = entry.offset
        self._crc = 0

    def __call__(self, offset: int, n: int) -> NDArray[np.uint8]:
        data = self._file.read_array(offset, n)
        if offset == self._next:
            self._crc = zlib.crc32(data.data, self._crc)
            self._next += n
            if self._next == self._entry.end:
                _check(self._file.where, self._entry, self._crc, is_zero_none=self._is_zero_none)
        return data


def list_entries(file: PositionedFile) -> Steps[dict[str, ZipEntry]]:
    """The archive's records by name. Raises `FormatError`, e.g. "Duplicate", "Overlap", "NameMismatch", "Encrypted"."""
    count, directory_size, directory = _directory(file)
    if count > limits.ZIP_ENTRIES or directory_size > limits.ZIP_DIRECTORY_BYTES:
        raise FormatError("TooLarge", file.where, f"the archive lists {count:,} records.")
    entries: dict[str, ZipEntry] = {}
    end = 0
    central = sorted(_central(file, count, directory_size, directory), key=lambda listed: listed.header)
    for number, listed in enumerate(central):
        if number % _ENTRIES_AT_ONCE == 0:
            yield Progress("Listing the archive", number, len(central))
        entry = _located(file, listed)
        if entry.name in entries:
            raise FormatError("Duplicate", file.where, f"the archive holds “{printable(entry.name)}” twice.", _MEND)
        if listed.header < end or entry.end > directory:
            raise FormatError("Overlap", file.where, f"the record “{printable(entry.name)}” overlaps another.", _MEND)
        end = entry.end
        entries[entry.name] = entry
    return entries


def inflated(file: PositionedFile, entry: ZipEntry, *, is_zero_none: bool = False,
             pass_by: Callable[[int, Inflater], None] | None = None) -> Iterator[bytes]:  # fmt: skip
    """The record's content in small pieces, stopped at its stated size; its checksum is verified.

    `pass_by(taken, inflater)` is called before each piece of a compressed one, with how many stored bytes went into it
    so far. See `StoredReader` for `is_zero_none`.
    """
    crc = done = 0
    for piece in _pieces(file, entry, pass_by):
        done += len(piece)
        if done > entry.size:
            break
        crc = zlib.crc32(piece, crc)
        yield piece
    if done != entry.size:
        what = f"the record “{printable(entry.name)}” does not inflate to the {entry.size:,} bytes it states."
        raise FormatError("Truncated" if done < entry.size else "TooLarge", file.where, what, _MEND)
    _check(file.where, entry, crc, is_zero_none=is_zero_none)


def read_whole(file: PositionedFile, entry: ZipEntry, most: int, *, is_zero_none: bool = False) -> bytes:
    """A small record's whole content; "TooLarge" beyond `most` bytes or for a suspicious compression."""
    if entry.size > most or entry.size > limits.ZIP_RATIO * max(entry.stored, 1):
        what = f"the record “{printable(entry.name)}” states {entry.size:,} bytes, inflated from {entry.stored:,}."
        raise FormatError("TooLarge", file.where, what, _MEND)
    return b"".join(inflated(file, entry, is_zero_none=is_zero_none))


def _check(where: str, entry: ZipEntry, crc: int, *, is_zero_none: bool) -> None:
    if crc != entry.crc and not (is_zero_none and entry.crc == 0):
        raise FormatError("BadChecksum", where, f"the checksum of “{printable(entry.name)}” does not fit.", _MEND)


def _pieces(file: PositionedFile, entry: ZipEntry, pass_by: Callable[[int, Inflater], None] | None) -> Iterator[bytes]:
    if entry.method not in (STORED, DEFLATED):
        what = f"the record “{printable(entry.name)}” is compressed in a way ({entry.method}) that cannot be read."
        raise FormatError("Unsupported", file.where, what)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for at in range(0, entry.stored, STEP):
        data = file.read(entry.offset + at, min(STEP, entry.stored - at))
        if entry.method == STORED:
            yield data
            continue
        stop = at + len(data)
        while data and not inflate.eof:
            if pass_by is not None:
                pass_by(stop - len(data), inflate)
            yield inflate.decompress(data, STEP)
            data = inflate.unconsumed_tail
    while entry.method == DEFLATED and not inflate.eof and (rest := inflate.decompress(b"", STEP)):
        yield rest


def _directory(file: PositionedFile) -> tuple[int, int, int]:
    """How many entries the directory at the archive's end lists, its size, and where it begins."""
    tail_start = max(0, file.size - _END.size - _U16)
    tail = file.read(tail_start, file.size - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and (at + _END.size > len(tail) or at + _END.size + _END.unpack_from(tail, at)[7] != len(tail)):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if at < 0:
        what = "the archive has no list of its records at its end."
        raise FormatError("Truncated", file.where, what, "The file is incomplete. Download it again.")
    _, disk, first_disk, _, count, size, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if end >= _LOCATOR64.size and (located := file.read(end - _LOCATOR64.size, _LOCATOR64.size)).startswith(b"PK\6\7"):
        end = _LOCATOR64.unpack(located)[2]
        magic, _, _, _, disk, first_disk, _, count, size, start = _END64.unpack(file.read(end, _END64.size))
        if magic != b"PK\x06\x06":
            raise FormatError("Damaged", file.where, "the archive's list of records is not where it should be.", _MEND)
    if disk or first_disk or start + size != end:
        raise FormatError("Damaged", file.where, "the archive's list of records is not where it should be.", _MEND)
    return count, size, start


def _central(file: PositionedFile, count: int, size: int, start: int) -> Iterator[_Listed]:
    data, at = file.read(start, size), 0
    while at < size and count > 0:
        magic, _, _, flags, method, _, _, crc, stored, inflated_size, name_n, extra_n, note_n, _, _, _, header = (
            _CENTRAL.unpack_from(data, at)
        )
        name_end = at + _CENTRAL.size + name_n
        extra = data[name_end : name_end + extra_n]
        if magic != b"PK\x01\x02" or name_end + extra_n + note_n > size:
            raise FormatError("Damaged", file.where, "the archive's list of records is damaged.", _MEND)
        inflated_size, stored, header = _wide(extra, inflated_size, stored, header)
        yield _Listed(data[at + _CENTRAL.size : name_end], flags, method, crc, stored, inflated_size, header)
        at = name_end + extra_n + note_n
        count -= 1
    if count or at < size:
        raise FormatError("Damaged", file.where, "the archive does not list as many records as it states.", _MEND)


def _wide(extra: bytes, *values: int) -> list[int]:
    """Replace each value that does not fit 32 bits by its 64-bit form in the zip64 field."""
    wide, at = b"", 0
    while at + 4 <= len(extra):
        kind, n = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = extra[at + 4 : at + 4 + n]
        at += 4 + n
    result: list[int] = []
    for value in values:
        if value == _U32:
            result += struct.unpack_from("<Q", wide)
            wide = wide[8:]
        else:
            result.append(value)
    return result


def _located(file: PositionedFile, listed: _Listed) -> ZipEntry:
    """The entry, once the header before its content agrees with the directory."""
    header = file.read(listed.header, _LOCAL.size + len(listed.raw_name))
    magic, _, flags, method, _, _, crc, stored, size, name_n, extra_n = _LOCAL.unpack_from(header)
    name = listed.raw_name.decode("utf-8" if listed.flags & _UTF8 else "cp437")
    where, label = file.where, printable(name)
    if magic != b"PK\x03\x04":
        raise FormatError("Damaged", where, f"the record “{label}” is not where the archive's list says.", _MEND)
    if name_n != len(listed.raw_name) or header[_LOCAL.size :] != listed.raw_name:
        raise FormatError("NameMismatch", where, f"the record “{label}” calls itself something else.", _MEND)
    stated = (size in (listed.size, _U32), stored in (listed.stored, _U32), crc == listed.crc)
    described_later = flags & _DESCRIBED_LATER and size == stored == 0
    if method != listed.method or (flags ^ listed.flags) & _ENCRYPTED or not (all(stated) or described_later):
        raise FormatError("Mismatch", where, f"the record “{label}” is described in two different ways.", _MEND)
    if method == STORED and listed.size != listed.stored:
        raise FormatError("Mismatch", where, f"the record “{label}” states two sizes.", _MEND)
    offset = listed.header + _LOCAL.size + name_n + extra_n
    if flags & _ENCRYPTED:
        raise FormatError("Encrypted", where, f"the record “{label}” is encrypted.", "Save it without a password.")
    return ZipEntry(name, method, listed.size, listed.stored, listed.crc, offset)
