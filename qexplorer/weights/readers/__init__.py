"""Readers: one file a format. A reader knows its format by content, lists a file by its header, and runs nothing."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps
from qexplorer.weights.checkpoint import Checkpoint


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
    """Open any supported file or folder, known by its content."""
    raise UserError(f"{path} is not a supported file.")
    yield


readers.discover(__name__, list(__path__))
