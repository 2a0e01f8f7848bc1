"""What is copied between a worker and the run history: one file at a time, in chunks, complete or not at all."""

import hashlib
import os
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Self

from qexplorer.errors import UserError
from qexplorer.folders import disk_errors

STEP, ARRAYS, MODEL, END = "step", "arrays", "model", "end"
"""The JSON value or the arrays of a finished step, the file of a model that the run made, or how the run has ended."""
MOST_BYTES = {STEP: 64_000_000, ARRAYS: 4_000_000_000, MODEL: 4_000_000_000, END: 64_000_000}
"""Larger ones are not copied."""
CHUNK = 4 << 20
"""The bytes of one chunk, which is all of an artifact that is in memory at once."""
NAME = 4096
"""The most characters of a name."""


@dataclass(frozen=True)
class Artifact:
    """A description of the content: `name` is the step's key or the model's row, never that of a file.

    Raises `UserError` where it describes nothing that there can be.
    """

    number: int
    kind: str
    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if self.kind not in MOST_BYTES or self.size < 0 or len(self.name) > NAME:
            raise UserError("A worker offers an artifact of an unknown kind, name or size.")

    @classmethod
    def of(cls, number: int, kind: str, name: str, content: BufferedIOBase) -> Self:
        """The description of an open file."""
        digest = hashlib.file_digest(content, "sha256")
        return cls(number, kind, name, content.seek(0, os.SEEK_END), digest.hexdigest())

    @property
    def fits(self) -> bool:
        """Whether it is small enough to be copied."""
        return self.size <= MOST_BYTES[self.kind]


def read_chunk(content: BufferedIOBase, offset: int, size: int) -> bytes:
    """The bytes of an open file from `offset` on, at most `size`."""
    content.seek(offset)
    return content.read(size)


class IncomingFile:
    """A file that receives an artifact's content. It is removed where it was not completed and moved away."""

    def __init__(self, artifact: Artifact, path: Path) -> None:
        self._artifact = artifact
        self._path = path
        self._digest = hashlib.sha256()
        self.size = 0
        """The bytes received so far."""
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    @property
    def complete(self) -> bool:
        """Whether all bytes are there."""
        return self.size == self._artifact.size

    def write(self, offset: int, chunk: Any) -> None:
        """Append a chunk; one that is there already was sent twice, and is ignored.

        Raises `UserError` where it does not fit, and where the disk is full.
        """
        if not isinstance(chunk, bytes) or not chunk or offset > self.size or len(chunk) > self._artifact.size - offset:
            raise self._damaged()
        if offset == self.size:
            with disk_errors(self._path):
                self._file.write(chunk)
            self._digest.update(chunk)
            self.size += len(chunk)

    def close(self) -> Path:
        """The path of the complete file, flushed to disk, for the caller to move. Raises `UserError` if damaged."""
        if not self.complete or self._digest.hexdigest() != self._artifact.sha256:
            raise self._damaged()
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        return self._path

    def _damaged(self) -> UserError:
        return UserError("A file was damaged on its way between a worker and this program.", "Run it again.")
