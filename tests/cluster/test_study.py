import dataclasses
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.cluster.address import Address, Tls, parse_address
from qexplorer.cluster.run_study import run_study
from qexplorer.engine.jobs.weight_only import WeightOnly
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyProgress, StudyResult
from qexplorer.engine.studies.study import Study
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish
from tests.certificates import Pems, make_pems

TINY = """
[settings]
model = "vit_digits"
limit = 16
timing = "off"
threads = 1
"""
SEEDS = 'job = "evaluate"' + TINY + "[grid]\nseed = [0, 1, 2]"
REPAIRED = (
    'job = "weight-only"' + TINY + 'calibration = 16\nrepairs = "fold,mse_clip,gptq"\n'
    '[grid]\nweight_spec = ["int8", "int4 channel:0", "int3 channel:0"]'
)
ONE_FAILS = 'job = "evaluate"' + TINY + "[grid]\nweights = [{}]"
GRID = """
title = "Four bits"
job = "weight-only"
[settings]
data = "digits"
limit = 100
[grid]
model = ["mobilenet_v2_digits", "vit_digits"]
weight_spec = ["int8 channel:0", "int4 channel:0 mse"]
repairs = ["fold", "fold,mse_clip,gptq"]
seed = [0, 1]
"""


def started(steps: Steps[StudyResult], until: str) -> StudyProgress:
    """Step until a run's phase begins so."""
    for step in steps:
        assert isinstance(step, StudyProgress)
        if any(run.phase.startswith(until) for run in step.runs):
            return step
    raise AssertionError(f"no run came to {until}")


def test_every_combination_is_a_run_and_the_last_list_changes_fastest() -> None:
    study = Study.parse(GRID)
    assert study.title == "Four bits"
    assert len(study.runs) == 16
    assert [run.number for run in study.runs] == list(range(1, 17))
    assert [run.settings["seed"] for run in study.runs[:4]] == [0, 1, 0, 1]
    assert [run.settings["repairs"] for run in study.runs[1:3]] == ["fold", "fold,mse_clip,gptq"]
    assert [run.settings["model"] for run in study.runs] == ["mobilenet_v2_digits"] * 8 + ["vit_digits"] * 8
    first = study.runs[0]
    assert first.job == WeightOnly(model="mobilenet_v2_digits", data="digits", limit=100, weight_spec="int8 channel:0")
    assert first.label == "weight-only mobilenet_v2_digits int8 channel:0 fold seed 0"


def test_keys_of_runs_stay_when_the_grid_grows_or_turns() -> None:
    keys = {run.key for run in Study.parse(GRID).runs}
    assert len(keys) == 16
    assert keys < {run.key for run in Study.parse(GRID.replace("[0, 1]", "[2, 1, 0]")).runs}
    turned = GRID.replace("seed = [0, 1]", "").replace("[grid]", "[grid]\nseed = [0, 1]")
    assert keys == {run.key for run in Study.parse(turned).runs}
    assert keys.isdisjoint(run.key for run in Study.parse(GRID.replace("limit = 100", "limit = 99")).runs)


