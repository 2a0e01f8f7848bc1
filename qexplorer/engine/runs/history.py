"""The run history: one row a run in an SQLite file that several windows and commands may use at once."""

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.runs.database import Database
from qexplorer.engine.runs.journal import EVALUATED, POINT
from qexplorer.engine.runs.process import host_name, is_alive, own_token
from qexplorer.engine.runs.run import Run, run_of
from qexplorer.engine.runs.run_journal import RunJournal
from qexplorer.errors import UserError
from qexplorer.folders import data_folder
from qexplorer.text import printable
from qexplorer.weights import limits

RESUMABLE = ("interrupted", "cancelled", "failed")
"""How a run may have ended that can be gone on with."""
COLUMNS = "run_id, job, status, started, ended, config_json, result_json, error, notes"


class History(Database):
    """The runs in one file. Every method raises `UserError` as `Database` does."""

    def __init__(self, path: Path | None = None, *, busy_timeout_s: float = 10.0) -> None:
        super().__init__(path or data_folder() / "history.sqlite3", busy_timeout_s)

    def new_id(self, job: str) -> str:
        """An id for a run that is about to start."""
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{job}-{secrets.token_hex(3)}"

    def start(self, job: str, config: Mapping[str, Any], run_id: str = "") -> str:
        """Enter a run as running, by this process, and return its id."""
        now = datetime.now(UTC)
        run_id = run_id or self.new_id(job)
        self.folder(run_id)  # refuses an id that is none
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
        self.folder(run_id)  # refuses an id that is none
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

    def journal(self, run_id: str) -> RunJournal:
        """The finished steps of a run."""
        return RunJournal(self, run_id)

    def steps_done(self) -> dict[str, int]:
        """How many finished steps are kept of each run that has any."""
        with self.read() as database:
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
        return self._evaluated(run_id, "predictions")

    def labels(self, run_id: str) -> NDArray[np.int64] | None:
        """The labels of the samples that a run was tested on; None for runs of older versions."""
        return next(iter(self._evaluated(run_id, "labels").values()), None)

    def _evaluated(self, run_id: str, what: str) -> dict[str, NDArray[np.int64]]:
        """What was kept of each row that was evaluated; damaged ones are left out."""
        journal, found = self.journal(run_id), dict[str, NDArray[np.int64]]()
        for key in journal.keys(EVALUATED):
            with suppress(TypeError, KeyError, ValueError, OverflowError):
                found[key.removeprefix(EVALUATED)] = np.array(journal.get(key)[what], np.int64)
        return found

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

    def interrupt(self, run_id: str) -> None:
        """Enter that it was cut off in the middle of a step."""
        self._end(run_id, "interrupted")

    def stamp(self) -> tuple[object, ...]:
        """What is another whenever something was written, by whatever program; no lock is taken for it."""
        return tuple(_stamp(path) for path in (self.path, self.path.with_name(f"{self.path.name}-wal")))

    def runs(self, limit: int | None = None, *, results: bool = True) -> list[Run]:
        """All runs, or the newest `limit` of them, with their `results` or without; the newest first."""
        columns = COLUMNS if results else COLUMNS.replace("result_json", "NULL")
        query = f"SELECT {columns} FROM runs ORDER BY started DESC, rowid DESC LIMIT ?"  # noqa: S608
        with self.read() as database:
            return [run_of(row) for row in database.execute(query, (-1 if limit is None else limit,))]

    def get(self, run_id: str) -> Run:
        """One run; a `UserError` where there is none of that id."""
        run_id = printable(run_id)  # one that cannot be encoded is none of ours
        with self.read() as database:
            found = database.execute(f"SELECT {COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()  # noqa: S608
        if found is None:
            raise UserError(f"There is no run “{run_id}”.", "`qexplorer runs` lists them.", field="run_id")
        return run_of(found)

    def results(self, run_ids: Sequence[str]) -> dict[str, str]:
        """The results of these runs as JSON, of those that are done."""
        among = ", ".join("?" * len(run_ids))
        query = f"SELECT run_id, result_json FROM runs WHERE run_id IN ({among}) AND result_json IS NOT NULL"  # noqa: S608
        with self.read() as database:
            return dict(database.execute(query, tuple(run_ids)))

    def mark_interrupted(self) -> list[str]:
        """Enter as interrupted the runs whose process is gone (a crash, a power cut), and remove their half-done files.

        What they had finished stays, so that they can be resumed. Runs of other machines are left alone, for their
        processes cannot be seen from here. Returns the ids.
        """
        query = "SELECT run_id, pid, token FROM runs WHERE status = 'running' AND host IN ('', ?)"  # '': of version 1
        with self.read() as database:
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
        try:
            folder, steps = self.folder(run_id), self.steps_folder(run_id)
        except UserError:  # a damaged id has no files
            return
        if not steps.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            return
        for path in folder.iterdir():
            if path != steps:
                path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)

    def _remove_files(self, run_id: str) -> None:
        with suppress(UserError):  # a damaged id has no files
            shutil.rmtree(self.folder(run_id), ignore_errors=True)

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


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
