"""The history as the window knows it: read beside the window, once, and never half."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from qexplorer.engine.runs import history as history_module
from qexplorer.engine.runs.curve_points import SamplesPoint
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import Row
from qexplorer.engine.runs.run import Run
from qexplorer.state import chosen_runs
from qexplorer.state.chosen_runs import ChosenRuns
from qexplorer.state.runner import Runner
from tests.results import a_result

Made = Callable[[], ChosenRuns]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite3")


@pytest.fixture
def new_runs(qapp: object, history: History) -> Iterator[Made]:
    made: list[ChosenRuns] = []

    def make() -> ChosenRuns:
        made.append(ChosenRuns(history, Runner("history")))
        return made[-1]

    yield make
    for runs in made:
        assert runs.close()


def enter(history: History, *, text: str = "") -> str:
    """A run that is done; `text` in place of its result."""
    run_id = history.start("evaluate", {"seed": 3})
    row = Row("fp32", "REAL", "float", 10, 10, 0.9, (0.8, 0.95), 1.0, 8, 0, {}, 1)
    model, data = {"name": "m", "sha256": "a"}, {"name": "d", "calibration_n": 0, "sha256": "b"}
    history.finish(run_id, text or a_result("evaluate", row, run_id=run_id, model=model, data=data).to_json())
    return run_id


def read(qtbot: QtBot, runs: ChosenRuns) -> None:
    with qtbot.waitSignal(runs.history_changed):
        runs.reload()
    qtbot.waitUntil(lambda: runs.idle)


def test_nothing_is_known_before_the_history_was_read(qtbot: QtBot, new_runs: Made, history: History) -> None:
    first, second = enter(history), enter(history)
    runs = new_runs()
    assert (runs.run, runs.result, runs.job_settings(), runs.known.runs) == (None, None, {}, ())
    read(qtbot, runs)
    assert [run.run_id for run in runs.known.runs] == [second, first]
    assert runs.result is not None
    assert runs.result.run_id == second
    changes: list[str] = []
    runs.changed.connect(lambda: changes.append(runs.result.run_id if runs.result else ""))
    runs.choose(((first, "fp32"),))
    assert changes == [first]
    assert runs.job_settings() == {"seed": 3}


def test_it_is_read_by_another_thread_and_once_however_often_that_is_asked_for(
    qtbot: QtBot, new_runs: Made, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(history)
    runs = new_runs()
    threads: list[str] = []
    plain = History.runs

    def watched(self: History, **options: Any) -> list[Run]:
        threads.append(threading.current_thread().name)
        return plain(self, **options)

    monkeypatch.setattr(history_module.History, "runs", watched)
    told: list[int] = []
    runs.history_changed.connect(lambda: told.append(len(runs.known.runs)))
    for _ in range(5):
        runs.reload()
    assert not runs.idle
    qtbot.waitUntil(lambda: runs.idle)
    assert threads == ["history"]
    assert told == [1]


def test_a_result_is_read_once_and_one_that_cannot_be_read_hides_no_other(
    qtbot: QtBot, new_runs: Made, history: History
) -> None:
    good, damaged = enter(history), enter(history, text="{")
    runs = new_runs()
    read(qtbot, runs)
    assert runs.known.results[damaged] is None
    assert runs.result is None
    result = runs.known.results[good]
    newest = enter(history)
    read(qtbot, runs)
    assert runs.known.results[good] is result
    assert list(runs.known.results) == [newest, damaged, good]
    assert all(run.result_json is None for run in runs.known.runs)


def test_of_many_runs_all_are_known_but_only_the_newest_results(
    qtbot: QtBot, new_runs: Made, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen_runs, "SHOWN", 2)
    ids = [enter(history) for _ in range(4)]
    runs = new_runs()
    read(qtbot, runs)
    assert len(runs.known.runs) == 4
    assert list(runs.known.results) == [ids[3], ids[2]]
    runs.choose(((ids[0], "fp32"),))
    assert runs.result is not None
    assert runs.result.run_id == ids[0]
    assert runs.result is runs.result


def test_a_history_that_cannot_be_read_is_told_and_what_was_known_stays(
    qtbot: QtBot, new_runs: Made, history: History
) -> None:
    run_id = enter(history)
    runs = new_runs()
    read(qtbot, runs)
    whole = history.path.read_bytes()
    history.path.write_bytes(b"no database at all, although it has its name")
    read(qtbot, runs)
    assert runs.failed is not None
    assert "history.sqlite3" in runs.failed.message
    assert runs.run is not None
    assert runs.run.run_id == run_id
    history.path.write_bytes(whole)
    read(qtbot, runs)
    assert runs.failed is None


def test_the_points_of_the_run_under_way_are_told_as_they_come(
    qtbot: QtBot, new_runs: Made, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = new_runs()
    run_id = history.start("qat", {})
    runs.reload_points()
    assert runs.idle  # nothing is under way
    runs.follow(run_id)
    for n in (1, 2):
        history.journal(run_id).put_point(n, SamplesPoint(n, 0.5))
        with qtbot.waitSignal(runs.grew):
            runs.reload_points()
        assert [point.samples for point in runs.points] == list(range(1, n + 1))
    with qtbot.assertNotEmitted(runs.grew):
        runs.reload_points()
        qtbot.waitUntil(lambda: runs.idle)
    hold, free = threading.Event(), threading.Event()
    plain = history.journal

    def slow(asked: str) -> Any:
        hold.set()
        assert free.wait(10)
        return plain(asked)

    monkeypatch.setattr(history, "journal", slow)
    assert runs.points
    runs.reload_points()
    assert hold.wait(10)
    with qtbot.assertNotEmitted(runs.grew), qtbot.waitSignal(runs.history_changed):
        runs.follow("")  # what comes late is dropped, and the history read
        free.set()
    assert runs.points == ()


def test_lines_of_a_run_that_is_gone_are_not_looked_at_any_more(qtbot: QtBot, new_runs: Made, history: History) -> None:
    kept, gone = enter(history), enter(history)
    runs = new_runs()
    read(qtbot, runs)
    runs.choose(((gone, "fp32"), (kept, "fp32")))
    history.delete(gone)
    read(qtbot, runs)
    assert runs.lines == ((kept, "fp32"),)
    history.delete(kept)
    other = enter(history)
    read(qtbot, runs)
    assert runs.lines == ()
    assert runs.result is not None
    assert runs.result.run_id == other


def test_the_newest_row_of_a_run_that_has_ended_is_looked_at_unless_it_has_none(
    qtbot: QtBot, new_runs: Made, history: History
) -> None:
    first, failed = enter(history), history.start("qat", {})
    runs = new_runs()
    runs.follow(first)
    with qtbot.waitSignal(runs.history_changed):
        runs.follow("")
        runs.follow(failed)  # the next in the queue begins before the history was read
    assert runs.lines == ((first, "fp32"),)
    history.fail(failed, "The disk is full.")
    with qtbot.waitSignal(runs.history_changed):
        runs.follow("")
    assert runs.lines == ((first, "fp32"),)


# What other programs write

OTHER = """
import sys
from pathlib import Path
from qexplorer.engine.runs.history import History
history, result = History(Path(sys.argv[1])), sys.argv[2]
print(history.start("evaluate", {"seed": 3}, "another-run"), flush=True)
sys.stdin.readline()
history.finish("another-run", result)
print("finished", flush=True)
sys.stdin.readline()
history.delete("another-run")
print("deleted", flush=True)
"""


class Other:
    """A process of its own that writes a run into the history, finishes it and deletes it, a step at a time."""

    def __init__(self, history: History) -> None:
        row = Row("fp32", "REAL", "float", 10, 10, 0.9, (0.8, 0.95), 1.0, 8, 0, {}, 1)
        model, data = {"name": "m", "sha256": "a"}, {"name": "d", "calibration_n": 0, "sha256": "b"}
        result = a_result("evaluate", row, run_id="another-run", model=model, data=data).to_json()
        command = [sys.executable, "-c", OTHER, str(history.path), result]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self) -> str:
        """What it has done."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it do the next step."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture
