import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from qexplorer.engine.jobs import Job
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.runs.artifacts import save_state
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish
from qexplorer.settings import setting
from tests.results import a_result

ROW = Row("fp32", "REAL", "float", 1, 1, 1.0, (0.5, 1.0), 1.0, 1, 0, {}, 1)
ERRORS = {"user": UserError("It does not fit.", "Choose another."), "bug": ZeroDivisionError("by zero")}


@dataclass(frozen=True)
class Small(Job):
    """Writes a file, reports, does what `then` says, and ends."""

    seed: int = setting(5, "Seed", "")
    then: str = setting("", "Then", "")

    name: ClassVar[str] = "small"
    title: ClassVar[str] = "Small"

    def run(self, folder: Path | None = None, journal: Journal | None = None) -> Steps[RunResult]:
        assert folder is not None
        assert journal is not None
        yield Progress("first", 0, 2)
        save_state({}, folder / "x.pt")
        yield Progress("second", 1, 2)
        if self.then in ERRORS:
            raise ERRORS[self.then]
        if self.then == "empty":
            (folder / "x.pt").unlink()
        return a_result(self.name, ROW, seed=self.seed, artifact=str(folder))


def only(history: History, status: str) -> None:
    """There is one run, it has that status, and no file of it is left."""
    (run,) = history.runs()
    assert run.status == status
    assert not history.folder(run.run_id).exists()


def test_a_run_is_in_the_history_from_its_first_step_on(history: History) -> None:
    steps = recorded(Small(), history)
    assert history.runs() == []
    next(steps)
    (run,) = history.runs()
    assert (run.status, json.loads(run.config_json)) == ("running", {"seed": 5, "then": ""})
    steps.close()


def test_the_result_is_committed_with_its_id_and_its_files(history: History) -> None:
    result = finish(recorded(Small(), history))
    run = history.get(result.run_id)
    assert run.status == "done"
    assert run.result_json is not None
    assert RunResult.from_json(run.result_json) == result
    assert (history.folder(result.run_id) / "x.pt").is_file()


@pytest.mark.parametrize(("then", "error"), [("user", UserError), ("bug", ZeroDivisionError)])
def test_a_failure_in_the_middle_is_recorded_and_leaves_no_file(
    history: History, then: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        finish(recorded(Small(then=then), history))
    only(history, "failed")
    assert history.runs()[0].error == str(caught.value)


@pytest.mark.parametrize("steps_taken", [1, 2])
def test_a_cancel_in_the_middle_is_recorded_and_leaves_no_file(history: History, steps_taken: int) -> None:
    steps = recorded(Small(), history)
    for _ in range(steps_taken):
        next(steps)
    steps.close()
    only(history, "cancelled")


def test_ctrl_c_counts_as_a_cancel(history: History) -> None:
    steps = recorded(Small(), history)
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    only(history, "cancelled")


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_result(*_: object) -> None:
    raise UserError("The run history cannot be used: database or disk is full.", "Free some space on that disk.")


@pytest.mark.parametrize(("place", "fails"), [((os, "fsync"), full_disk), ((History, "finish"), no_result)])
def test_a_full_disk_fails_the_run_and_leaves_no_file(
    history: History, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str], fails: Callable[..., None]
) -> None:
    monkeypatch.setattr(*place, fails)
    with pytest.raises(UserError, match="Free some space"):
        finish(recorded(Small(), history))
    only(history, "failed")


def test_a_run_that_kept_no_file_leaves_no_folder(history: History) -> None:
    result = finish(recorded(Small(then="empty"), history))
    assert history.get(result.run_id).status == "done"
    assert not history.folder(result.run_id).exists()


def test_a_result_that_the_history_does_not_take_is_not_lost_silently(history: History) -> None:
    steps = recorded(Small(), history)
    next(steps)
    history.cancel(history.runs()[0].run_id)
    with pytest.raises(UserError, match="cannot be entered"):
        finish(steps)


def broken(*_: object) -> None:
    raise RuntimeError("the bookkeeping itself has a bug")


def test_a_cancel_stays_a_cancel_even_if_the_history_fails(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(History, "cancel", broken)
    steps = recorded(Small(), history)
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())


@pytest.mark.parametrize("fails", [no_result, broken])
def test_what_went_wrong_first_is_told_even_if_the_history_fails_too(
    history: History, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., None]
) -> None:
    monkeypatch.setattr(History, "fail", fails)
    with pytest.raises(ZeroDivisionError):
        finish(recorded(Small(then="bug"), history))
