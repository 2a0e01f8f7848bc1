"""Readers: one file a format. A reader knows its format by content, lists a file by its header, and runs nothing."""

from abc import abstractmethod
from pathlib import Path
from stat import S_ISDIR
from typing import ClassVar

from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import Checkpoint
from qexplorer.weights.guards import guarded
from qexplorer.weights.positioned_file import PositionedFile, status_of
from qexplorer.weights.refusals import refusal, refuse_unfinished
from qexplorer.weights.text import shown


class Reader(Plugin):
    """A way to open one kind of file or folder. `order` decides who is asked first."""

    order: ClassVar[int] = 100

    @abstractmethod
    def accepts(self, path: Path, head: bytes) -> bool:
        """Whether this is such a file, judged by its first bytes (`head`, empty for a folder), not by its name."""

    @abstractmethod
    def open(self, path: Path) -> Steps[Checkpoint]:
        """List the file's tensors, reading headers only. Raises `FormatError`."""


readers: Registry[Reader] = Registry("reader")


def open_checkpoint(path: Path | str) -> Steps[Checkpoint]:
    """Open any supported file or folder, known by its content, or the text of a source such as `synthetic:laplace`.

    Raises `FormatError`, which says in one line what the file is and why it cannot be opened.
    """
    text, path = str(path), Path(path)
    if text.partition(":")[0] == "synthetic" and not path.exists():
        return (yield from readers.parse(text).open(path))
    return (yield from open_path(path))


def open_path(path: Path) -> Steps[Checkpoint]:
    """Open a file or folder, known by its content."""
    with guarded(shown(path.name)):
        head = b"" if S_ISDIR(status_of(path).st_mode) else head_of(path)
        for reader in (cls() for cls in readers):
            if reader.accepts(path, head):
                return (yield from reader.open(path))
        raise refusal(path, head)


def head_of(path: Path) -> bytes:
    """The first bytes of a file. Raises `FormatError` for what is no regular file, or cannot be whole."""
    with PositionedFile(path) as file:
        refuse_unfinished(path, file.size)
        return file.read(0, min(file.size, limits.HEAD_BYTES))


readers.discover(__name__, list(__path__))
