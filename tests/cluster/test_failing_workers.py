"""Workers that refuse, fail, are lost or say what is no report, and owners that end."""

import json
import threading
import time
from io import BytesIO
from typing import Any

import pytest

from qexplorer.cluster import client, worker
from qexplorer.cluster.artifact import END, MODEL
from qexplorer.cluster.mailbox import Mailbox
from qexplorer.cluster.messages import Report
from qexplorer.cluster.run_study import run_study
from qexplorer.cluster.writer import WorkerBug
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.status import StudyProgress
from qexplorer.errors import UserError
from qexplorer.progress import finish
from tests.cluster.fake_dask import WORKER, Work
from tests.cluster.one_run import ON, OTHER, STUDY, Start, advance, files, until_idle, wait


def test_what_a_worker_raises_is_raised_here(start: Start, history: History, send_model: Work) -> None:
    start(send_model).changes["read"] = lambda _: {"bug": "ZeroDivisionError: there"}
    with pytest.raises(WorkerBug, match="ZeroDivisionError: there"):
        finish(run_study(STUDY, history, ON))
    assert files(history) == []
    assert [run.status for run in history.runs()] == ["failed"]
    next(iter(worker.MAILBOXES.values())).stop()


def test_what_a_worker_refuses_fails_its_run(start: Start, history: History, send_model: Work) -> None:
    start(send_model).changes["read"] = lambda _: {"error": "The disk is full."}
    (run,) = finish(run_study(STUDY, history, ON)).runs
    assert (run.status, run.error) == ("failed", "The disk is full.")


def idle(mailbox: Mailbox) -> None:
    """The work of a run that never ends."""
    mailbox.journal()
    wait(mailbox)


REPORT = {"phase": "", "fraction": 0.0, "artifact": None}
OFFER = {"number": 1, "kind": MODEL, "name": "w8a32", "size": 1, "sha256": ""}


@pytest.mark.parametrize(
    "report",
    [
        b"",
        b"\x80\x04cos\nsystem\n",
        b"[" * 50_000,
        b'{"phase": "' + b"x" * 200_000 + b'"}',
        "a text",
        ["a list"],
        {"__Pickled__": 1},
        json.dumps(REPORT | {"fraction": float("nan")}).encode(),
        json.dumps(REPORT | {"phase": 1}).encode(),
        json.dumps(REPORT | {"more": 1}).encode(),
        json.dumps(REPORT | {"artifact": "w8a32"}).encode(),
        json.dumps(REPORT | {"artifact": OFFER | {"size": -1}}).encode(),
        json.dumps(REPORT | {"artifact": OFFER | {"size": "1"}}).encode(),
        json.dumps(REPORT | {"artifact": OFFER | {"kind": "program"}}).encode(),
        json.dumps(REPORT | {"artifact": OFFER | {"name": "x" * 5000}}).encode(),
    ],
)
def test_a_report_that_is_none_fails_its_run_and_nothing_else(report: Any, start: Start, history: History) -> None:
    good = [3]

    def changed(answer: Any) -> Any:
        good[0] -= 1
        return answer if good[0] >= 0 else {"answer": report}

    start(idle).changes["report"] = changed
    (run,) = finish(run_study(STUDY, history, ON)).runs
    assert run.status == "failed"
    assert good[0] < 0
    assert len(run.error) < 500
    assert files(history) == []


def test_a_run_whose_worker_is_lost_continues_on_another_and_is_entered_once(start: Start, history: History) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    dask.workers.clear()
    next(step for step in steps if isinstance(step, StudyProgress) and "worker was lost" in step.runs[0].phase)
    next(iter(worker.MAILBOXES.values())).stop()
    dask.workers.add(OTHER)
    step = next(step for step in steps if isinstance(step, StudyProgress) and step.runs[0].status == "running")
    assert step.runs[0].worker.startswith(OTHER)
    next(iter(worker.MAILBOXES.values())).report = Report("in time", 0.5)
    step = next(step for step in steps if isinstance(step, StudyProgress) and step.runs[0].fraction)
    assert (step.runs[0].phase, step.runs[0].fraction) == ("in time", 0.5)
    steps.close()
    assert [run.status for run in history.runs()] == ["cancelled"]


def test_a_run_that_loses_every_worker_is_told_to_be_the_cause(
    start: Start, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ALLOWED_LOSSES", 1)
    dask = start(idle)
    asked = [0]

    def gone(answer: Any) -> Any:
        asked[0] += 1
        if asked[0] % 3:
            return answer
        next(iter(worker.MAILBOXES.values())).stop()
        until_idle()
        return {}

    dask.changes["report"] = gone
    (run,) = finish(run_study(STUDY, history, ON)).runs
    assert "lost, 2 in all" in run.error


@pytest.mark.parametrize("end", [b"", b"no JSON", b"[]", b'{"result": 3}', b'{"result": ""}', b"[" * 100_000])
def test_a_worker_that_sends_no_result_fails_its_run(end: bytes, start: Start, history: History) -> None:
    def work(mailbox: Mailbox) -> None:
        mailbox.journal()
        mailbox.send(END, "", BytesIO(end))
        wait(mailbox)

    start(work)
    (run,) = finish(run_study(STUDY, history, ON)).runs
    assert run.status == "failed"
    assert run.error
    assert [run.status for run in history.runs()] == ["failed"]
    next(iter(worker.MAILBOXES.values())).stop()


def test_a_worker_that_comes_with_another_version_is_not_used(start: Start, history: History) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    dask.workers.clear()
    advance(steps, lambda: "no worker yet" in str(next(steps)))
    dask.changes["hello"] = lambda _: {"answer": b'{"host": "w", "versions": {"qexplorer": "0.0.1", "torch": ""}}'}
    dask.workers.add(WORKER)
    step = next(step for step in steps if "It is not used" in step.phase)
    assert "has qexplorer 0.0.1" in step.phase
    steps.close()
    assert history.runs() == []


def test_a_run_whose_worker_ends_writes_nothing_more(start: Start, history: History) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    dask.closing = True
    until_idle()
    assert dask.stopped
    steps.close()


def test_a_disk_of_the_owner_that_is_full_ends_the_study(
    start: Start, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise UserError("The run history cannot be used: the disk is full.")

    start(idle)
    monkeypatch.setattr(history, "start", full)
    with pytest.raises(UserError, match="the disk is full"):
        finish(run_study(STUDY, history, ON))


def test_a_run_whose_owner_is_gone_ends(start: Start, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.cluster.mailbox.LEASE_S", 0.2)
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    time.sleep(0.5)  # nobody steps the study
    until_idle()
    assert dask.stopped
    steps.close()


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="another thread gets the signal")
def test_ctrl_c_cancels_the_runs(start: Start, history: History) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    dask.interrupt()
    with pytest.raises(KeyboardInterrupt):
        finish(steps)
    assert [run.status for run in history.runs()] == ["cancelled"]
    until_idle()
    assert dask.stopped