def test_several_jobs_come_before_the_grid_and_a_study_without_one_is_a_single_run() -> None:
    study = Study.parse('job = ["evaluate", "weight-only"]\n[grid]\nseed = [3, 4]', "two.toml")
    assert study.title == "two"
    assert [(run.settings["job"], run.settings["seed"]) for run in study.runs] == [
        ("evaluate", 3), ("evaluate", 4), ("weight-only", 3), ("weight-only", 4),
    ]  # fmt: skip
    (run,) = Study.parse('job = "evaluate"').runs
    assert run.settings == {}


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("job =", "", ["TOML"]),
        ("title = 'x'", "job", ["weight-only"]),
        ("job = 3", "job", ["weight-only"]),
        ("job = []", "job", ["weight-only"]),
        ("job = 'weight_only'", "job", ["“weight_only”", "mean weight-only?", "evaluate"]),
        ("job = ['evaluate', 'evaluate']", "job", ["twice"]),
        ("job = 'evaluate'\ntitle = 3", "title", ["title"]),
        ("job = 'evaluate'\ninsecure = true", "insecure", ["“insecure”", "title, job, settings, grid"]),
        ("job = 'evaluate'\nseeds = [1]", "seeds", ["“seeds”", "title, job, settings, grid"]),
        ("job = 'evaluate'\nsettings = 3", "settings", ["table"]),
        ("job = 'evaluate'\n[settings]\nlimt = 3", "limt", ["evaluate", "“limt”", "mean limit?"]),
        ("job = 'evaluate'\n[settings]\nweight_spec = 'int8'", "weight_spec", ["evaluate", "settings: model, "]),
        ("job = ['weight-only', 'evaluate']\n[settings]\nrepairs = 'fold'", "repairs", ["job evaluate"]),
        ("job = 'evaluate'\n[settings]\nlimit = '3'", "limit", ["settings.limit", "“3”", "whole number"]),
        ("job = 'evaluate'\n[settings]\nlimit = true", "limit", ["settings.limit", "“True”"]),
        ("job = 'evaluate'\n[settings]\nlimit = 1.5", "limit", ["settings.limit", "“1.5”"]),
        ("job = 'evaluate'\n[settings]\nmodel = 1", "model", ["settings.model", "“1”", "text"]),
        ("job = 'evaluate'\n[settings]\nmodel = 2026-11-21", "model", ["settings.model"]),
        ("job = 'evaluate'\n[settings]\nlimit = -1", "limit", ["settings.limit", "0 or more"]),
        ("job = 'evaluate'\n[settings]\ntiming = 'of'", "timing", ["settings.timing", "on, off"]),
        ("job = 'weight-only'\n[grid]\nweight_spec = ['int8', 'int9']", "weight_spec", ["grid.weight_spec", "int9"]),
        ("job = 'weight-only'\n[settings]\nrepairs = 'glue'", "repairs", ["settings.repairs", "glue"]),
        ("job = 'evaluate'\n[grid]\nseed = 3", "seed", ["grid.seed", "list"]),
        ("job = 'evaluate'\n[grid]\nseed = []", "seed", ["grid.seed", "empty"]),
        ("job = 'evaluate'\n[grid]\nseed = [1, '2']", "seed", ["grid.seed", "“2”"]),
        ("job = 'evaluate'\n[grid]\nseed = [1, 2, 1]", "seed", ["grid.seed", "“1”", "twice"]),
        ("job = 'evaluate'\n[settings]\nseed = 1\n[grid]\nseed = [1]", "seed", ["[settings]", "[grid]"]),
        (f"job = 'evaluate'\n[grid]\nseed = {list(range(101))}\nlimit = {list(range(100))}", "grid", ["10,100 runs"]),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_what_there_is(text: str, field: str, words: list[str]) -> None:
    with pytest.raises(UserError) as stop:
        Study.parse(text)
    said = str(stop.value)
    assert said.startswith("study.toml")
    assert stop.value.field == field
    assert [word for word in words if word not in said] == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe4"')
    (tmp_path / "large.toml").write_bytes(b"#" * 2_000_000)
    for name, said in (("none.toml", "cannot be read"), ("latin.toml", "UTF-8"), ("large.toml", "bytes")):
        with pytest.raises(UserError, match=f"{name}.* {said}"):
            Study.read(tmp_path / name)
    (tmp_path / "good.toml").write_text(SEEDS, encoding="utf-8")
    assert Study.read(tmp_path / "good.toml").title == "good"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[History, StudyResult, list[Progress]]:
    """Three tiny runs, for the tests that read them."""
    history, reports = History(tmp_path_factory.mktemp("ran") / "history.sqlite3"), []
    return history, finish(run_study(Study.parse(SEEDS), history), reports.append), reports


def test_every_run_of_a_study_is_in_the_history(ran: tuple[History, StudyResult, list[Progress]]) -> None:
    history, result, _ = ran
    assert [run.status for run in result.runs] == ["done"] * 3
    assert result.failed == 0
    for entry, run in zip(reversed(history.runs()), result.runs, strict=True):
        assert (entry.run_id, entry.status) == (run.run_id, "done")
        assert json.loads(entry.config_json)["seed"] == run.settings["seed"]
        kept = json.loads(entry.result_json or "")
        assert kept["rows"] == json.loads(json.dumps([dataclasses.asdict(row) for row in run.rows]))
        assert (run.rows[0].n, run.seconds) == (16, kept["seconds"])
        assert set(history.predictions(entry.run_id)) == {"fp32"}


