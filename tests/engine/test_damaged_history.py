"""Run histories whose file says what it should not, and disks that do not do what they should."""

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qexplorer.engine.runs.curve_points import SamplesPoint
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError


def change(history: History, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(history.path)) as database, database:
        database.execute(sql, values)


@pytest.mark.parametrize("name", ["../../victim", "..", "/etc", "a\\b", "c:d", "nul", ".hidden", "a\nb", "x" * 300])
def test_an_id_that_leads_elsewhere_is_never_a_path(history: History, name: str) -> None:
    history.cancel(history.start("a", {}))
    change(history, "UPDATE runs SET run_id = ?", name)
    for use in (history.folder, history.steps_folder, history.resume, lambda run_id: history.start("a", {}, run_id)):
        with pytest.raises(UserError):
            use(name)
    assert [run.status for run in history.runs()] == ["cancelled"]


class Refusing(sqlite3.Connection):
    """A connection to a disk that holds no write-ahead log, as network homes are."""

    code = sqlite3.SQLITE_PROTOCOL

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "PRAGMA journal_mode = WAL":
            error = sqlite3.OperationalError("locking protocol")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, parameters)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN])
@pytest.mark.parametrize("before", ["none", "wal"])
def test_a_disk_without_a_write_ahead_log_holds_the_history_too(
    history: History, monkeypatch: pytest.MonkeyPatch, code: int, before: str
) -> None:
    if before == "wal":
        history.start("a", {})
    assert history.note == ""
    connect = sqlite3.connect
    monkeypatch.setattr(Refusing, "code", code)
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kw: connect(*args, **kw, factory=Refusing))
    run_id = history.start("a", {})
    history.journal(run_id).put("x", 1)
    assert history.journal(run_id).get("x") == 1
    assert history.get(run_id).status == "running"
    assert "no write-ahead log" in history.note
    monkeypatch.undo()
    with closing(sqlite3.connect(history.path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: history.start("a", {}), range(20)))) == 20


READING = """
import resource, signal, sys
from pathlib import Path
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError
history = History(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file can grow, as on a full disk
print(*(run.run_id for run in history.runs()), history.journal(sys.argv[2]).get("x"))
try:
    history.start("b", {})
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sets a limit that Windows does not have")
def test_what_is_on_a_full_disk_can_be_read(history: History) -> None:
    run_id = history.start("a", {})
    history.journal(run_id).put("x", 7)
    command = [sys.executable, "-c", READING, str(history.path), run_id]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines[:1] == [f"{run_id} 7"], done.stderr
    assert "cannot be used" in lines[1]


def test_a_full_disk_is_named_with_what_is_left(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.start("a", {})
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10_000_000, 10_000_000, 0))
    connect = sqlite3.connect

    def full(path: Path, timeout: float) -> sqlite3.Connection:
        database = connect(path, timeout=timeout)
        database.execute("PRAGMA max_page_count = 1")
        return database

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(UserError) as caught:
        history.start("a", {"long": "x" * 100_000})
    assert str(history.path.parent) in caught.value.remedy
    assert "0.0 MB left of 10 MB" in caught.value.remedy


@pytest.mark.parametrize(
    "column", ["run_id", "job", "started", "config_json", "result_json", "notes", "error", "ended"]
)
@pytest.mark.parametrize("value", [b"\xff\x00", 7])
def test_a_damaged_line_is_shown_as_damaged(history: History, column: str, value: Any) -> None:
    fine, run_id = history.start("a", {}), history.start("a", {})
    history.finish(run_id, "{}")
    change(history, f"UPDATE runs SET {column} = ? WHERE run_id = ?", value, run_id)  # noqa: S608
    by_status = {run.status: run for run in history.runs()}
    found = by_status.get("damaged")
    if found is None:  # SQLite turns a number in a column of text into text
        assert isinstance(value, int)
        return
    assert by_status["running"].run_id == fine
    assert column in (found.error or "")
    assert all(isinstance(text, str) for text in (found.run_id, found.job, found.started, found.notes))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"', "[" * 100_000])
def test_a_line_whose_settings_cannot_be_read_is_shown_as_damaged(history: History, text: str) -> None:
    run_id = history.start("a", {})
    change(history, "UPDATE runs SET config_json = ?", text)
    found = history.get(run_id)
    assert (found.status, found.config_json) == ("damaged", "{}")


DAMAGES = [
    b"\x80\xff",
    7,
    "",
    "{",
    "[]",
    "null",
    '"x"',
    "[" * 100_000,
    '{"predictions": "x"}',
    '{"predictions": [1e400]}',
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_step_is_as_one_that_is_not_done(history: History, damage: Any) -> None:
    run_id = history.start("a", {})
    journal = history.journal(run_id)
    whole = {"predictions": [1, 2], "labels": [1, 0]}
    for key in ("evaluated/fp32", "evaluated/w8a32"):
        journal.put(key, whole)
    journal.put_point(0, SamplesPoint(8, 0.5))
    journal.put_point(1, SamplesPoint(16, 0.75))
    for key in ("evaluated/fp32", "point/000000"):
        change(history, "UPDATE steps SET value_json = ? WHERE key = ?", damage if key[0] == "e" else b"\x80", key)
    assert [(row, found.tolist()) for row, found in history.predictions(run_id).items()] == [("w8a32", [1, 2])]
    labels = history.labels(run_id)
    assert labels is not None
    assert labels.tolist() == [1, 0]
    assert journal.points() == (SamplesPoint(16, 0.75),)
    assert journal.arrays("evaluated/fp32") is None
    journal.put("evaluated/fp32", whole)
    assert set(history.predictions(run_id)) == {"fp32", "w8a32"}


def test_a_damaged_schema_that_sqlite_quotes_in_its_message_is_a_sentence(history: History) -> None:
    history.start("evaluate", {})
    history.path.write_bytes(history.path.read_bytes().replace(b"PRIMARY KEY", b"PRIMARY \xcdEY"))
    for use in (history.runs, lambda: history.start("evaluate", {}), history.mark_interrupted):
        with pytest.raises(UserError, match="cannot be used"):
            use()
