"""Sketches on disk, so that a file that was looked at before is known at once when it is opened again."""

import io
import sqlite3
import time
import zipfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from qexplorer.quant.sketch import Sketch

SCHEMA = """
CREATE TABLE IF NOT EXISTS sketches (
    identity TEXT PRIMARY KEY, used REAL NOT NULL, bytes INTEGER NOT NULL, sketch BLOB NOT NULL)
"""
VERSION = 1
"""Of how a sketch is counted and stored: others are counted again."""
MOST_BYTES = 64 << 20
"""What all sketches may take; those that were not used longest go first."""
PATIENCE_S = 0.5


class SketchCache:
    """The sketches in one SQLite file. It is a convenience: what cannot be read or written is counted again.

    Each call opens and closes its own connection, so any thread and any number of windows may call.
    """

    def __init__(self, path: Path | None, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most = most_bytes

    def get(self, identity: str) -> Sketch | None:
        """The sketch of that tensor, if it is known."""
        if self.path is None or not identity:
            return None
        try:
            with self._open(self.path) as database:
                row = database.execute("SELECT sketch FROM sketches WHERE identity = ?", (identity,)).fetchone()
                if row is None:
                    return None
                database.execute("UPDATE sketches SET used = ? WHERE identity = ?", (time.time(), identity))
            with np.load(io.BytesIO(row[0]), allow_pickle=False) as arrays:
                return Sketch.of_arrays(dict(arrays))
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return None

    def put(self, identity: str, sketch: Sketch) -> None:
        """Remember the sketch of that tensor."""
        if self.path is None or not identity:
            return
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **sketch.arrays())
        data = packed.getvalue()
        if len(data) > self._most:
            return
        try:
            with self._open(self.path) as database:
                database.execute(
                    "INSERT OR REPLACE INTO sketches (identity, used, bytes, sketch) VALUES (?,?,?,?)",
                    (identity, time.time(), len(data), data),
                )
                database.execute(
                    "DELETE FROM sketches WHERE identity IN (SELECT identity FROM (SELECT identity, SUM(bytes) OVER "
                    "(ORDER BY used DESC, rowid DESC) AS kept FROM sketches) WHERE kept > ?)",
                    (self._most,),
                )
        except (sqlite3.Error, OSError):
            return

    @contextmanager
    def _open(self, path: Path) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as database, database:
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                database.execute("DROP TABLE IF EXISTS sketches")
                database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute(SCHEMA)
            yield database
