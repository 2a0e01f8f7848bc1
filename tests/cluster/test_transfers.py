"""What goes between a worker and the run history, with both sides in this process."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.cluster import artifact, client, exchange, remote_worker, worker
from qexplorer.cluster.artifact import ARRAYS, END, MODEL, STEP
from qexplorer.cluster.mailbox import Mailbox
from qexplorer.cluster.messages import Report
from qexplorer.cluster.run_study import run_study
from qexplorer.cluster.writer import WorkerBug
from qexplorer.engine.jobs.evaluate import Evaluate
from qexplorer.engine.jobs.starts import check_same
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyProgress, StudyResult
from qexplorer.engine.studies.study import Study, StudyRun
from qexplorer.errors import UserError
from qexplorer.progress import Steps, finish
from qexplorer.settings import write
from tests.cluster.fake_dask import WORKER, FakeDask, Work, is_idle

ON = "tcp://127.0.0.1:1"
OTHER = "tcp://w:2"
STUDY = Study("one", (StudyRun(1, "a-run", Evaluate(), {}),))
CHUNK = 1000
CONTENT = np.random.default_rng(0).bytes(4567)
Start = Callable[..., FakeDask]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Makes a Dask whose workers do what they are given."""
    monkeypatch.setattr(exchange, "CHUNK", CHUNK)
    for module in (client, remote_worker):
        monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(client, "WATCH_S", 0.02)
    monkeypatch.setattr(worker, "EVERY_S", 0.02)
    folder = tmp_path / "worker"
    folder.mkdir()

    def fake(work: Work) -> FakeDask:
        dask = FakeDask(folder, work)
        for module in (client, exchange):
            monkeypatch.setattr(module, "Connection", dask)
        monkeypatch.setattr(worker, "run_job", dask.run_job)
        return dask

    yield fake
    until_idle()
    assert not list(tmp_path.rglob("incoming"))
    assert not list(folder.iterdir())


def until_idle() -> None:
    """No worker has a run any more."""
    until = time.monotonic() + 5
    while not is_idle():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "made.pt"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def send_model(model: Path) -> Work:
    """The work of a run that makes a model."""

    def work(mailbox: Mailbox) -> None:
        mailbox.journal()
        with model.open("rb") as content:
            mailbox.send(MODEL, "w8a32", content)

    return work


def advance(steps: Steps[StudyResult], until: Callable[[], object]) -> StudyProgress:
    """Step until something is so."""
    for step in steps:
        assert isinstance(step, StudyProgress)
        if until():
            return step
    raise AssertionError("the study ended before")


def wait(mailbox: Mailbox) -> None:
    """Work until nobody wants it any more."""
    while True:
        mailbox.check_wanted()
        threading.Event().wait(0.02)


def files(history: History) -> list[str]:
    (run,) = history.runs()
    return sorted(path.name for path in history.folder(run.run_id).glob("**/*") if path.is_file())


def test_a_model_comes_in_chunks_under_a_name_made_here(start: Start, history: History, model: Path) -> None:
    stay = threading.Event()

    def work(mailbox: Mailbox) -> None:
        mailbox.journal()
        with model.open("rb") as content:
            mailbox.send(MODEL, "../../../evil\n/w8a32", content)
        stay.set()
        wait(mailbox)

    dask, steps = start(work), run_study(STUDY, history, ON)
    dask.limit = 2
    assert next(step for step in steps if isinstance(step, StudyProgress) and "evil\\x0a" in step.runs[0].phase)
    dask.limit = None
    step = advance(steps, stay.is_set)
    assert files(history) == ["model_1.pt"]
    assert (history.folder(step.runs[0].run_id) / "model_1.pt").read_bytes() == CONTENT
    assert dask.chunks == [CHUNK] * 4 + [567]
    steps.close()
    until_idle()
    assert dask.stopped
    assert not history.folder(step.runs[0].run_id).exists()


def flipped(chunk: bytes) -> Any:
    return bytes([chunk[0] ^ 1]) + chunk[1:]


def longer(chunk: bytes) -> Any:
    return chunk + b"x" if len(chunk) < CHUNK else chunk


def cut(chunk: bytes) -> Any:
    return b"" if len(chunk) < CHUNK else chunk


def text(chunk: bytes) -> Any:
    return str(chunk)


@pytest.mark.parametrize("change", [flipped, longer, cut, text])
def test_what_is_not_what_was_offered_is_refused(
    change: Callable[[bytes], Any], start: Start, history: History, send_model: Work
) -> None:
    dask = start(send_model)
    dask.changes["read"] = lambda answer: {"answer": change(answer["answer"])}
    (run,) = finish(run_study(STUDY, history, ON)).runs
    assert run.status == "failed"
    assert "damaged" in run.error
    assert history.get(run.run_id).error == run.error
    assert files(history) == []
    until_idle()
    assert dask.stopped


