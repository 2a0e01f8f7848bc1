"""The SQLite file of the run history: how it is opened, made, waited for and refused."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from qexplorer.errors import UserError
from qexplorer.folders import inside, to_free

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
NO_WAL = (sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""How SQLite says that a disk, such as a network home, cannot hold a write-ahead log."""
UNWRITABLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
ENOUGH = 1 << 20
"""Bytes: a disk with less than these is taken for full."""
REMEDIES = {
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable.",
    sqlite3.SQLITE_CANTOPEN: "Make its folder writable, or set another data folder.",
    sqlite3.SQLITE_NOTADB: "Move it away; a new one is made.",
    sqlite3.SQLITE_CORRUPT: "Move it away; a new one is made.",
    sqlite3.SQLITE_BUSY: "Another program holds it; try again.",
    sqlite3.SQLITE_IOERR: "Check that disk.",
}
NOTE = "The disk of {} holds no write-ahead log, so the run history uses the journal mode {}: programs wait longer."


class Database:
    """One file, and the runs' own files beside it. Each call opens a connection of its own, so any thread may make it.

    Every method raises `UserError` where the disk is full, the file is damaged or may not be written, and where
    another program holds it for longer than `busy_timeout_s`.
    """

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path, self.busy_timeout_s = path, busy_timeout_s
        self.note = ""
        """What a person should know of how the file was last opened."""

    def folder(self, run_id: str) -> Path:
        """Where the files of a run lie. Raises `UserError` if the id could not be that of a run."""
        return inside(self.path.parent / "runs", run_id)

    def steps_folder(self, run_id: str) -> Path:
        """Where the arrays of a run's finished steps lie."""
        return self.folder(run_id) / "steps"

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed at the end, or not made at all."""
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database, database:
                yield database

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for questions only. A disk that is full or read-only does not hinder it."""
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                database = self._connect()
            except sqlite3.Error as error:
                if _code(error) not in UNWRITABLE or not self.path.is_file():
                    raise
                database = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            with closing(database):
                yield database

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what goes wrong inside as a `UserError`."""
        try:
            yield
        except sqlite3.Error as error:
            what = f"The run history {self.path} cannot be used: {error}."
            raise UserError(what, self._remedy(_code(error))) from error
        except UnicodeDecodeError as error:  # SQLite's own message quotes the damaged bytes
            what = f"The run history {self.path} cannot be used: it is damaged."
            raise UserError(what, self._remedy(sqlite3.SQLITE_CORRUPT)) from error
        except OSError as error:
            raise UserError(f"The run history {self.path} cannot be used: {error.strerror}.") from error

    def _remedy(self, code: int) -> str:
        with suppress(OSError):
            disk = shutil.disk_usage(self.path.parent)
            if code == sqlite3.SQLITE_FULL or (code in UNWRITABLE and disk.free < ENOUGH):
                return to_free(self.path)
        return REMEDIES.get(code, "")

    def _connect(self) -> sqlite3.Connection:
        """A connection to a file of this version, made where it is missing."""
        database = sqlite3.connect(self.path, timeout=self.busy_timeout_s)
        try:
            self._use_wal(database)
            database.execute("PRAGMA synchronous = FULL")  # a committed result survives a power cut
            self._prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _use_wal(self, database: sqlite3.Connection) -> None:
        """Set the journal mode, which the file keeps: a write-ahead log, or a rollback journal where the disk has none.

        SQLite waits for nobody here: where several programs open an old file at once, the one that comes second is
        told at once that it is locked.
        """
        give_up = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                (mode,) = database.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if _code(error) in NO_WAL:
                    mode = _without_wal(database)
                elif _code(error) == sqlite3.SQLITE_BUSY and time.monotonic() < give_up:
                    time.sleep(RETRY_S)
                    continue
                else:
                    raise
            self.note = "" if mode == "wal" else NOTE.format(self.path.parent, mode)
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


def _without_wal(database: sqlite3.Connection) -> str:
    """Set a rollback journal; a file that had a write-ahead log is held alone while its mode changes."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    (mode,) = database.execute("PRAGMA journal_mode = DELETE").fetchone()
    database.execute("PRAGMA locking_mode = NORMAL")
    database.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the lock is let go at the next question
    return str(mode)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
