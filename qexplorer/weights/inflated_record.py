"""A compressed record of an archive, read at any place without ever being held whole.

It is inflated once from end to end, which verifies it. On the way the inflater's state is copied now and then: from
such a point it can be inflated on at any time, as in zlib's `examples/zran.c`.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexplorer.progress import Progress, Steps
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.positioned_file import Fingerprint, PositionedFile
from qexplorer.weights.zip_archive import STEP, Inflater, ZipEntry, inflated

POINTS = 256
"""So many states are kept at most, of about 100 kB each."""
SPACING = 4 << 20
"""The least number of bytes between two points."""
CURSORS = 8
"""So many places are remembered at which somebody has stopped reading, to go on from there."""


@dataclass
class _Cursor:
    """The state of an inflater that has given out `done` bytes and taken in `taken`; `pending` are fed next."""

    done: int
    taken: int
    inflater: Inflater
    pending: bytes = b""

    def produce(self, file: PositionedFile, entry: ZipEntry, most: int) -> bytes:
        """The next bytes of the content, at most so many; none at its end."""
        if not self.pending and self.taken < entry.stored:
            self.pending = file.read(entry.offset + self.taken, min(STEP, entry.stored - self.taken))
            self.taken += len(self.pending)
        piece = self.inflater.decompress(self.pending, most)
        self.pending = self.inflater.unconsumed_tail
        self.done += len(piece)
        return piece


@dataclass
class InflatedRecord:
    """A deflated record of an archive; any thread may read it, several at once, once it was `verified`."""

    path: Path
    fingerprint: Fingerprint
    entry: ZipEntry
    _points: list[_Cursor] = field(default_factory=list[_Cursor])
    _cursors: list[_Cursor] = field(default_factory=list[_Cursor])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def verified(self) -> Steps[None]:
        """Inflate it from end to end. Raises `FormatError` as `inflated` does."""
        done, spacing = 0, max(SPACING, self.entry.size // POINTS)

        def pass_by(taken: int, inflater: Inflater) -> None:
            if done >= len(self._points) * spacing:
                self._points.append(_Cursor(done, taken, inflater.copy()))

        with PositionedFile(self.path, self.fingerprint) as file:
            for number, piece in enumerate(inflated(file, self.entry, pass_by=pass_by)):
                done += len(piece)
                if number % 64 == 0:
                    file.require_unchanged()
                    yield Progress("Inflating", done, self.entry.size)

    def read(self, offset: int, n: int) -> NDArray[np.uint8]:
        """The `n` bytes of content from `offset` on. Raises `FormatError` where the file is not what it was."""
        content = np.empty(n, np.uint8)
        cursor = self._before(offset)
        with PositionedFile(self.path, self.fingerprint) as file:
            while cursor.done < offset:
                self._next(cursor, file, min(STEP, offset - cursor.done))
            filled = 0
            while filled < n:
                piece = self._next(cursor, file, n - filled)
                content[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
            file.require_unchanged()
        with self._lock:
            self._cursors = [*self._cursors[1 - CURSORS :], cursor]
        return content

    def _next(self, cursor: _Cursor, file: PositionedFile, most: int) -> bytes:
        piece = cursor.produce(file, self.entry, most)
        if not piece and cursor.taken >= self.entry.stored and not cursor.pending:
            raise FormatError("Changed", file.where, "it was changed since it was opened.", "Open it again.")
        return piece

    def _before(self, offset: int) -> _Cursor:
        """The nearest place before `offset` from which it can be inflated on."""
        with self._lock:
            point = max((each for each in self._points if each.done <= offset), key=lambda each: each.done)
            left = [each for each in self._cursors if point.done < each.done <= offset]
            if left:
                nearest = max(left, key=lambda each: each.done)
                self._cursors.remove(nearest)
                return nearest
            return _Cursor(point.done, point.taken, point.inflater.copy())