@pytest.mark.parametrize("end", ["lost", "closed"])
def test_a_transfer_that_is_cut_off_leaves_no_half_file(
    end: str, start: Start, history: History, send_model: Work
) -> None:
    dask, steps = start(send_model), run_study(STUDY, history, ON)
    dask.limit = 2
    advance(steps, lambda: len(dask.chunks) == 2 and files(history) == ["incoming"])
    if end == "closed":
        steps.close()
        assert not history.folder(history.runs()[0].run_id).exists()
        assert history.runs()[0].status == "cancelled"
        return
    dask.workers.clear()
    advance(steps, lambda: files(history) == [])
    dask.limit = None
    for _ in range(3):
        next(steps, None)
    assert files(history) == []
    steps.close()
    next(iter(worker.MAILBOXES.values())).stop()  # as its lease would


def test_a_call_that_comes_twice_does_no_harm(start: Start, history: History, send_model: Work) -> None:
    heard: list[Any] = []

    def flaky(answer: Any) -> Any:
        heard.append(answer)
        return answer if len(heard) % 2 == 0 else {}

    manifest, journal = earlier(history)
    journal.put("long", "x" * 2 * CHUNK)
    dask = start(send_model)
    dask.changes = dict.fromkeys(("hello", "begin", "report", "read", "write", "proceed"), flaky)
    (run,) = finish(run_study(STUDY, history, ON, manifest=manifest)).runs
    assert dask.done
    assert "cannot be read" in run.error
    assert len(dask.chunks) > 5


@pytest.mark.parametrize("kind", [MODEL, ARRAYS, STEP])
def test_what_is_too_large_stays_where_it_is(
    kind: str, start: Start, history: History, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(artifact.MOST_BYTES, kind, len(CONTENT) - 1)

    def work(mailbox: Mailbox) -> None:
        mailbox.journal()
        with model.open("rb") as content:
            mailbox.send(kind, "w8a32", content)

    dask = start(work)
    result = finish(run_study(STUDY, history, ON))
    assert dask.done
    assert len(dask.chunks) == 1  # of how it ended
    assert files(history) == []
    (note,) = result.notes
    assert {"w8a32", result.runs[0].run_id} <= set(note.split())


def earlier(history: History) -> tuple[Manifest, Any]:
    """A study that was cancelled, and the journal of its run."""
    manifest, (run,) = Manifest.new(STUDY, history), STUDY.runs
    run_id = history.start(run.job.name, write(run.job))
    manifest.add(run.key, run_id)
    history.cancel(run_id)
    return manifest, history.journal(run_id)


def test_steps_go_both_ways_and_are_not_sent_back(start: Start, history: History) -> None:
    manifest, here = earlier(history)
    array = np.arange(900, dtype=np.float32)
    here.put("notes", {"a": "ä" * 900})
    here.put("word", "../../../history.sqlite3")
    here.put_arrays("w", {"x": array})
    file = here.file_of("w")
    here.put_arrays("gone", {"x": array})
    here.file_of("gone").unlink()
    there: list[tuple[list[str], dict[str, Any], list[list[float]]]] = []

    def work(mailbox: Mailbox) -> None:
        journal = mailbox.journal()
        journal.put("next", 7)
        journal.put_arrays("more", {"y": array[::-1]})
        keys = journal.keys("")
        values = {key: journal.get(key) for key in ("notes", "word", "next")}
        there.append((keys, values, [(journal.arrays(key) or {}).popitem()[1].tolist() for key in ("w", "more")]))
        with pytest.raises(UserError, match="in another machine's"):
            check_same("a-run", "", "", journal)

    dask = start(work)
    finish(run_study(STUDY, history, ON, manifest=manifest))
    assert dask.done
    ((keys, values, arrays),) = there
    assert keys == ["notes", "word", "w", "next", "more"]
    assert here.keys("") == ["notes", "word", "w", "gone", "next", "more"]
    assert values == {"notes": {"a": "ä" * 900}, "word": "../../../history.sqlite3", "next": 7}
    assert {key: here.get(key) for key in values} == values
    assert arrays == [array.tolist(), array[::-1].tolist()]
    assert [(here.arrays(key) or {}).popitem()[1].tolist() for key in ("w", "more")] == arrays
    assert here.file_of("w") == file


def test_a_step_that_names_a_file_is_no_path_to_it(history: History, tmp_path: Path) -> None:
    journal = history.journal(history.start("a", {}))
    other = tmp_path / "other.npz"
    other.write_bytes(b"mine")
    for name in (str(other), "../../../other.npz", "other.npz"):
        journal.put("step", name)
        assert journal.arrays("step") is None
        journal.put_arrays("step", {"x": np.zeros(1)})
    assert other.read_bytes() == b"mine"


def test_a_file_of_arrays_is_adopted(history: History, tmp_path: Path) -> None:
    run_id = history.start("a", {})
    journal = history.journal(run_id)
    for i in range(2):
        file = tmp_path / "arrays.npz"
        np.savez(file, x=np.array([i]))
        journal.adopt("step", file)
        assert not file.exists()
        assert (journal.arrays("step") or {})["x"].tolist() == [i]
    assert len(list(history.steps_folder(run_id).iterdir())) == 1


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
