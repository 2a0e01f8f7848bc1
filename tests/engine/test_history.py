import platform
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qexplorer.engine.runs.database import VERSION
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError


def change(history: History, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(history.path)) as database, database:
        database.execute(sql, values)


def test_a_run_is_running_until_its_result_is_in(history: History) -> None:
    run_id = history.start("ptq-static", {"seed": 3})
    run = history.get(run_id)
    assert (run.status, run.job, run.config_json, run.result_json) == ("running", "ptq-static", '{"seed": 3}', None)
    history.finish(run_id, '{"rows": []}')
    run = history.get(run_id)
    assert (run.status, run.result_json, run.error) == ("done", '{"rows": []}', None)
    assert run.ended is not None
    assert run.ended >= run.started


def test_failed_and_cancelled_runs_say_so(history: History) -> None:
    failed, cancelled = history.start("a", {}), history.start("a", {})
    history.fail(failed, "the disk is full")
    history.cancel(cancelled)
    assert (history.get(failed).status, history.get(failed).error) == ("failed", "the disk is full")
    assert history.get(cancelled).status == "cancelled"


def test_a_run_that_ended_does_not_change_any_more(history: History) -> None:
    run_id = history.start("a", {})
    history.finish(run_id, "{}")
    history.cancel(run_id)
    assert history.get(run_id).status == "done"


def test_the_newest_run_comes_first(history: History) -> None:
    ids = [history.start("a", {}) for _ in range(3)]
    assert [run.run_id for run in history.runs()] == ids[::-1]


def test_an_unknown_run_is_a_mistake_that_can_be_mended(history: History) -> None:
    with pytest.raises(UserError, match="There is no run “x”"):
        history.get("x")


def test_a_new_history_opens_what_an_old_one_wrote(history: History) -> None:
    run_id = history.start("a", {})
    assert History(history.path).get(run_id).status == "running"


