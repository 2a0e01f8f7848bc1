"""The SQLite file of the run history: how it is opened, made, waited for and refused."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from qexplorer.errors import UserError

VERSION = 3
"""1 had no `host`; 2 had no notes and no steps."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, job TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT,
    config_json TEXT NOT NULL, result_json TEXT, error TEXT, pid INTEGER NOT NULL, token TEXT NOT NULL,
    host TEXT NOT NULL DEFAULT '', notes TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS steps (
    run_id TEXT NOT NULL, key TEXT NOT NULL, value_json TEXT NOT NULL, PRIMARY KEY (run_id, key));
"""
ADDED = {"host": "TEXT NOT NULL DEFAULT ''", "notes": "TEXT NOT NULL DEFAULT ''"}
"""Columns that older versions lack."""
RETRY_S = 0.02
"""How long to wait before a lock is asked for again, where SQLite does not wait by itself."""
REMEDIES = {
    sqlite3.SQLITE_FULL: "Free some space on that disk.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable.",
    sqlite3.SQLITE_CANTOPEN: "Make its folder writable, or set another data folder.",
    sqlite3.SQLITE_NOTADB: "Move it away; a new one is made.",
    sqlite3.SQLITE_CORRUPT: "Move it away; a new one is made.",
    sqlite3.SQLITE_BUSY: "Another program holds it; try again.",
    sqlite3.SQLITE_IOERR: "Check that disk.",
}


class Database:
    """One file, and the runs' own files beside it. Each call opens a connection of its own, so any thread may make it.

    Every method raises `UserError` where the disk is full, the file is damaged or may not be written, and where
    another program holds it for longer than `busy_timeout_s`.
    """

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path, self.busy_timeout_s = path, busy_timeout_s

    def folder(self, run_id: str) -> Path:
        """Where the files of a run lie."""
        return self.path.parent / "runs" / run_id

    def steps_folder(self, run_id: str) -> Path:
        """Where the arrays of a run's finished steps lie."""
        return self.folder(run_id) / "steps"

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed at the end, or not made at all."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=self.busy_timeout_s)) as database, database:
                self._use_wal(database)
                database.execute("PRAGMA synchronous = FULL")  # a committed result survives a power cut
                self._prepare(database)
                yield database
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise UserError(f"The run history {self.path} cannot be used: {error}.", REMEDIES.get(code, "")) from error
        except OSError as error:
            raise UserError(f"The run history {self.path} cannot be used: {error.strerror}.") from error

    def _use_wal(self, database: sqlite3.Connection) -> None:
        """Set the journal mode, which the file keeps.

        SQLite waits for nobody here: where several programs open an old file at once, the one that comes second is
        told at once that it is locked.
        """
        give_up = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                database.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(RETRY_S)
            else:
                return

    def _prepare(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            what = f"The run history {self.path} was written by a newer version of this program."
            raise UserError(what, "Use that one, or move the file away.")
        if version < VERSION:
            database.execute("BEGIN IMMEDIATE")  # two programs may open an old file at the same time
            for statement in SCHEMA.split(";"):
                database.execute(statement)
            present = {row[1] for row in database.execute("PRAGMA table_info(runs)")}
            for name, kind in ADDED.items():
                if name not in present:
                    database.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.commit()
