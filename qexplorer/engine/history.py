"""The run history: one row a run in an SQLite file that several windows and commands may use at once."""

import json
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qexplorer.engine.process import host_name, is_alive, own_token
from qexplorer.errors import UserError
from qexplorer.folders import data_folder
from qexplorer.weights import limits
from qexplorer.weights.text import shown

VERSION = 2
"""1 had no `host`."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, job TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT,
    config_json TEXT NOT NULL, result_json TEXT, error TEXT, pid INTEGER NOT NULL, token TEXT NOT NULL,
    host TEXT NOT NULL DEFAULT '')
"""
COLUMNS = "run_id, job, status, started, ended, config_json, result_json, error"
REMEDIES = {
    sqlite3.SQLITE_FULL: "Free some space on that disk.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable.",
    sqlite3.SQLITE_CANTOPEN: "Make its folder writable, or set another data folder.",
    sqlite3.SQLITE_NOTADB: "Move it away; a new one is made.",
    sqlite3.SQLITE_CORRUPT: "Move it away; a new one is made.",
    sqlite3.SQLITE_BUSY: "Another program holds it; try again.",
    sqlite3.SQLITE_IOERR: "Check that disk.",
}


@dataclass(frozen=True)
class Run:
    """One run. `status` is running, done, failed, cancelled or interrupted; the times are ISO 8601 in UTC."""

    run_id: str
    job: str
    status: str
    started: str
    ended: str | None
    config_json: str
    result_json: str | None
    error: str | None


class History:
    """The runs in one file. Each call opens and closes its own connection, so any thread may make it.

    Every method raises `UserError` where the disk is full, the file is damaged or may not be written, and where
    another program holds it for longer than `busy_timeout_s`.
    """

    def __init__(self, path: Path | None = None, *, busy_timeout_s: float = 10.0) -> None:
        self.path = path or data_folder() / "history.sqlite3"
        self.busy_timeout_s = busy_timeout_s

    def folder(self, run_id: str) -> Path:
        """Where the files of a run lie."""
        return self.path.parent / "runs" / run_id

    def start(self, job: str, config: Mapping[str, Any]) -> str:
        """Enter a run as running, by this process, and return its new id."""
        now = datetime.now(UTC)
        run_id = f"{now:%Y%m%d-%H%M%S}-{job}-{secrets.token_hex(3)}"
        values = (run_id, job, "running", now.isoformat(), json.dumps(dict(config)), *own_token(), host_name())
        with self._open() as database:
            database.execute(
                "INSERT INTO runs (run_id, job, status, started, config_json, pid, token, host) "
                "VALUES (?,?,?,?,?,?,?,?)",
                values,
            )
        return run_id

    def finish(self, run_id: str, result_json: str) -> None:
        """Enter the result; when this returns, it is on the disk.

        A run that was taken for interrupted is done all the same. Raises `UserError` where the history has no such run
        or it has already ended.
        """
        if not self._end(run_id, "done", ("running", "interrupted"), result_json=result_json):
            what = f"The result of run “{shown(run_id)}” cannot be entered: it is not running by the run history."
            raise UserError(what, "Run it again.")

    def fail(self, run_id: str, error: str) -> None:
        """Enter what went wrong, in one line and fit to be shown."""
        line = " ".join(error.splitlines())
        self._end(run_id, "failed", error=shown(line, limits.METADATA_SHOWN))

    def cancel(self, run_id: str) -> None:
        """Enter that the person stopped it."""
        self._end(run_id, "cancelled")

    def runs(self, limit: int | None = None) -> list[Run]:
        """All runs, or the newest `limit` of them; the newest first."""
        query = f"SELECT {COLUMNS} FROM runs ORDER BY started DESC, rowid DESC LIMIT ?"  # noqa: S608
        with self._open() as database:
            return [Run(*row) for row in database.execute(query, (-1 if limit is None else limit,))]

    def get(self, run_id: str) -> Run:
        """One run; a `UserError` where there is none of that id."""
        run_id = shown(run_id)  # one that cannot be encoded is none of ours
        with self._open() as database:
            found = database.execute(f"SELECT {COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()  # noqa: S608
        if found is None:
            raise UserError(f"There is no run “{run_id}”.", "`qexplorer runs` lists them.", field="run_id")
        return Run(*found)

    def mark_interrupted(self) -> list[str]:
        """Enter as interrupted the runs whose process is gone (a crash, a power cut), and remove their files.

        Runs of other machines are left alone, for their processes cannot be seen from here. Returns the ids.
        """
        query = "SELECT run_id, pid, token FROM runs WHERE status = 'running' AND host IN ('', ?)"  # '': of version 1
        with self._open() as database:
            rows = database.execute(query, (host_name(),)).fetchall()
        stale = [run_id for run_id, pid, token in rows if not is_alive(pid, token)]
        marked = [run_id for run_id in stale if self._end(run_id, "interrupted")]  # not one that ended meanwhile
        for run_id in marked:
            self._remove_files(run_id)
        return marked

    def _remove_files(self, run_id: str) -> None:
        folder = self.folder(run_id)
        if folder.parent == self.path.parent / "runs" and folder.name == run_id != "..":  # whatever the file may say
            shutil.rmtree(folder, ignore_errors=True)

    def _end(
        self,
        run_id: str,
        status: str,
        before: tuple[str, ...] = ("running",),
        *,
        result_json: str | None = None,
        error: str | None = None,
    ) -> bool:
        """Enter how a run ended; whether it was there with a status of `before`."""
        ended = datetime.now(UTC).isoformat()
        allowed = ", ".join("?" * len(before))
        query = "UPDATE runs SET status = ?, ended = ?, result_json = ?, error = ? "
        query += f"WHERE run_id = ? AND status IN ({allowed})"
        with self._open() as database:
            done = database.execute(query, (status, ended, result_json, error, run_id, *before))
            return done.rowcount == 1

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=self.busy_timeout_s)) as database, database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")  # a committed result survives a power cut
                self._prepare(database)
                yield database
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise UserError(f"The run history {self.path} cannot be used: {error}.", REMEDIES.get(code, "")) from error
        except OSError as error:
            raise UserError(f"The run history {self.path} cannot be used: {error.strerror}.") from error

    def _prepare(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            what = f"The run history {self.path} was written by a newer version of this program."
            raise UserError(what, "Use that one, or move the file away.")
        if version < VERSION:
            database.execute("BEGIN IMMEDIATE")  # two programs may open an old file at the same time
            database.execute(SCHEMA)
            if "host" not in {row[1] for row in database.execute("PRAGMA table_info(runs)")}:
                database.execute("ALTER TABLE runs ADD COLUMN host TEXT NOT NULL DEFAULT ''")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.commit()
