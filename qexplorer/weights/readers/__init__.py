"""Readers: one file a format. A reader knows its format by content, lists a file by its header, and runs nothing."""

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import ClassVar

from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps
from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import Checkpoint, FormatError
from qexplorer.weights.guards import guarded
from qexplorer.weights.positioned_file import Fingerprint, PositionedFile, status_of
from qexplorer.weights.refusals import refusal, refuse_unfinished
from qexplorer.weights.zip_archive import ZipEntry, list_entries


@dataclass(frozen=True)
class Source:
    """A file or folder to be opened: its first bytes (`head`, empty for a folder), and its records if it is a zip."""

    path: Path
    head: bytes = b""
    records: Mapping[str, ZipEntry] | None = None
    fingerprint: Fingerprint | None = None

    def file(self) -> PositionedFile:
        """The file, opened; "Changed" where it is no longer the one that was looked at."""
        return PositionedFile(self.path, self.fingerprint)


class Reader(Plugin):
    """A way to open one kind of file or folder. `order` decides who is asked first.

    `suffixes` are the usual ones of its files, for people to read: files are known by their content. A reader of
    folders has none, and is called by its title.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def accepts(self, source: Source) -> bool:
        """Whether this is such a file, judged by its content, not by its name."""

    @abstractmethod
    def open(self, source: Source) -> Steps[Checkpoint]:
        """List the file's tensors, reading headers only. Raises `FormatError`."""


readers: Registry[Reader] = Registry("reader")


def what_opens() -> str:
    """What can be opened, to follow an “a”: `.safetensors, .npy or .npz file, or a Hugging Face folder`."""
    *others, last = (suffix for cls in readers for suffix in cls.suffixes)
    folders = (f"a {cls.title}" for cls in readers if not cls.suffixes and cls.title.endswith("folder"))
    return ", or ".join((f"{', '.join(others)} or {last} file", *folders))


def unreadable(path: Path, head: bytes = b"") -> FormatError:
    """The error for a file, or a folder, that no reader accepts."""
    return refusal(path, head, f"Open a {what_opens()}.")


def open_checkpoint(path: Path | str) -> Steps[Checkpoint]:
    """Open any supported file or folder, known by its content, or the text of a source such as `synthetic:laplace`.

    Raises `FormatError`, which says in one line what the file is and why it cannot be opened.
    """
    text, path = str(path), Path(path)
    if is_synthetic(text):
        return (yield from readers.parse(text).open(Source(path)))
    return (yield from open_path(path))


def is_synthetic(path: Path | str) -> bool:
    """Whether it asks for made-up values: `synthetic` or `synthetic:…`, where nothing of that name exists."""
    text = str(path)
    return text.partition(":")[0] == "synthetic" and not os.path.exists(text)  # noqa: PTH110 (it never raises)


def open_path(path: Path) -> Steps[Checkpoint]:
    """Open a file or folder, known by its content."""
    with guarded(printable(path.name)):
        source = Source(path) if S_ISDIR(status_of(path).st_mode) else (yield from look_at(path))
        for reader in (cls() for cls in readers):
            if reader.accepts(source):
                return (yield from reader.open(source))
        raise unreadable(path, source.head)


def look_at(path: Path) -> Steps[Source]:
    """What readers judge a file by. Raises `FormatError` for what is no regular file, or cannot be whole."""
    with PositionedFile(path) as file:
        refuse_unfinished(path, file.size)
        head = file.read(0, min(file.size, limits.HEAD_BYTES))
        records = (yield from list_entries(file)) if head.startswith(b"PK\x03\x04") else None
        return Source(path, head, records, file.fingerprint)


readers.discover(__name__, list(__path__))
