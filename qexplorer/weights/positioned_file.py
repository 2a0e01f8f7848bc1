"""A file read at positions. Not mapped: a file that is truncated while mapped kills the process that looks at it."""

import os
import stat
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qexplorer.text import printable
from qexplorer.weights.checkpoint import FormatError

# Each exists on some systems only; no two share a bit.
_FLAGS = os.O_RDONLY + sum(
    getattr(os, name, 0) for name in ("O_BINARY", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_NOINHERIT")
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a file looked when it was listed; a file that looks otherwise is not read from."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """When its status last changed, which unlike `modified_ns` nobody sets back; on Windows when it was made."""

    @classmethod
    def of(cls, status: os.stat_result) -> "Fingerprint":
        """The fingerprint in a file's status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class PositionedFile:
    """A regular file, open for reading at positions. A context manager; one thread at a time.

    Raises `FormatError`: "NotFound", "Unreadable", "NotRegular" for a device, pipe or folder (before opening it, so
    nothing blocks), and "Changed" where it no longer looks like `expected`.
    """

    def __init__(self, path: Path, expected: Fingerprint | None = None) -> None:
        self.path = path
        self.where = printable(path.name)
        _require_regular(status_of(path), self.where)
        try:
            self._file = FileIO(os.open(path, _FLAGS))
        except OSError as error:
            raise _unreadable(self.where, error) from None
        try:
            status = os.fstat(self._file.fileno())
            _require_regular(status, self.where)
            self.fingerprint = Fingerprint.of(status)
            self.size = status.st_size
            if expected is not None and self.fingerprint != expected:
                raise _changed(self.where)
        except FormatError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, offset: int, n: int) -> bytes:
        """Exactly `n` bytes from `offset` on; "Truncated" beyond the end, "Changed" where they are gone by now."""
        return self.read_array(offset, n).tobytes()

    def read_array(self, offset: int, n: int) -> NDArray[np.uint8]:
        """The same as an array of its own."""
        if offset < 0 or n < 0 or offset + n > self.size:
            what = f"it ends at byte {self.size:,}, but bytes {offset:,} to {offset + n:,} are needed."
            raise FormatError("Truncated", self.where, what, "The file is incomplete. Download it again.")
        try:
            data = np.empty(n, np.uint8)
            self._file.seek(offset)
            done = 0
            while done < n:
                got = self._file.readinto(data[done:].data)
                if not got:
                    raise _changed(self.where)
                done += got
        except OSError as error:
            raise _unreadable(self.where, error) from None
        return data

    def require_unchanged(self) -> None:
        """Raise "Changed" where the file was written to since it was opened."""
        if Fingerprint.of(os.fstat(self._file.fileno())) != self.fingerprint:
            raise _changed(self.where)


def require_same(path: Path, expected: Fingerprint) -> None:
    """Raise "Changed" where another file is at `path` by now, or other content; one that is gone may be remembered."""
    try:
        found = Fingerprint.of(path.stat())
    except (OSError, ValueError):
        return
    if found != expected:
        raise _changed(printable(path.name))


def status_of(path: Path) -> os.stat_result:
    """The status of what is at `path`, links followed; "NotFound" or "Unreadable" where there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        raise FormatError("NotFound", printable(str(path)), "there is no such file.") from None
    except (OSError, ValueError) as error:
        raise _unreadable(printable(str(path)), error) from None


def _require_regular(status: os.stat_result, where: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise FormatError("NotRegular", where, f"it is {what}, not a file.")


def _changed(where: str) -> FormatError:
    return FormatError("Changed", where, "it was changed since it was opened.", "Open it again.")


def _unreadable(where: str, error: OSError | ValueError) -> FormatError:
    reason = (error.strerror if isinstance(error, OSError) else None) or "not a valid path"
    return FormatError("Unreadable", where, f"the system cannot read it ({reason}).")