def test_progress_counts_the_runs_and_has_the_status_of_each(ran: tuple[History, StudyResult, list[Progress]]) -> None:
    _, result, reports = ran
    fractions = [report.fraction or 0.0 for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any(str(report).startswith("2/3 evaluate seed 1: ") for report in reports)
    for report in reports:
        assert isinstance(report, StudyProgress)
        assert report.study_id == result.study_id
    seen = [tuple(run.status for run in report.runs) for report in reports if isinstance(report, StudyProgress)]
    assert ("done", "running", "waiting") in seen


def test_a_study_that_is_done_is_not_run_again(ran: tuple[History, StudyResult, list[Progress]]) -> None:
    history, result, _ = ran
    again = finish(run_study(Study.parse(SEEDS), history, manifest=Manifest.open(result.study_id, history)))
    assert again == dataclasses.replace(result, notes=())
    assert len(history.runs()) == 3


@pytest.fixture
def misfit(tmp_path: Path) -> Path:
    """A file of weights that do not fit the model, which shows only when they are loaded."""
    np.savez(tmp_path / "misfit.npz", x=np.zeros(3, np.float32))
    return tmp_path / "misfit.npz"


def test_a_run_that_fails_does_not_stop_the_others(history: History, misfit: Path) -> None:
    study = Study.parse(ONE_FAILS.format(f"'{misfit}', ''"))
    result = finish(run_study(study, history))
    assert [run.status for run in result.runs] == ["failed", "done"]
    assert result.failed == 1
    failed = history.get(result.runs[0].run_id)
    assert failed.status == "failed"
    assert failed.error
    assert failed.error == result.runs[0].error
    assert result.runs[0].rows == ()


def test_what_could_not_begin_stops_the_study_before_its_first_run(history: History) -> None:
    study = Study.parse(ONE_FAILS.format("'', '/no/such.safetensors'"))
    with pytest.raises(UserError, match=r"no/such\.safetensors"):
        finish(run_study(study, history))
    assert history.runs() == []
    assert not list(history.path.parent.glob("studies/*"))


def test_a_failure_before_the_run_was_entered_is_in_the_history_all_the_same(
    history: History, tmp_path: Path, misfit: Path
) -> None:
    steps = run_study(Study.parse(ONE_FAILS.format(f"'', '{misfit}'")), history)
    started(steps, "Reading")
    misfit.unlink()
    result = finish(steps)
    assert [run.status for run in history.runs()] == ["failed", "done"]
    assert "misfit.npz" in (history.get(result.runs[1].run_id).error or "")


def test_a_bug_ends_the_study(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("qexplorer.engine.jobs.model_job.rows_of", broken)
    with pytest.raises(ZeroDivisionError):
        finish(run_study(Study.parse(SEEDS), history))
    assert [run.status for run in history.runs()] == ["failed"]


def test_a_study_that_was_cancelled_goes_on_where_it_was(history: History) -> None:
    study = Study.parse(REPAIRED)
    steps = run_study(study, history)
    step = next(step for step in steps if step.phase.startswith("2/3") and "GPTQ" in step.phase)
    steps.close()
    assert isinstance(step, StudyProgress)
    second, first = history.runs()
    assert (first.status, second.status) == ("done", "cancelled")
    manifest = Manifest.open(step.study_id, history)
    assert list(manifest.run_ids.values()) == [first.run_id, second.run_id]
    assert "fp32" in history.predictions(second.run_id)  # so there is something to go on with

    result = finish(run_study(study, history, manifest=manifest))
    assert [run.status for run in result.runs] == ["done"] * 3
    assert [run.run_id for run in result.runs[:2]] == [first.run_id, second.run_id]
    assert history.get(first.run_id) == first
    assert len(history.runs()) == 3


def test_a_run_that_was_deleted_or_failed_is_run_again(history: History, misfit: Path) -> None:
    study = Study.parse(ONE_FAILS.format(f"'{misfit}', ''"))
    result = finish(run_study(study, history))
    history.delete(result.runs[1].run_id)
    again = finish(run_study(study, history, manifest=Manifest.open(result.study_id, history)))
    assert again.runs[0].run_id == result.runs[0].run_id
    assert again.runs[0].status == "failed"
    assert again.runs[1].status == "done"
    assert again.runs[1].run_id != result.runs[1].run_id


def test_a_study_that_is_running_elsewhere_is_not_taken_up(history: History) -> None:
    study = Study.parse(SEEDS)
    steps = run_study(study, history)
    step = next(step for step in steps if history.runs())
    assert isinstance(step, StudyProgress)
    with pytest.raises(UserError, match="is already running"):
        finish(run_study(study, history, manifest=Manifest.open(step.study_id, history)))
    steps.close()


def test_what_cannot_be_taken_up_is_refused(history: History) -> None:
    with pytest.raises(UserError, match=r"no study “nonsense”\. No study has been started"):
        Manifest.open("nonsense", history)
    study = Study.parse(SEEDS)
    manifest = Manifest.new(study, history)
    manifest.add(study.runs[0].key, "a-run")
    for wrong in ("20200101-000000-study-000000", f"../studies/{manifest.study_id}"):
        with pytest.raises(UserError, match=manifest.study_id):
            Manifest.open(wrong, history)
    with pytest.raises(UserError, match="none of the runs"):
        finish(run_study(Study.parse(GRID), history, manifest=Manifest.open(manifest.study_id, history)))
    manifest.path.write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        Manifest.open(manifest.study_id, history)


@pytest.mark.parametrize(
    ("on", "tls", "said"),
    [
        ("cluster", Tls(), "not an address"),
        ("http://cluster:8786", Tls(), "not an address"),
        ("tcp://cluster", Tls(), "not an address"),
        ("local", Tls(ca="ca.pem"), "needs no TLS files"),
        ("tcp://cluster:8786", Tls(ca="ca.pem"), "Write tls://cluster:8786"),
        ("tcp://cluster:8786", Tls(), r"not encrypted.* write tls://cluster:8786: `qexplorer study --help`"),
        ("tcp://192.168.0.7:8786", Tls(), r"not encrypted.* --insecure"),
        ("tcp://0.0.0.0:8786", Tls(), "not encrypted"),
        ("tcp://127.0.0.1.evil.example:8786", Tls(), "not encrypted"),
        ("tcp://127.0.0.1:99999", Tls(), "beyond 65535"),
        ("tls://cluster:8786", Tls(), r"needs a CA file\. Give a PEM file\."),
        ("tls://cluster:8786", Tls(ca="/no/ca.pem"), "The CA file /no/ca.pem cannot be read"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(on: str, tls: Tls, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_address(on, tls)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_address("local") is None
    for here in ("tcp://[::1]:8786", "tcp://127.0.0.1:8786", "tcp://localhost:8786"):
        assert parse_address(here) == Address(here)
    assert parse_address("tcp://cluster:8786", insecure=True) == Address("tcp://cluster:8786")
    assert (Address("tcp://[::1]:8786").host, Address("tcp://[::1]:8786").port) == ("::1", 8786)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r'pip install "qexplorer\[cluster\]"'):
        parse_address("tcp://127.0.0.1:8786")


@pytest.fixture
def pems(tmp_path: Path) -> Pems:
    return partial(make_pems, tmp_path)


def test_the_file_for_tls_that_is_at_fault_is_named(pems: Pems, tmp_path: Path) -> None:
    own, other = pems("own"), pems("other")
    (tmp_path / "locked.pem").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----", encoding="ascii")
    locked, folder, none = str(tmp_path / "locked.pem"), str(tmp_path), str(tmp_path / "none.pem")
    parse_address("tls://cluster:8786", own)
    for part, path, said in (
        ("ca", own.key, f"The CA file {own.key} holds no certificate in PEM format"),
        ("ca", folder, "is not a file"),
        ("cert", own.key, f"The certificate {own.key} holds no certificate in PEM format"),
        ("cert", none, f"The certificate {none} cannot be read: No such file"),
        ("cert", "", "needs a certificate"),
        ("key", "", "needs a key"),
        ("key", other.key, f"The key {other.key} does not belong to the certificate"),
        ("key", own.cert, "does not belong to the certificate"),
        ("key", locked, "is locked with a passphrase"),  # before anything asks for it
    ):
        with pytest.raises(UserError, match=said) as stop:
            parse_address("tls://cluster:8786", dataclasses.replace(own, **{part: path}))
        assert stop.value.field == f"tls_{part}"
        assert stop.value.remedy.startswith("Give a PEM file")


def test_nothing_of_a_study_loads_torch_or_dask_before_it_runs() -> None:
    code = (
        "import sys; from qexplorer.cluster.run_study import run_study; import qexplorer.cluster.client\n"
        "from qexplorer.engine.studies.study import Study; Study.parse('job = \"weight-only\"')\n"
        "print([m for m in ('torch', 'distributed', 'PySide6') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
