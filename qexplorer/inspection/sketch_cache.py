"""Sketches on disk, so that a file that was looked at before is known at once when it is opened again."""

import io
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qexplorer.folders import set_aside
from qexplorer.log import log
from qexplorer.quant.sketch import Sketch

SCHEMA = """
CREATE TABLE IF NOT EXISTS sketches (
    identity TEXT PRIMARY KEY, used REAL NOT NULL, bytes INTEGER NOT NULL, sketch BLOB NOT NULL)
"""
VERSION = 1
"""Of how a sketch is counted and stored: others are counted again."""
MOST_BYTES = 64 << 20
"""What all sketches may take; those that were not used longest go first."""
PATIENCE_S, NOTE_S = 5.0, 0.2
"""So long another process may hold the file, and so long where it is only noted that a sketch was used."""
DAMAGED = (
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_CONSTRAINT,
)  # fmt: skip
"""What SQLite answers where the file holds something else than this program wrote."""


class SketchCache:
    """The sketches in one SQLite file. It is a convenience: what cannot be read or written is counted again.

    Each call opens and closes its own connection, so any thread and any number of windows may call.
    """

    def __init__(self, path: Path | None, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most = most_bytes

    def get(self, identity: str) -> Sketch | None:
        """The sketch of that tensor, if it is known. One that is damaged is forgotten."""
        if self.path is None or not identity:
            return None
        row = None
        with self._tolerant(self.path), self._open(self.path) as database:
            row = database.execute("SELECT sketch FROM sketches WHERE identity = ?", (identity,)).fetchone()
        if row is None:
            return None
        found = _unpacked(row[0])
        with self._tolerant(self.path), self._open(self.path, NOTE_S) as database:
            if found is None:
                log.warning("a damaged sketch was taken out of %s", self.path.name)
                database.execute("DELETE FROM sketches WHERE identity = ?", (identity,))
            else:
                database.execute("UPDATE sketches SET used = ? WHERE identity = ?", (time.time(), identity))
        return found

    def put(self, identity: str, sketch: Sketch) -> None:
        """Remember the sketch of that tensor."""
        if self.path is None or not identity:
            return
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **sketch.arrays())
        data = packed.getvalue()
        if len(data) > self._most:
            return
        with self._tolerant(self.path), self._open(self.path) as database:
            database.execute(
                "INSERT OR REPLACE INTO sketches (identity, used, bytes, sketch) VALUES (?,?,?,?)",
                (identity, time.time(), len(data), data),
            )
            database.execute(
                "DELETE FROM sketches WHERE identity IN (SELECT identity FROM (SELECT identity, SUM(bytes) OVER "
                "(ORDER BY used DESC, rowid DESC) AS kept FROM sketches) WHERE kept > ?)",
                (self._most,),
            )

    @contextmanager
    def _tolerant(self, path: Path) -> Generator[None]:
        """Go on without the cache where it cannot be had; a damaged file is set aside, and the next call makes one."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
                set_aside(path)
        except UnicodeDecodeError:  # SQLite's own message quotes the damaged bytes
            set_aside(path)
        except OSError:
            pass

    @contextmanager
    def _open(self, path: Path, patience_s: float = PATIENCE_S) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(path, timeout=patience_s)) as database, database:
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                database.execute("BEGIN IMMEDIATE")  # two windows may find an old file at the same time
                database.execute("DROP TABLE IF EXISTS sketches")
                database.execute(f"PRAGMA user_version = {VERSION}")
                database.execute(SCHEMA)
            yield database


def _unpacked(content: Any) -> Sketch | None:
    """The sketch in a stored value; None where it is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Sketch.of_arrays(dict(arrays))
    except Exception:  # noqa: BLE001  numpy reads headers with Python's own tokenizer: there is no list of what it raises
        return None
