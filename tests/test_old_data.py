"""Sessions, runs and studies that version 0.1 has left behind open as they were.

`data/version_0_1` was written by that version: a session for every job, a history with a run of every job and one that
was interrupted, and a study. `shown.json` and `runs.csv` are what it said of them.
"""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.engine.advice import advise_on
from qexplorer.engine.jobs import jobs, present
from qexplorer.engine.jobs.record import job_of
from qexplorer.engine.jobs.report import export
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.quant import QuantSpec
from qexplorer.quant.analysis import size_bits
from qexplorer.quant.layer_kinds import TRANSPOSED
from qexplorer.quant.recipe import Recipe
from qexplorer.settings import values_of
from qexplorer.state.session import load_session, save_session

OLD = Path(__file__).parent / "data" / "version_0_1"
SHOWN: dict[str, Any] = json.loads((OLD / "shown.json").read_text(encoding="utf-8"))
DONE = sorted(run_id for run_id, run in SHOWN.items() if run["status"] == "done")
SESSIONS = sorted(path.stem for path in (OLD / "sessions").glob("*.json"))


@pytest.fixture
def history(tmp_path: Path) -> History:
    """The old history, with the study, in a folder of its own."""
    shutil.copy(OLD / "history.sqlite3", tmp_path / "history.sqlite3")
    (tmp_path / "studies").mkdir()
    study = json.loads((OLD / "study.json").read_text(encoding="utf-8"))["study_id"]
    shutil.copy(OLD / "study.json", tmp_path / "studies" / f"{study}.json")
    return History(tmp_path / "history.sqlite3")


def result_of(history: History, run_id: str) -> RunResult:
    return RunResult.from_json(history.get(run_id).result_json or "")


def test_every_job_has_left_a_session_and_a_run() -> None:
    assert set(SESSIONS) == {job.name for job in jobs}
    assert {run["job"] for run in SHOWN.values()} == {job.name for job in jobs}


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_opens_and_is_kept_as_it_was(name: str, tmp_path: Path) -> None:
    state = load_session(OLD / "sessions" / f"{name}.json")
    assert state is not None
    assert state.job.name == name
    save_session(tmp_path / "again.json", state)
    before, after = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (OLD / "sessions" / f"{name}.json", tmp_path / "again.json")
    )
    for dropped in jobs[name].dropped:
        del before["state"]["job"][dropped]
    before["version"] = 3
    own, *pinned = (as_now(spec) for spec in (before["state"].pop("spec"), *before["state"].pop("compared")))
    job = before["state"]["job"]
    recipe = Recipe.parse(own.short, *(job.get(name, "") for name in ("activation_spec", "overrides", "repairs")))
    before["state"] |= {"recipe": recipe.to_json(), "compared": [Recipe.of_weights(each).to_json() for each in pinned]}
    before["state"] |= {"subjects": [], "workspace": "explore"}
    if job.get("model") == "mobilenet_v2_digits" and not job["weights"]:
        job["model"] = ""  # jobs are on the open file unless something else was chosen
    assert after == before


def as_now(spec: dict[str, str]) -> QuantSpec:
    """A spec of the old session, with the words that mean today what its own meant."""
    granularity = spec["granularity"].replace("group:", "last_axis:").replace("block:16x32", "block:16x32x0")
    return QuantSpec.from_json({**spec, "granularity": granularity})


@pytest.mark.parametrize("written", ["channel", "channel:0", "channel:1", "group:32", "tensor", "block:3x16"])
def test_a_granularity_of_an_old_session_divides_a_tensor_as_it_did(written: str, tmp_path: Path) -> None:
    document = json.loads((OLD / "sessions" / "cast.json").read_text(encoding="utf-8"))
    document["state"] |= {"spec": {"format": "int4", "granularity": written}, "compared": []}
    (tmp_path / "old.json").write_text(json.dumps(document), encoding="utf-8")
    state = load_session(tmp_path / "old.json")
    assert state is not None
    up = np.arange(3 * 64 * 9, dtype=np.float32).reshape(3, 64, 3, 3)
    lines = {"channel": up.reshape(3, -1), "channel:0": up.reshape(3, -1), "group:32": up.reshape(-1, 3),
             "channel:1": up.swapaxes(0, 1).reshape(64, -1), "tensor": up.reshape(1, -1),
             "block:3x16": up.reshape(3, 36, 16).swapaxes(0, 1).reshape(36, 48)}  # fmt: skip
    np.testing.assert_array_equal(state.recipe.every.weights.for_kind(TRANSPOSED).granularity.rows(up), lines[written])


