"""What goes between a worker and the run history, with both sides in this process."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.cluster import artifact, client
from qexplorer.cluster.artifact import ARRAYS, MODEL, STEP, Artifact
from qexplorer.cluster.mailbox import MAILBOXES, Mailbox
from qexplorer.cluster.messages import Offered, Started, Stepped
from qexplorer.cluster.run_study import run_study
from qexplorer.engine.jobs.evaluate import Evaluate
from qexplorer.engine.jobs.starts import check_same
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyProgress, StudyResult
from qexplorer.engine.studies.study import Study, StudyRun
from qexplorer.errors import UserError
from qexplorer.progress import Steps, finish
from qexplorer.settings import write
from tests.cluster.fake_dask import WORKER, FakeDask, Work

ON = "tcp://scheduler:1"
OTHER = "tcp://w:2"
STUDY = Study("one", (StudyRun(1, "a-run", Evaluate(), {}),))
CHUNK = 1000
CONTENT = np.random.default_rng(0).bytes(4567)
Start = Callable[..., FakeDask]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Makes a Dask whose worker does what it is given."""
    monkeypatch.setattr(client, "CHUNK", CHUNK)
    monkeypatch.setattr(client, "RETRY_S", 0.0)
    folder, made = tmp_path / "worker", list[FakeDask]()
    folder.mkdir()

    def fake(work: Work) -> FakeDask:
        made.append(FakeDask(folder, work))
        monkeypatch.setattr("distributed.Client", made[-1])
        return made[-1]

    yield fake
    for each in made:
        each.join()
    assert not MAILBOXES
    assert not list(tmp_path.rglob("incoming"))


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
    step = advance(steps, stay.is_set)
    assert files(history) == ["model_1.pt"]
    assert (history.folder(step.runs[0].run_id) / "model_1.pt").read_bytes() == CONTENT
    assert dask.chunks == [CHUNK] * 4 + [567]
    assert "evil\\x0a" in step.runs[0].phase
    steps.close()
    dask.join()
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
    dask.change = lambda answer: {"answer": change(answer["answer"])} if isinstance(answer["answer"], bytes) else answer
    (run,) = finish(run_study(STUDY, history, ON)).runs
    assert run.status == "failed"
    assert "damaged" in run.error
    assert history.get(run.run_id).error == run.error
    assert files(history) == []
    dask.join()
    assert dask.stopped


@pytest.mark.parametrize("end", ["lost", "closed", "answered"])
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
    dask.lose() if end == "lost" else dask.answer('{"error": "over"}')
    advance(steps, lambda: files(history) == [])
    dask.limit = None  # an answer that comes late
    for _ in range(3):
        next(steps, None)
    assert files(history) == []
    steps.close()


def test_a_call_that_comes_twice_does_no_harm(start: Start, history: History, send_model: Work) -> None:
    heard: list[Any] = []

    def flaky(answer: Any) -> Any:
        heard.append(answer)
        if len(heard) % 2:
            raise OSError
        return answer

    manifest, journal = earlier(history)
    journal.put("long", "x" * 2 * CHUNK)
    dask = start(send_model)
    dask.change = flaky
    (run,) = finish(run_study(STUDY, history, ON, manifest=manifest)).runs
    assert dask.done
    assert run.error == "over"
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
    assert dask.chunks == []
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
    assert dask.offers == ["next", "more"]
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
    def broken(answer: dict[str, Any]) -> Any:
        if isinstance(answer["answer"], bytes):
            raise ZeroDivisionError("there")
        return answer

    start(send_model).change = broken
    with pytest.raises(ZeroDivisionError, match="there"):
        finish(run_study(STUDY, history, ON))
    assert files(history) == []
    assert [run.status for run in history.runs()] == ["failed"]


def test_what_a_worker_refuses_fails_its_run(start: Start, history: History, send_model: Work) -> None:
    start(send_model).change = lambda _: {"error": "The disk is full."}
    (run,) = finish(run_study(STUDY, history, ON)).runs
    assert (run.status, run.error) == ("failed", "The disk is full.")


def idle(mailbox: Mailbox) -> None:
    """The work of a run that never ends."""
    mailbox.journal()
    wait(mailbox)


GOOD = Offered("a-run", WORKER, Artifact(1, MODEL, "w8a32", 1, "")).to_event()


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "Resigned"},
        {"kind": ["Stepped"]},
        {"kind": "Stepped", "worker": WORKER, "phase": "x"},
        {"kind": "Stepped", "worker": WORKER, "phase": "x", "fraction": float("nan")},
        {"kind": "Stepped", "worker": WORKER, "phase": 1, "fraction": 0.5},
        {"kind": "Started", "worker": WORKER, "host": "w", "more": 1},
        GOOD | {"artifact": "w8a32"},
        GOOD | {"artifact": {**GOOD["artifact"], "size": -1}},
        GOOD | {"artifact": {**GOOD["artifact"], "size": "1"}},
        GOOD | {"artifact": {**GOOD["artifact"], "kind": "program"}},
        GOOD | {"artifact": {**GOOD["artifact"], "name": "x" * 5000}},
    ],
)
def test_a_message_that_is_none_fails_its_run_and_nothing_else(
    event: dict[str, Any], start: Start, history: History
) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    for nobody in ("nothing", {**event, "key": "another run"}, {**event, "key": ["a-run"]}, {**GOOD, "key": "another"}):
        dask.message(nobody)
    for _ in range(3):
        assert advance(steps, lambda: True).runs[0].status == "running"
    dask.message({**event, "key": "a-run"})
    (run,) = finish(steps).runs
    assert run.status == "failed"
    assert len(run.error) < 500
    assert files(history) == []


def test_what_a_cluster_tells_twice_or_late_is_entered_once(start: Start, history: History) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    dask.message(Started("a-run", OTHER, "other"))  # heard before it is heard that the first worker is gone
    dask.message(Stepped("a-run", WORKER, "late", 0.9))
    dask.message(Stepped("a-run", OTHER, "in time", 0.5))
    dask.lose(WORKER)
    step = next(step for step in steps if isinstance(step, StudyProgress) and step.runs[0].fraction)
    assert (step.runs[0].worker, step.runs[0].phase, step.runs[0].fraction) == (f"{OTHER} (other)", "in time", 0.5)
    dask.answer('{"result": "{}"}')
    dask.message(Started("a-run", OTHER, "other"))
    result = finish(steps)
    assert len(result.notes) == 1
    assert WORKER in result.notes[0]
    (run,) = history.runs()
    assert (run.status, run.error) == ("failed", result.runs[0].error)
    assert "cannot be read" in result.runs[0].error


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", '{"result": 3}', '{"result": ""}', "[" * 100_000, 7])
def test_a_worker_that_returns_no_result_fails_its_run(answer: Any, start: Start, history: History) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    dask.answer(answer)
    (run,) = finish(steps).runs
    assert run.status == "failed"
    assert run.error
    assert [run.status for run in history.runs()] == ["failed"]


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="another thread gets the signal")
def test_ctrl_c_cancels_the_runs(start: Start, history: History) -> None:
    dask, steps = start(idle), run_study(STUDY, history, ON)
    advance(steps, history.runs)
    dask.interrupt()
    with pytest.raises(KeyboardInterrupt):
        finish(steps)
    assert [run.status for run in history.runs()] == ["cancelled"]
    dask.join()
    assert dask.stopped