def test_it_is_kept_in_the_data_folder_in_wal_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.engine.runs.history.data_folder", lambda: tmp_path)
    history = History()
    history.start("a", {})
    assert history.path == tmp_path / "history.sqlite3"
    with closing(sqlite3.connect(history.path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_only_runs_of_dead_processes_become_interrupted(history: History) -> None:
    dead, reused, live = (history.start("a", {}) for _ in range(3))
    done = history.start("a", {})
    history.finish(done, "{}")
    change(history, "UPDATE runs SET pid = 999999999 WHERE run_id = ?", dead)
    change(history, "UPDATE runs SET token = 'an earlier process' WHERE run_id = ?", reused)
    assert sorted(history.mark_interrupted()) == sorted([dead, reused])
    assert [history.get(run_id).status for run_id in (dead, reused, live, done)] == [
        "interrupted",
        "interrupted",
        "running",
        "done",
    ]


def test_a_run_whose_process_was_killed_becomes_interrupted(history: History) -> None:
    begin = "import sys; from pathlib import Path; from qexplorer.engine.runs.history import History\n"
    begin += "print(History(Path(sys.argv[1])).start('a', {}), flush=True); input()"
    command = [sys.executable, "-c", begin, str(history.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        assert history.mark_interrupted() == []
        process.kill()
    assert history.mark_interrupted() == [run_id]
    assert history.get(run_id).status == "interrupted"


def test_many_threads_may_write_at_once(history: History) -> None:
    def work() -> None:
        for _ in range(5):
            history.finish(history.start("a", {}), "{}")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.status for run in history.runs()] == ["done"] * 20


def test_a_damaged_file_is_named_with_what_to_do(history: History) -> None:
    history.path.write_bytes(b"this is no database, and it is long enough to be looked at" * 20)
    with pytest.raises(UserError, match=r"history\.sqlite3 cannot be used.*Move it away"):
        history.runs()


def test_a_file_of_a_newer_version_is_left_alone(history: History) -> None:
    history.start("a", {})
    change(history, "PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer version"):
        history.start("a", {})


def test_a_full_disk_is_said_with_what_to_do(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.start("a", {})
    connect = sqlite3.connect

    def connect_to_a_full_disk(path: Path, timeout: float) -> sqlite3.Connection:
        database = connect(path, timeout=timeout)
        database.execute("PRAGMA max_page_count = 1")
        return database

    monkeypatch.setattr(sqlite3, "connect", connect_to_a_full_disk)
    with pytest.raises(UserError, match=r"history\.sqlite3 cannot be used: .*full.*Free some space"):
        history.start("a", {"long": "x" * 100_000})


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "file" / "qexplorer")
    with pytest.raises(UserError, match=r"file.qexplorer could not be created"):
        History()


def test_a_file_that_another_program_holds_is_waited_for_as_long_as_was_said(history: History) -> None:
    history.start("a", {})
    with closing(sqlite3.connect(history.path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(UserError, match=r"locked.*Another program holds it"):
            History(history.path, busy_timeout_s=0.1).start("a", {})
        assert time.monotonic() - began < 5


def test_no_more_runs_are_listed_than_were_asked_for(history: History) -> None:
    ids = [history.start("a", {}) for _ in range(4)]
    assert [run.run_id for run in history.runs(2)] == [ids[3], ids[2]]
    assert history.runs(limit=0) == []
    assert len(history.runs(9)) == len(history.runs()) == 4


def test_a_result_of_a_run_taken_for_interrupted_is_kept(history: History) -> None:
    run_id = history.start("a", {})
    change(history, "UPDATE runs SET status = 'interrupted' WHERE run_id = ?", run_id)
    history.finish(run_id, "{}")
    assert (history.get(run_id).status, history.get(run_id).result_json) == ("done", "{}")


@pytest.mark.parametrize("status", ["cancelled", "failed", "done", None])
def test_a_result_that_cannot_be_entered_is_told(history: History, status: str | None) -> None:
    run_id = history.start("a", {})
    if status:
        change(history, "UPDATE runs SET status = ?", status)
    else:
        change(history, "DELETE FROM runs")
    with pytest.raises(UserError, match=f"The result of run “{run_id}” cannot be entered"):
        history.finish(run_id, "{}")
    assert [run.status for run in history.runs()] == ([status] if status else [])


def test_runs_of_another_machine_are_left_alone(history: History) -> None:
    run_id = history.start("a", {})
    change(history, "UPDATE runs SET pid = 999999999, host = 'elsewhere' WHERE run_id = ?", run_id)
    assert history.mark_interrupted() == []
    assert history.get(run_id).status == "running"


def test_the_files_of_a_killed_run_are_removed_and_no_others(history: History) -> None:
    dead, live, foreign = (history.start("a", {}) for _ in range(3))
    change(history, "UPDATE runs SET pid = 999999999 WHERE run_id = ?", dead)
    change(history, "UPDATE runs SET pid = 999999999, host = 'elsewhere' WHERE run_id = ?", foreign)
    for run_id in (dead, live, foreign):
        history.folder(run_id).mkdir(parents=True)
        (history.folder(run_id) / "x.pt").write_text("")
    assert history.mark_interrupted() == [dead]
    assert not history.folder(dead).exists()
    assert (history.folder(live) / "x.pt").exists()
    assert (history.folder(foreign) / "x.pt").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../kept", "a/../../kept", "{absolute}"])
def test_nothing_but_a_run_folder_is_ever_removed(history: History, name: str) -> None:
    kept = history.path.parent / "kept"
    kept.mkdir()
    (history.path.parent / "runs" / "other").mkdir(parents=True)
    history.start("a", {})
    change(history, "UPDATE runs SET pid = 999999999, run_id = ?", name.format(absolute=kept))
    history.mark_interrupted()
    assert kept.is_dir()
    assert (history.path.parent / "runs" / "other").is_dir()


def test_a_run_that_ends_while_its_process_is_looked_for_keeps_its_result_and_files(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = history.start("a", {})
    history.folder(run_id).mkdir(parents=True)

    def ends_now(*_: object) -> bool:
        history.finish(run_id, "{}")
        return False

    monkeypatch.setattr("qexplorer.engine.runs.history.is_alive", ends_now)
    assert history.mark_interrupted() == []
    assert history.get(run_id).status == "done"
    assert history.folder(run_id).is_dir()


VERSION_1 = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, job TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT,
    config_json TEXT NOT NULL, result_json TEXT, error TEXT, pid INTEGER NOT NULL, token TEXT NOT NULL);
INSERT INTO runs VALUES ('old-done', 'a', 'done', '2025-01-01', '2025-01-02', '{}', '{"rows": []}', NULL, 1, 'x');
INSERT INTO runs VALUES ('old-dead', 'a', 'running', '2025-01-03', NULL, '{}', NULL, NULL, 999999999, 'x');
PRAGMA user_version = 1;
"""


def write_version_1(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1)


def test_a_file_of_the_first_version_is_opened_and_goes_on(history: History) -> None:
    write_version_1(history.path)
    assert [(run.run_id, run.status) for run in history.runs()] == [("old-dead", "running"), ("old-done", "done")]
    assert history.get("old-done").result_json == '{"rows": []}'
    assert history.mark_interrupted() == ["old-dead"]
    history.finish(history.start("a", {}), "{}")
    with closing(sqlite3.connect(history.path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert database.execute("SELECT host FROM runs WHERE run_id = 'old-done'").fetchone() == ("",)
        assert database.execute("SELECT count(*) FROM runs WHERE host = ?", (platform.node(),)).fetchone() == (1,)


@pytest.mark.parametrize("attempt", range(20))  # the programs must meet while the first of them changes the file
def test_several_may_open_a_file_of_the_first_version_at_once(history: History, attempt: int) -> None:
    write_version_1(history.path)
    ready = threading.Barrier(6)

    def work(_: int) -> int:
        ready.wait()
        return len(History(history.path).runs())

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [2] * 6


@pytest.mark.parametrize(
    ("error", "stored"),
    [
        ("no file caf\udce9.pt", r"no file caf\udce9.pt"),
        ("a\x1b[2Jb\u202ec", r"a\x1b[2Jb\u202ec"),
        ("one\ntwo", "one two"),
    ],
)
def test_an_error_is_stored_fit_to_be_shown(history: History, error: str, stored: str) -> None:
    run_id = history.start("a", {})
    history.fail(run_id, error)
    assert (history.get(run_id).status, history.get(run_id).error) == ("failed", stored)


def test_an_id_that_cannot_be_encoded_is_an_unknown_one(history: History) -> None:
    with pytest.raises(UserError, match=r"There is no run “\\udce9”"):
        history.get("\udce9")


def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"history\.sqlite3 cannot be used"):
        History(tmp_path / "file" / "history.sqlite3").runs()


def test_a_read_only_file_is_said_with_what_to_do(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.start("a", {})
    connect = sqlite3.connect

    def connect_read_only(path: Path, timeout: float) -> sqlite3.Connection:
        database = connect(path, timeout=timeout)
        database.execute("PRAGMA query_only = ON")  # file permissions do not stop root, whom CI may run as
        return database

    monkeypatch.setattr(sqlite3, "connect", connect_read_only)
    with pytest.raises(UserError, match=r"readonly.*Make the file and its folder writable"):
        history.start("a", {})
