import dataclasses
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.cluster.board import Board, StudyProgress, StudyResult
from qexplorer.cluster.book import Book
from qexplorer.cluster.course import run_study
from qexplorer.cluster.entries import Entries
from qexplorer.cluster.place import Cluster, Tls, place_of
from qexplorer.cluster.study import Study
from qexplorer.engine.jobs.weight_only import WeightOnly
from qexplorer.engine.runs.history import History
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
    """Step until a cell's phase begins so."""
    for step in steps:
        assert isinstance(step, StudyProgress)
        if any(cell.phase.startswith(until) for cell in step.cells):
            return step
    raise AssertionError(f"no cell came to {until}")


def test_every_combination_is_a_run_and_the_last_list_changes_fastest() -> None:
    study = Study.parse(GRID)
    assert study.title == "Four bits"
    assert len(study.cells) == 16
    assert [cell.number for cell in study.cells] == list(range(1, 17))
    assert [cell.settings["seed"] for cell in study.cells[:4]] == [0, 1, 0, 1]
    assert [cell.settings["repairs"] for cell in study.cells[1:3]] == ["fold", "fold,mse_clip,gptq"]
    assert [cell.settings["model"] for cell in study.cells] == ["mobilenet_v2_digits"] * 8 + ["vit_digits"] * 8
    first = study.cells[0]
    assert first.job == WeightOnly(model="mobilenet_v2_digits", data="digits", limit=100, weight_spec="int8 channel:0")
    assert first.label == "weight-only mobilenet_v2_digits int8 channel:0 fold seed 0"


def test_keys_of_cells_stay_when_the_grid_grows_or_turns() -> None:
    keys = {cell.key for cell in Study.parse(GRID).cells}
    assert len(keys) == 16
    assert keys < {cell.key for cell in Study.parse(GRID.replace("[0, 1]", "[2, 1, 0]")).cells}
    turned = GRID.replace("seed = [0, 1]", "").replace("[grid]", "[grid]\nseed = [0, 1]")
    assert keys == {cell.key for cell in Study.parse(turned).cells}
    assert keys.isdisjoint(cell.key for cell in Study.parse(GRID.replace("limit = 100", "limit = 99")).cells)


def test_several_jobs_come_before_the_grid_and_a_study_without_one_is_a_single_run() -> None:
    study = Study.parse('job = ["evaluate", "weight-only"]\n[grid]\nseed = [3, 4]', "two.toml")
    assert study.title == "two"
    assert [(cell.settings["job"], cell.settings["seed"]) for cell in study.cells] == [
        ("evaluate", 3), ("evaluate", 4), ("weight-only", 3), ("weight-only", 4),
    ]  # fmt: skip
    (cell,) = Study.parse('job = "evaluate"').cells
    assert cell.settings == {}