@pytest.mark.parametrize("run_id", DONE)
def test_the_layers_of_an_old_run_have_the_bits_that_their_specs_mean_now(history: History, run_id: str) -> None:
    for layer in result_of(history, run_id).layers:
        if SHOWN[run_id]["job"] == "weight-only" and layer.bits != 32:
            spec = QuantSpec.parse(layer.spec.partition(" / ")[0])
            groups = spec.granularity.tiling(layer.shape).groups
            assert size_bits(spec, math.prod(layer.shape), groups) / math.prod(layer.shape) == pytest.approx(layer.bits)


@pytest.mark.parametrize("run_id", SHOWN)
def test_a_run_has_the_settings_that_it_had(history: History, run_id: str) -> None:
    job, before = job_of(history.get(run_id)), SHOWN[run_id]["settings"]
    assert values_of(job) == {name: value for name, value in before.items() if name not in job.dropped}


def test_the_runs_are_listed_as_they_ended(history: History) -> None:
    assert {run.run_id: run.status for run in history.runs()} == {k: run["status"] for k, run in SHOWN.items()}


@pytest.mark.parametrize("run_id", DONE)
def test_a_result_shows_what_it_showed(history: History, run_id: str) -> None:
    result, before = result_of(history, run_id), SHOWN[run_id]
    shown = present(result)
    for row, rankings in before["rankings"].items():
        assert [
            [r.name, r.unit, r.low_is_worst, len(r.bars), r.bars[0].key, total([bar.value for bar in r.bars])]
            for r in shown.rankings_of(row)
        ] == rankings
    curves = [[c.title, c.unit, len(c.xs), c.ys[-1]] for c in shown.curves.curves]
    assert curves == [[*names, pytest.approx(last)] for *names, last in before["curves"]]
    front = [len(shown.front), shown.chosen, shown.front[shown.chosen].overrides] if shown.front else None
    assert front == before["front"]


def total(values: list[float]) -> Any:
    return pytest.approx(sum(value for value in values if math.isfinite(value)), abs=1e-6)


@pytest.mark.parametrize("run_id", DONE)
def test_advice_on_a_result_is_what_it_was(history: History, run_id: str) -> None:
    advice = [[each.job, dict(each.settings)] for each in advise_on(result_of(history, run_id))]
    assert advice == SHOWN[run_id]["advice"]


@pytest.mark.parametrize("run_id", DONE)
def test_a_result_that_is_written_again_says_the_same(history: History, run_id: str) -> None:
    result = result_of(history, run_id)
    assert RunResult.from_json(result.to_json()) == result


def test_the_table_of_all_runs_is_the_same(history: History, tmp_path: Path) -> None:
    assert export(history.runs(), tmp_path / "runs.csv") == ""
    before, after = table(OLD / "runs.csv"), table(tmp_path / "runs.csv")
    for row in before:
        if row["job"] == "parity":  # that version wrote the observers of the preset here, as a Python dictionary
            row["preset"] = "x86"
    assert after == before


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_a_study_is_gone_on_with_where_it_was(history: History) -> None:
    study_id = json.loads((OLD / "study.json").read_text(encoding="utf-8"))["study_id"]
    manifest = Manifest.open(study_id, history)
    assert {history.get(run_id).status for run_id in manifest.run_ids.values()} == {"done"}


def test_what_an_interrupted_run_has_done_is_still_there(history: History) -> None:
    interrupted = next(run for run in history.runs() if run.status == "interrupted")
    assert history.steps_done()[interrupted.run_id] > 0
