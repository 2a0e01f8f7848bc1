"""What a run has finished: in memory and in the run history, whole or not there at all; and going on from it."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from qexplorer.engine.jobs import Job
from qexplorer.engine.jobs.record import job_of, recorded, resumed
from qexplorer.engine.runs.artifacts import save_state
from qexplorer.engine.runs.curve_points import EpochPoint, SamplesPoint
from qexplorer.engine.runs.database import VERSION
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import EVALUATED, POINT, Journal, load_arrays, save_arrays
from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.errors import UserError
from qexplorer.plugins import Registry
from qexplorer.progress import Progress, Steps, finish
from qexplorer.settings import setting
from tests.results import a_result

ROW = Row("fp32", "REAL", "float", 1, 1, 1.0, (0.5, 1.0), 1.0, 1, 0, {}, 1)


def change(history: History, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(history.path)) as database, database:
        database.execute(sql, values)


@pytest.fixture(params=["memory", "history"])
def journal(request: pytest.FixtureRequest, history: History) -> Journal:
    return Journal() if request.param == "memory" else history.journal(history.start("a", {}))


def test_what_was_entered_is_found_and_nothing_else(journal: Journal) -> None:
    assert journal.get("a") is None
    for value in ({"x": [1, 2.5, "ü"]}, 0, False, "", [], "text"):
        journal.put("a", value)
        assert journal.get("a") == value
    assert journal.get("b") is None
    assert journal.arrays("a") is None


def test_keys_come_in_the_order_in_which_they_were_entered(journal: Journal) -> None:
    for key in ("x/2", "x/1", "y/1", "x/%", "x_3"):
        journal.put(key, 1)
    assert journal.keys("x/") == ["x/2", "x/1", "x/%"]
    assert journal.keys("") == ["x/2", "x/1", "y/1", "x/%", "x_3"]
    assert journal.keys("z") == []


def test_points_are_kept_in_their_order(journal: Journal) -> None:
    assert journal.points() == ()
    wanted = (*(EpochPoint(i, 1 / (i + 1), 0.5, 0.5, scales={"head": 0.1}) for i in range(12)), SamplesPoint(32, 0.75))
    for place, point in enumerate(wanted):
        journal.put_point(place, point)
    assert journal.points() == wanted


def test_what_json_cannot_hold_is_not_half_entered(journal: Journal) -> None:
    for value in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            journal.put("a", value)
    assert journal.get("a") is None


def test_arrays_are_given_back_bit_for_bit(journal: Journal) -> None:
    arrays = {"layer.0.weight": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32), "n": np.int64(3),
              "none": np.zeros((0, 4), np.float16), "codes": np.arange(-3, 3, dtype=np.int8)}  # fmt: skip
    journal.put_arrays("a", arrays)
    found = journal.arrays("a")
    assert found is not None
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
        assert found[name].shape == array.shape


def test_arrays_are_those_of_the_moment_and_a_later_entry_takes_their_place(journal: Journal) -> None:
    array = np.ones(3)
    journal.put_arrays("a", {"x": array})
    array[:] = 7
    found = journal.arrays("a")
    assert found is not None
    assert found["x"].tolist() == [1, 1, 1]
    journal.put_arrays("a", {"y": array})
    assert (journal.arrays("a") or {}).keys() == {"y"}


def test_the_history_keeps_the_steps_of_each_run(history: History) -> None:
    one, two = history.start("a", {}), history.start("a", {})
    for run_id in (one, two):
        history.journal(run_id).put("x", run_id)
        history.journal(run_id).put_arrays("w", {"x": np.array([len(run_id)])})
    again = History(history.path)
    assert [again.journal(run_id).get("x") for run_id in (one, two)] == [one, two]
    assert len(list(history.steps_folder(one).iterdir())) == 1


def test_an_earlier_file_of_arrays_is_gone_when_the_later_one_is_entered(history: History) -> None:
    run_id = history.start("a", {})
    journal = history.journal(run_id)
    for i in range(3):
        journal.put_arrays("w", {"x": np.array([i])})
    assert len(list(history.steps_folder(run_id).iterdir())) == 1
    assert (journal.arrays("w") or {})["x"].tolist() == [2]


def test_arrays_that_could_not_be_entered_leave_the_earlier_ones(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = history.journal(history.start("a", {}))
    journal.put_arrays("w", {"x": np.array([1])})

    def full(*_: object) -> None:
        raise UserError("The run history cannot be used: database or disk is full.")

    monkeypatch.setattr(type(journal), "put", full)
    with pytest.raises(UserError, match="full"):
        journal.put_arrays("w", {"x": np.array([2])})
    monkeypatch.undo()
    assert (journal.arrays("w") or {})["x"].tolist() == [1]


def test_a_torn_file_of_arrays_is_no_finished_step(history: History) -> None:
    run_id = history.start("a", {})
    journal = history.journal(run_id)
    journal.put_arrays("w", {"x": np.arange(500.0), "y": np.arange(3)})
    (file,) = history.steps_folder(run_id).iterdir()
    whole = file.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert journal.arrays("w") is None
    file.unlink()
    assert journal.arrays("w") is None
    file.write_bytes(whole)
    assert journal.arrays("w") is not None


def test_no_damaged_byte_does_more_than_undo_a_step(tmp_path: Path) -> None:
    path = save_arrays(tmp_path, {"weight": np.arange(40, dtype=np.float32), "bias": np.arange(3)})
    whole = path.read_bytes()
    for place in range(len(whole)):
        for flip in (0x08, 0x41, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            assert load_arrays(path) is None


def test_steps_of_an_older_version_are_read_by_the_names_they_have(history: History) -> None:
    journal = history.journal(history.start("a", {}))
    journal.put_arrays("w", {"x": np.arange(3)})
    file = journal.file_of("w")
    assert file is not None
    file.rename(file.with_name("0123456789abcdef.npz"))
    journal.put("w", "0123456789abcdef.npz")
    assert (journal.arrays("w") or {})["x"].tolist() == [0, 1, 2]
    journal.put("w", "../../../0123456789abcdef.npz")
    assert journal.arrays("w") is None


def test_steps_with_the_same_arrays_share_no_file(history: History) -> None:
    journal = history.journal(history.start("a", {}))
    for key in ("v", "w", "w"):
        journal.put_arrays(key, {"x": np.arange(3)})
    assert journal.file_of("v") != journal.file_of("w")
    assert [(journal.arrays(key) or {})["x"].tolist() for key in "vw"] == [[0, 1, 2], [0, 1, 2]]


# runs that are taken up again


@dataclass(frozen=True)
class Slow(Job):
    """Three steps, each entered when it is done; the journal says which of them were done this time."""

    fails: str = setting("", "Fails", "")
    name: ClassVar[str] = "slow"
    title: ClassVar[str] = "Slow"

    def run(self, folder: Path | None = None, journal: Journal | None = None) -> Steps[RunResult]:
        assert folder is not None
        journal = journal or Journal()
        save_state({}, folder / "half.pt")
        did: list[str] = []
        for step in ("one", "two", "three"):
            yield Progress(step)
            if journal.arrays(f"step/{step}") is None:
                if self.fails == step and not journal.get("failed"):
                    journal.put("failed", True)
                    raise UserError("It does not fit.")
                journal.put_arrays(f"step/{step}", {"x": np.arange(3)})
                place = len(journal.keys(POINT))
                journal.put_point(place, SamplesPoint(place, 0.5))
                did.append(step)
        journal.put(EVALUATED + "fp32", {"predictions": [1, 0, 2]})
        return a_result(self.name, ROW, versions={"did": " ".join(did)}, artifact=str(folder))


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Registry[Job]("job")
    known.register(Slow)
    monkeypatch.setattr("qexplorer.engine.jobs.record.jobs", known)


def stopped(history: History, how: str) -> str:
    """A run that has done its first step."""
    steps = recorded(Slow(fails="two" if how == "failed" else ""), history)
    while next(steps).phase != "two":
        pass
    (run,) = history.runs()
    if how == "failed":
        with pytest.raises(UserError, match="does not fit"):
            next(steps)
    elif how == "cancelled":
        steps.close()
    else:
        change(history, "UPDATE runs SET pid = 999999999")
        assert history.mark_interrupted() == [run.run_id]
    return run.run_id


@pytest.mark.parametrize("how", ["cancelled", "failed", "interrupted"])
def test_a_run_goes_on_from_its_last_finished_step(history: History, how: str) -> None:
    run_id = stopped(history, how)
    assert history.get(run_id).status == how
    assert [path.name for path in history.folder(run_id).iterdir()] == ["steps"]  # the half-done file is gone
    result = finish(resumed(run_id, history))
    run = history.get(run_id)
    assert (run.status, run.error) == ("done", None)
    assert run.result_json is not None
    assert RunResult.from_json(run.result_json) == result
    assert result.versions["did"] == "two three"
    assert len(history.runs()) == 1


def test_a_run_that_is_done_forgets_its_steps_but_what_people_look_at(history: History) -> None:
    run_id = finish(recorded(Slow(), history)).run_id
    journal = history.journal(run_id)
    assert journal.keys("step/") == []
    assert journal.points() == tuple(SamplesPoint(i, 0.5) for i in range(3))
    assert not history.steps_folder(run_id).exists()
    assert {row: array.tolist() for row, array in history.predictions(run_id).items()} == {"fp32": [1, 0, 2]}
    assert (history.folder(run_id) / "half.pt").is_file()


def test_a_run_that_is_resumed_is_running_by_this_process(history: History) -> None:
    run_id = history.start("slow", {})
    history.cancel(run_id)
    history.resume(run_id)
    run = history.get(run_id)
    assert (run.status, run.ended) == ("running", None)
    assert history.mark_interrupted() == []
    with pytest.raises(UserError, match="cannot be resumed: it is running"):
        history.resume(run_id)


def test_a_run_whose_process_died_can_be_resumed_at_once(history: History) -> None:
    run_id = history.start("slow", {})
    change(history, "UPDATE runs SET pid = 999999999")
    history.resume(run_id)
    assert history.get(run_id).status == "running"


def test_a_run_that_is_done_or_unknown_cannot_be_resumed(history: History) -> None:
    run_id = finish(recorded(Slow(), history)).run_id
    with pytest.raises(UserError, match=r"it is done.*Only interrupted, cancelled and failed runs can") as caught:
        history.resume(run_id)
    assert caught.value.field == "run_id"
    with pytest.raises(UserError, match="There is no run"):
        finish(resumed("nothing", history))
    assert history.get(run_id).status == "done"


@pytest.mark.parametrize(("job", "config"), [("gone", {}), ("slow", {"colour": "red"})])
def test_a_job_of_another_version_is_not_resumed(history: History, job: str, config: dict[str, str]) -> None:
    run_id = history.start(job, config)
    history.cancel(run_id)
    with pytest.raises(UserError, match="started by another version"):
        finish(resumed(run_id, history))
    assert history.get(run_id).status == "cancelled"


def test_a_run_remembers_its_job(history: History) -> None:
    run_id = history.start("slow", {"fails": "two"})
    assert job_of(history.get(run_id)) == Slow("two")


def test_a_deleted_run_leaves_nothing(history: History) -> None:
    kept, gone = (finish(recorded(Slow(), history)).run_id for _ in range(2))
    history.delete(gone)
    assert [run.run_id for run in history.runs()] == [kept]
    assert not history.folder(gone).exists()
    assert history.journal(gone).keys("") == []
    assert history.folder(kept).exists()
    assert history.journal(kept).points()
    with pytest.raises(UserError, match="There is no run"):
        history.delete(gone)


def test_a_running_run_is_not_deleted(history: History) -> None:
    run_id = history.start("slow", {})
    with pytest.raises(UserError, match=r"is running.*Cancel it first"):
        history.delete(run_id)
    assert history.get(run_id).status == "running"


def test_notes_stay_with_a_run(history: History) -> None:
    run_id = history.start("slow", {})
    assert history.get(run_id).notes == ""
    history.annotate(run_id, "Läuft gut:\nbehalten!")
    history.finish(run_id, "{}")
    assert History(history.path).get(run_id).notes == "Läuft gut:\nbehalten!"


VERSION_2 = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, job TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT,
    config_json TEXT NOT NULL, result_json TEXT, error TEXT, pid INTEGER NOT NULL, token TEXT NOT NULL,
    host TEXT NOT NULL DEFAULT '');
INSERT INTO runs VALUES ('old', 'slow', 'interrupted', '2025-01-01', '2025-01-02', '{}', NULL, NULL, 1, 'x', 'h');
PRAGMA user_version = 2;
"""


def test_a_file_of_the_second_version_gets_notes_and_steps(history: History) -> None:
    with closing(sqlite3.connect(history.path)) as database:
        database.executescript(VERSION_2)
    (run,) = history.runs()
    assert (run.run_id, run.status, run.notes) == ("old", "interrupted", "")
    assert history.predictions("old") == {}
    result = finish(resumed("old", history))
    assert result.versions["did"] == "one two three"
    history.annotate("old", "noch da")
    assert history.get("old").notes == "noch da"
    with closing(sqlite3.connect(history.path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert json.loads(database.execute("SELECT value_json FROM steps").fetchone()[0])
