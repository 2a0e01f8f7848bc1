"""What goes between a worker and the run history: a file at a time, in pieces, found whole or not at all."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from qexplorer.errors import UserError
from qexplorer.folders import disk_errors

STEP, ARRAYS, MODEL = "step", "arrays", "model"
"""What a parcel holds: the JSON value or the arrays of a finished step, or the file of a model that the run made."""
MOST_BYTES = {STEP: 64_000_000, ARRAYS: 4_000_000_000, MODEL: 4_000_000_000}
"""What is larger stays where it is."""
PIECE = 4 << 20
"""So many bytes go in one message: that is all that lies in memory at once."""


@dataclass(frozen=True)
class Parcel:
    """What is known of it before it comes: `name` is the step's key or the model's row, never that of a file."""

    number: int
    kind: str
    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, number: int, kind: str, name: str, content: BinaryIO) -> Self:
        """The parcel of an open file."""
        digest, size = hashlib.sha256(), 0
        while block := content.read(1 << 20):
            digest.update(block)
            size += len(block)
        return cls(number, kind, name, size, digest.hexdigest())

    @property
    def fits(self) -> bool:
        """Whether it may come at all."""
        return 0 <= self.size <= MOST_BYTES.get(self.kind, -1)


def piece_of(content: BinaryIO, offset: int, size: int = PIECE) -> bytes:
    """The bytes of an open file from `offset` on, at most `size`."""
    content.seek(offset)
    return content.read(size)


class Arriving:
    """A parcel's content on its way into a file. Left before it was kept, it leaves no file."""

    def __init__(self, parcel: Parcel, path: Path) -> None:
        self._parcel = parcel
        self._path = path
        self._digest = hashlib.sha256()
        self.size = 0
        """So many bytes are there."""
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.size == self._parcel.size

    def add(self, offset: int, piece: bytes) -> None:
        """Append a piece; one that is there already is the answer to a question that was put twice.

        Raises `UserError` where it does not fit in, and where the disk is full.
        """
        if offset < self.size:
            return
        if offset > self.size or not piece or self.size + len(piece) > self._parcel.size:
            raise self._damaged()
        with disk_errors(self._path):
            self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def keep(self) -> Path:
        """The whole file, on the disk, which is the caller's to move. Raises `UserError` where it is damaged."""
        if not self.whole or self._digest.hexdigest() != self._parcel.sha256:
            raise self._damaged()
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        return self._path

    def _damaged(self) -> UserError:
        return UserError("A file came over damaged between a worker and this program.", "Run it again.")