def other(history: History) -> Iterator[Other]:
    process = Other(history)
    yield process
    process.close()


def statuses(runs: ChosenRuns) -> dict[str, str]:
    return {run.run_id: run.status for run in runs.known.runs}


def test_runs_of_another_process_are_seen_as_they_come_end_and_go(
    qtbot: QtBot, new_runs: Made, history: History, other: Other
) -> None:
    own = enter(history)
    runs = new_runs()
    runs.watch(True)
    read(qtbot, runs)
    assert other.said() == "another-run"
    qtbot.waitUntil(lambda: statuses(runs) == {own: "done", "another-run": "running"})
    other.go_on()
    assert other.said() == "finished"
    qtbot.waitUntil(lambda: statuses(runs) == {own: "done", "another-run": "done"})
    assert runs.known.results["another-run"] is not None
    assert runs.run is not None
    assert runs.run.run_id == "another-run"
    runs.choose((("another-run", "fp32"),))
    other.go_on()
    assert other.said() == "deleted"
    qtbot.waitUntil(lambda: statuses(runs) == {own: "done"})
    assert runs.lines == ()
    assert chosen_runs.WATCH_MS <= 1000  # two seconds are promised


def test_what_is_not_watched_is_not_read_until_it_is(
    qtbot: QtBot, new_runs: Made, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen_runs, "WATCH_MS", 20)
    runs = new_runs()
    read(qtbot, runs)
    run_id = enter(history)
    with qtbot.assertNotEmitted(runs.history_changed, wait=100):
        pass
    with qtbot.waitSignal(runs.history_changed):
        runs.watch(True)
    assert list(statuses(runs)) == [run_id]
    history.journal(history.start("qat", {})).put("step", 1)
    qtbot.waitUntil(lambda: len(runs.known.runs) == 2)
    running = runs.known.runs[0].run_id
    with qtbot.assertNotEmitted(runs.history_changed, wait=200):  # the steps of a run under way are nobody's matter
        history.journal(running).put("step", 2)
    runs.watch(False)
