"""The run history: one row a run in an SQLite file that several windows and commands may use at once."""

import json
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.runs.journal import EVALUATED, POINT, Arrays, Journal, load_arrays, save_arrays
from qexplorer.engine.runs.process import host_name, is_alive, own_token
from qexplorer.engine.runs.run import Run
from qexplorer.errors import UserError
from qexplorer.folders import data_folder, disk_errors
from qexplorer.text import printable
from qexplorer.weights import limits

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
RESUMABLE = ("interrupted", "cancelled", "failed")
"""How a run may have ended that can be gone on with."""
ARRAYS = re.compile(r"[0-9a-f]{16}\.npz", re.ASCII)
"""What the files of steps are called."""
RETRY_S = 0.02
"""How long to wait before a lock is asked for again, where SQLite does not wait by itself."""
COLUMNS = "run_id, job, status, started, ended, config_json, result_json, error, notes"
REMEDIES = {
    sqlite3.SQLITE_FULL: "Free some space on that disk.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable.",
    sqlite3.SQLITE_CANTOPEN: "Make its folder writable, or set another data folder.",
    sqlite3.SQLITE_NOTADB: "Move it away; a new one is made.",
    sqlite3.SQLITE_CORRUPT: "Move it away; a new one is made.",
    sqlite3.SQLITE_BUSY: "Another program holds it; try again.",
    sqlite3.SQLITE_IOERR: "Check that disk.",
}


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

    def new_id(self, job: str) -> str:
        """An id for a run that is about to start."""
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{job}-{secrets.token_hex(3)}"

    def start(self, job: str, config: Mapping[str, Any], run_id: str = "") -> str:
        """Enter a run as running, by this process, and return its id."""
        now = datetime.now(UTC)
        run_id = run_id or self.new_id(job)
        values = (run_id, job, "running", now.isoformat(), json.dumps(dict(config)), *own_token(), host_name())
        with self.open() as database:
            database.execute(
                "INSERT INTO runs (run_id, job, status, started, config_json, pid, token, host) "
                "VALUES (?,?,?,?,?,?,?,?)",
                values,
            )
        return run_id

    def resume(self, run_id: str) -> Run:
        """Take a run up again in this process. Raises `UserError` where it is running or was done."""
        run = self.get(run_id)
        if run.status == "running" and self.mark_interrupted():
            run = self.get(run_id)
        query = "UPDATE runs SET status = 'running', ended = NULL, error = NULL, pid = ?, token = ?, host = ? "
        query += f"WHERE run_id = ? AND status IN ({', '.join('?' * len(RESUMABLE))})"
        with self.open() as database:
            done = database.execute(query, (*own_token(), host_name(), run_id, *RESUMABLE))
        if done.rowcount != 1:
            what = f"The run “{printable(run_id)}” cannot be resumed: it is {run.status}."
            raise UserError(what, "Only interrupted, cancelled and failed runs can.", field="run_id")
        return run

    def journal(self, run_id: str) -> "RunJournal":
        """The finished steps of a run."""
        return RunJournal(self, run_id)

    def steps_done(self) -> dict[str, int]:
        """How many finished steps are kept of each run that has any."""
        with self.open() as database:
            return dict(database.execute("SELECT run_id, count(*) FROM steps GROUP BY run_id"))

    def annotate(self, run_id: str, notes: str) -> None:
        """Keep the person's own words about a run. Raises `UserError` where there is none of that id."""
        self.get(run_id)
        with self.open() as database:
            database.execute("UPDATE runs SET notes = ? WHERE run_id = ?", (notes, run_id))

    def delete(self, run_id: str) -> None:
        """Remove a run with its files. Raises `UserError` where it is running."""
        self.mark_interrupted()  # a run whose process is gone does not run
        run = self.get(run_id)
        if run.status == "running":
            raise UserError(f"The run “{printable(run_id)}” is running.", "Cancel it first.", field="run_id")
        with self.open() as database:
            for table in ("runs", "steps"):
                database.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608
        self._remove_files(run_id)

    def predictions(self, run_id: str) -> dict[str, NDArray[np.int64]]:
        """The class that each row of a run gave to each test sample; empty for runs of older versions."""
        journal = self.journal(run_id)
        rows = {key.removeprefix(EVALUATED): journal.get(key) for key in journal.keys(EVALUATED)}
        return {row: np.array(value["predictions"], np.int64) for row, value in rows.items()}

    def labels(self, run_id: str) -> NDArray[np.int64] | None:
        """The labels of the samples that a run was tested on; None for runs of older versions."""
        journal = self.journal(run_id)
        keys = journal.keys(EVALUATED)
        return np.array(journal.get(keys[0])["labels"], np.int64) if keys else None

    def forget_steps(self, run_id: str) -> None:
        """Remove the finished steps of a run that is done, but for what people want to see of it."""
        query = "DELETE FROM steps WHERE run_id = ? AND substr(key, 1, ?) != ? AND substr(key, 1, ?) != ?"
        with self.open() as database:
            database.execute(query, (run_id, len(EVALUATED), EVALUATED, len(POINT), POINT))
        shutil.rmtree(self.steps_folder(run_id), ignore_errors=True)

    def finish(self, run_id: str, result_json: str) -> None:
        """Enter the result; when this returns, it is on the disk.

        A run that was taken for interrupted is done all the same. Raises `UserError` where the history has no such run
        or it has already ended.
        """
        if not self._end(run_id, "done", ("running", "interrupted"), result_json=result_json):
            what = f"The result of run “{printable(run_id)}” cannot be entered: it is not running by the run history."
            raise UserError(what, "Run it again.")

    def fail(self, run_id: str, error: str) -> None:
        """Enter what went wrong, in one line and fit to be shown."""
        line = " ".join(error.splitlines())
        self._end(run_id, "failed", error=printable(line, limits.METADATA_SHOWN))

    def cancel(self, run_id: str) -> None:
        """Enter that the person stopped it."""
        self._end(run_id, "cancelled")

    def stamp(self) -> tuple[object, ...]:
        """What is another whenever something was written, by whatever program; no lock is taken for it."""
        return tuple(_stamp(path) for path in (self.path, self.path.with_name(f"{self.path.name}-wal")))

    def runs(self, limit: int | None = None, *, results: bool = True) -> list[Run]:
        """All runs, or the newest `limit` of them, with their `results` or without; the newest first."""
        columns = COLUMNS if results else COLUMNS.replace("result_json", "NULL")
        query = f"SELECT {columns} FROM runs ORDER BY started DESC, rowid DESC LIMIT ?"  # noqa: S608
        with self.open() as database:
            return [Run(*row) for row in database.execute(query, (-1 if limit is None else limit,))]

    def get(self, run_id: str) -> Run:
        """One run; a `UserError` where there is none of that id."""
        run_id = printable(run_id)  # one that cannot be encoded is none of ours
        with self.open() as database:
            found = database.execute(f"SELECT {COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()  # noqa: S608
        if found is None:
            raise UserError(f"There is no run “{run_id}”.", "`qexplorer runs` lists them.", field="run_id")
        return Run(*found)

    def results(self, run_ids: Sequence[str]) -> dict[str, str]:
        """The results of these runs as JSON, of those that are done."""
        among = ", ".join("?" * len(run_ids))
        query = f"SELECT run_id, result_json FROM runs WHERE run_id IN ({among}) AND result_json IS NOT NULL"  # noqa: S608
        with self.open() as database:
            return dict(database.execute(query, tuple(run_ids)))

    def mark_interrupted(self) -> list[str]:
        """Enter as interrupted the runs whose process is gone (a crash, a power cut), and remove their half-done files.

        What they had finished stays, so that they can be resumed. Runs of other machines are left alone, for their
        processes cannot be seen from here. Returns the ids.
        """
        query = "SELECT run_id, pid, token FROM runs WHERE status = 'running' AND host IN ('', ?)"  # '': of version 1
        with self.open() as database:
            rows = database.execute(query, (host_name(),)).fetchall()
        stale = [(run_id, pid, token) for run_id, pid, token in rows if not is_alive(pid, token)]
        marked = [run_id for run_id, pid, token in stale if self._interrupt(run_id, pid, token)]
        for run_id in marked:
            self.tidy(run_id)
        return marked

    def _interrupt(self, run_id: str, pid: int, token: str) -> bool:
        """Enter a run of that process as interrupted, unless it has ended or was resumed meanwhile."""
        query = "UPDATE runs SET status = 'interrupted', ended = ? "
        query += "WHERE run_id = ? AND status = 'running' AND pid = ? AND token = ?"
        with self.open() as database:
            return database.execute(query, (datetime.now(UTC).isoformat(), run_id, pid, token)).rowcount == 1

    def tidy(self, run_id: str) -> None:
        """Remove the files of a run that is not done, but for those of its finished steps."""
        folder, steps = self.folder(run_id), self.steps_folder(run_id)
        if not self._safe(folder):
            return
        if not steps.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            return
        for path in folder.iterdir():
            if path != steps:
                path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)

    def steps_folder(self, run_id: str) -> Path:
        """Where the arrays of a run's finished steps lie."""
        return self.folder(run_id) / "steps"

    def _remove_files(self, run_id: str) -> None:
        if self._safe(self.folder(run_id)):
            shutil.rmtree(self.folder(run_id), ignore_errors=True)

    def _safe(self, folder: Path) -> bool:
        """Whether it is a folder of a run, whatever the history's file may say."""
        return folder.parent == self.path.parent / "runs" and folder.name not in ("", ".", "..")

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
        with self.open() as database:
            done = database.execute(query, (status, ended, result_json, error, run_id, *before))
            return done.rowcount == 1

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


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class RunJournal(Journal):
    """The finished steps of one run, in the history's own file; arrays lie beside it."""

    def __init__(self, history: History, run_id: str) -> None:
        super().__init__()
        self._history = history
        self._run_id = run_id

    def get(self, key: str) -> Any:
        query = "SELECT value_json FROM steps WHERE run_id = ? AND key = ?"
        with self._history.open() as database:
            found = database.execute(query, (self._run_id, key)).fetchone()
        return None if found is None else json.loads(found[0])

    def put(self, key: str, value: Any) -> None:
        values = (self._run_id, key, json.dumps(value, allow_nan=False))
        with self._history.open() as database:
            database.execute(
                "INSERT INTO steps VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value_json = excluded.value_json", values
            )

    def keys(self, prefix: str) -> list[str]:
        query = "SELECT key FROM steps WHERE run_id = ? AND substr(key, 1, ?) = ? ORDER BY rowid"
        with self._history.open() as database:
            return [key for (key,) in database.execute(query, (self._run_id, len(prefix), prefix))]

    def earlier(self, run_id: str) -> Run:
        return self._history.get(run_id)

    def file_of(self, key: str) -> Path | None:
        """The file of the arrays that a step was entered with; None where it has none."""
        name = self.get(key)
        if not isinstance(name, str) or not ARRAYS.fullmatch(name):
            return None
        return self._history.steps_folder(self._run_id) / name

    def arrays(self, key: str) -> dict[str, NDArray[Any]] | None:
        file = self.file_of(key)
        return None if file is None else load_arrays(file)

    def put_arrays(self, key: str, arrays: Arrays) -> None:
        """Each entry has a file of its own, so that the earlier one is whole until the new one is."""
        file = self._new_file()
        save_arrays(file, arrays)
        self._enter(key, file)

    def adopt(self, key: str, file: Path) -> None:
        """Enter a step as done, with the arrays in a file that `save_arrays` wrote; it is moved here."""
        own = self._new_file()
        with disk_errors(own):
            own.parent.mkdir(parents=True, exist_ok=True)
            file.replace(own)
        self._enter(key, own)

    def _new_file(self) -> Path:
        return self._history.steps_folder(self._run_id) / f"{secrets.token_hex(8)}.npz"

    def _enter(self, key: str, file: Path) -> None:
        before = self.file_of(key)
        self.put(key, file.name)
        if before is not None:
            before.unlink(missing_ok=True)
