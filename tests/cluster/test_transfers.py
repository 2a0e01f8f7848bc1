"""What goes between a worker and the run history, with both sides in this process."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.cluster import artifact, worker
from qexplorer.cluster.artifact import ARRAYS, MODEL, STEP
from qexplorer.cluster.mailbox import Mailbox
from qexplorer.cluster.run_study import run_study
from qexplorer.engine.jobs.starts import check_same
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyProgress
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.settings import write
from tests.cluster.fake_dask import Work
from tests.cluster.one_run import CHUNK, CONTENT, ON, STUDY, Start, advance, files, until_idle, wait


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