@pytest.mark.parametrize(
    ("text", "said", "field"),
    [
        ("job =", "study.toml is no TOML", ""),
        ("title = 'x'", "names no job", "job"),
        ("job = 3", "names no job", "job"),
        ("job = []", "names no job", "job"),
        ("job = 'weight_only'", "no job “weight_only”.*Did you mean weight-only.*Known: ", "job"),
        ("job = ['evaluate', 'evaluate']", "one job twice", "job"),
        ("job = 'evaluate'\ntitle = 3", "title is no text", "title"),
        ("job = 'evaluate'\nseeds = [1]", "no key “seeds”. What there is: title, job, settings, grid", "seeds"),
        ("job = 'evaluate'\nsettings = 3", "settings is not a table", "settings"),
        ("job = 'evaluate'\n[settings]\nlimt = 3", "the job evaluate has no setting “limt”. Did you mean limit",
         "limt"),
        ("job = 'evaluate'\n[settings]\nweight_spec = 'int8'", "the job evaluate has no setting.*Its settings: model, ",
         "weight_spec"),
        ("job = ['weight-only', 'evaluate']\n[settings]\nrepairs = 'fold'", "the job evaluate has no", "repairs"),
        ("job = 'evaluate'\n[settings]\nlimit = '3'", "settings.limit cannot be “3”. It is a whole number", "limit"),
        ("job = 'evaluate'\n[settings]\nlimit = true", "settings.limit cannot be “True”", "limit"),
        ("job = 'evaluate'\n[settings]\nlimit = 1.5", "settings.limit cannot be “1.5”", "limit"),
        ("job = 'evaluate'\n[settings]\nmodel = 1", "settings.model cannot be “1”. It is a text", "model"),
        ("job = 'evaluate'\n[settings]\nmodel = 2026-11-21", "settings.model cannot be", "model"),
        ("job = 'evaluate'\n[settings]\nlimit = -1", "study.toml: settings.limit: .*must be 0 or more", "limit"),
        ("job = 'evaluate'\n[settings]\ntiming = 'of'", "settings.timing: .*Choose one of on, off", "timing"),
        ("job = 'weight-only'\n[grid]\nweight_spec = ['int8', 'int9']", "grid.weight_spec: .*int9", "weight_spec"),
        ("job = 'weight-only'\n[settings]\nrepairs = 'glue'", "settings.repairs: .*glue", "repairs"),
        ("job = 'evaluate'\n[grid]\nseed = 3", "grid.seed is not a list", "seed"),
        ("job = 'evaluate'\n[grid]\nseed = []", "grid.seed is empty", "seed"),
        ("job = 'evaluate'\n[grid]\nseed = [1, '2']", "grid.seed cannot be “2”", "seed"),
        ("job = 'evaluate'\n[grid]\nseed = [1, 2, 1]", "grid.seed lists “1” twice", "seed"),
        ("job = 'evaluate'\n[settings]\nseed = 1\n[grid]\nseed = [1]", r"under \[settings\] and under ", "seed"),
        (f"job = 'evaluate'\n[grid]\nseed = {list(range(101))}\nlimit = {list(range(100))}", "asks for 10,100 runs",
         "grid"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named_with_what_there_is(text: str, said: str, field: str) -> None:
    with pytest.raises(UserError, match=said) as stop:
        Study.parse(text)
    assert str(stop.value).startswith("study.toml")
    assert stop.value.field == field


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


def test_every_cell_is_a_run_in_the_history(ran: tuple[History, StudyResult, list[Progress]]) -> None:
    history, result, _ = ran
    assert [cell.status for cell in result.cells] == ["done"] * 3
    assert result.failed == 0
    for run, cell in zip(reversed(history.runs()), result.cells, strict=True):
        assert (run.run_id, run.status) == (cell.run_id, "done")
        assert json.loads(run.config_json)["seed"] == cell.settings["seed"]
        kept = json.loads(run.result_json or "")
        assert kept["rows"] == json.loads(json.dumps([dataclasses.asdict(row) for row in cell.rows]))
        assert (cell.rows[0].n, cell.seconds) == (16, kept["seconds"])
        assert set(history.predictions(run.run_id)) == {"fp32"}


def test_progress_counts_the_cells_and_shows_how_each_stands(ran: tuple[History, StudyResult, list[Progress]]) -> None:
    _, result, reports = ran
    fractions = [report.fraction or 0.0 for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any(str(report).startswith("2/3 evaluate seed 1: ") for report in reports)
    for report in reports:
        assert isinstance(report, StudyProgress)
        assert report.study_id == result.study_id
    seen = [tuple(cell.status for cell in report.cells) for report in reports if isinstance(report, StudyProgress)]
    assert ("done", "running", "waiting") in seen


def test_a_study_that_is_done_is_not_run_again(ran: tuple[History, StudyResult, list[Progress]]) -> None:
    history, result, _ = ran
    again = finish(run_study(Study.parse(SEEDS), history, book=Book.open(result.study_id, history)))
    assert again == dataclasses.replace(result, notes=())
    assert len(history.runs()) == 3


@pytest.fixture
def misfit(tmp_path: Path) -> Path:
    """A file of weights that do not fit the model, which shows only when they are loaded."""
    np.savez(tmp_path / "misfit.npz", x=np.zeros(3, np.float32))
    return tmp_path / "misfit.npz"


def test_a_cell_that_fails_does_not_stop_the_others(history: History, misfit: Path) -> None:
    study = Study.parse(ONE_FAILS.format(f"'{misfit}', ''"))
    result = finish(run_study(study, history))
    assert [cell.status for cell in result.cells] == ["failed", "done"]
    assert result.failed == 1
    failed = history.get(result.cells[0].run_id)
    assert failed.status == "failed"
    assert failed.error
    assert failed.error == result.cells[0].error
    assert result.cells[0].rows == ()


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
    assert "misfit.npz" in (history.get(result.cells[1].run_id).error or "")


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
    book = Book.open(step.study_id, history)
    assert list(book.runs.values()) == [first.run_id, second.run_id]
    assert "fp32" in history.predictions(second.run_id)  # so there is something to go on with

    result = finish(run_study(study, history, book=book))
    assert [cell.status for cell in result.cells] == ["done"] * 3
    assert [cell.run_id for cell in result.cells[:2]] == [first.run_id, second.run_id]
    assert history.get(first.run_id) == first
    assert len(history.runs()) == 3


def test_a_run_that_was_deleted_or_failed_is_run_again(history: History, misfit: Path) -> None:
    study = Study.parse(ONE_FAILS.format(f"'{misfit}', ''"))
    result = finish(run_study(study, history))
    history.delete(result.cells[1].run_id)
    again = finish(run_study(study, history, book=Book.open(result.study_id, history)))
    assert again.cells[0].run_id == result.cells[0].run_id
    assert again.cells[0].status == "failed"
    assert again.cells[1].status == "done"
    assert again.cells[1].run_id != result.cells[1].run_id


def test_a_study_that_is_running_elsewhere_is_not_taken_up(history: History) -> None:
    study = Study.parse(SEEDS)
    steps = run_study(study, history)
    step = next(step for step in steps if history.runs())
    assert isinstance(step, StudyProgress)
    with pytest.raises(UserError, match="is running already"):
        finish(run_study(study, history, book=Book.open(step.study_id, history)))
    steps.close()


def test_what_cannot_be_taken_up_is_refused(history: History) -> None:
    with pytest.raises(UserError, match=r"no study “nonsense”\. None was begun yet"):
        Book.open("nonsense", history)
    study = Study.parse(SEEDS)
    book = Book.begin(study, history)
    book.enter(study.cells[0].key, "a-run")
    for wrong in ("20200101-000000-study-000000", f"../studies/{book.study_id}"):
        with pytest.raises(UserError, match=book.study_id):
            Book.open(wrong, history)
    with pytest.raises(UserError, match="none of the runs"):
        finish(run_study(Study.parse(GRID), history, book=Book.open(book.study_id, history)))
    book.path.write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        Book.open(book.study_id, history)


@pytest.mark.parametrize(
    ("on", "tls", "said"),
    [
        ("cluster", Tls(), "no place for a study"),
        ("http://cluster:8786", Tls(), "no place for a study"),
        ("tcp://cluster", Tls(), "no place for a study"),
        ("local", Tls(ca="ca.pem"), "serve no study that runs here"),
        ("tcp://cluster:8786", Tls(ca="ca.pem"), "Write tls://cluster:8786"),
        ("tls://cluster:8786", Tls(), r"needs a CA file\. Give a PEM file\."),
        ("tls://cluster:8786", Tls(ca="/no/ca.pem"), "The CA file /no/ca.pem cannot be read"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(on: str, tls: Tls, said: str) -> None:
    with pytest.raises(UserError, match=said):
        place_of(on, tls)


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of("local") is None
    assert place_of("tcp://[::1]:8786") == Cluster("tcp://[::1]:8786")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r'pip install "qexplorer\[cluster\]"'):
        place_of("tcp://cluster:8786")


@pytest.fixture
def pems(tmp_path: Path) -> Pems:
    return partial(make_pems, tmp_path)


def test_the_file_for_tls_that_is_at_fault_is_named(pems: Pems, tmp_path: Path) -> None:
    own, other = pems("own"), pems("other")
    (tmp_path / "locked.pem").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----", encoding="ascii")
    locked, folder, none = str(tmp_path / "locked.pem"), str(tmp_path), str(tmp_path / "none.pem")
    place_of("tls://cluster:8786", own)
    for part, path, said in (
        ("ca", own.key, f"The CA file {own.key} holds no certificate in PEM"),
        ("ca", folder, "is no file"),
        ("cert", own.key, f"The certificate {own.key} holds no certificate in PEM"),
        ("cert", none, f"The certificate {none} cannot be read: No such file"),
        ("cert", "", "needs a certificate"),
        ("key", "", "needs a key"),
        ("key", other.key, f"The key {other.key} is not the key of the certificate"),
        ("key", own.cert, "is not the key of the certificate"),
        ("key", locked, "is locked with a passphrase"),  # before anything asks for it
    ):
        with pytest.raises(UserError, match=said) as stop:
            place_of("tls://cluster:8786", dataclasses.replace(own, **{part: path}))
        assert stop.value.field == f"tls_{part}"
        assert stop.value.remedy.startswith("Give a PEM file")


def test_what_a_cluster_tells_twice_or_late_is_entered_once(history: History) -> None:
    study = Study.parse(SEEDS)
    book, board = Book.begin(study, history), Board(study, "a-study")
    entries, (first, second, _) = Entries(board, history, book), [cell.key for cell in study.cells]
    entries.begin(first, "tcp://a:1", "a")
    entries.begin(first, "tcp://b:1", "b")  # heard before it was heard that the first worker is gone
    entries.step(first, "tcp://a:1", "late", 0.9)
    assert (board[first].worker, board[first].fraction) == ("tcp://b:1 (b)", 0.0)
    assert not entries.lose("tcp://a:1")
    entries.give_up(first, "It failed.")
    entries.begin(first, "tcp://b:1", "b")
    entries.answer(second, json.dumps({"worker": "tcp://b:1", "host": "b", "result": "{}"}))
    assert [(run.status, run.error) for run in reversed(history.runs())] == [
        ("failed", "It failed."),
        ("failed", board[second].error),
    ]
    entries.answer(second, json.dumps({"worker": "tcp://b:1", "host": "b", "error": "It comes late."}))
    assert "cannot be read" in board[second].error
    assert len(board.result().notes) == 1


def test_nothing_of_a_study_loads_torch_or_dask_before_it_runs() -> None:
    code = (
        "import sys; from qexplorer.cluster.course import run_study; import qexplorer.cluster.cluster\n"
        "from qexplorer.cluster.study import Study; Study.parse('job = \"weight-only\"')\n"
        "print([m for m in ('torch', 'distributed', 'PySide6') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
