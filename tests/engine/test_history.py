import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from qexplorer.engine.history import History
from qexplorer.errors import UserError


def change(history: History, sql: str, *values: str) -> None:
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
    monkeypatch.setattr("qexplorer.engine.history.data_folder", lambda: tmp_path)
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
    begin = "import sys; from pathlib import Path; from qexplorer.engine.history import History\n"
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


def test_a_data_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise PermissionError(13, "Permission denied", "/data")

    monkeypatch.setattr("qexplorer.engine.history.data_folder", fail)
    with pytest.raises(UserError, match=r"/data cannot be made: Permission denied"):
        History()


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
