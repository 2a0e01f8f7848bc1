"""Training that goes on from an earlier run, chosen by mouse in two ways."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu
from pytestqt.qtbot import QtBot

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.runs.history import History
from qexplorer.main_window import MainWindow
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.result import ResultPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.progress import finish
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Combo
from qexplorer.widgets.job_form import JobForm
from qexplorer.widgets.offered import Offered
from tests.widgets.hands import pick, type_text

LEFT = Qt.MouseButton.LeftButton
Open = Callable[..., MainWindow]
SMALL: dict[str, Any] = {"model": "vit_digits", "limit": 24, "threads": 1, "timing": "off", "calibration": 32}
PTQ = {"weight_spec": "int3 channel:0", "repairs": "fold,mse_clip,gptq"}


@pytest.fixture
def first(quantizing: AppState) -> AppState:
    return quantizing


@pytest.fixture
def run_id(tmp_path: Path) -> str:
    """A run of PTQ in the history of the windows of this test, and one of another model and one of no PTQ."""
    history = History(tmp_path / "history.sqlite3")
    done = finish(recorded(jobs["weight-only"](**{**SMALL, **PTQ}), history))
    other = history.start("weight-only", {"weight_spec": "int4"})
    history.finish(other, done.to_json())
    finish(recorded(jobs["evaluate"](**{k: v for k, v in SMALL.items() if k != "calibration"}), history))
    return done.run_id


def form_of(window: MainWindow) -> JobForm:
    return window.panel(JobsPanel).form


def field(window: MainWindow, name: str) -> QLineEdit:
    control = form_of(window).controls[name]
    assert isinstance(control, QLineEdit)
    return control


def select(qtbot: QtBot, runs: RunsPanel, row: int) -> None:
    """Click a line of the table of runs."""
    index = runs.table.lines.index(row, 0)
    runs.table.scrollTo(index)
    qtbot.mouseClick(runs.table.viewport(), LEFT, pos=runs.table.visualRect(index).center())


def choose_start(qtbot: QtBot, window: MainWindow, place: int, n: int) -> None:
    """Take one of the `n` texts that Start from offers."""
    start = field(window, "start")
    assert isinstance(start, Offered)
    qtbot.mouseClick(start, LEFT, pos=QPoint(start.width() - 8, start.height() // 2))
    menu = next(w for w in QApplication.topLevelWidgets() if isinstance(w, QMenu) and w.isVisible())
    assert len(menu.actions()) == n
    qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(menu.actions()[place]).center())
    qtbot.waitUntil(lambda: not menu.isVisible())


def test_a_run_that_is_offered_fills_and_fixes_its_settings(qtbot: QtBot, open_window: Open, run_id: str) -> None:
    window = open_window()
    kind = window.findChild(Combo, "job")
    assert kind is not None
    pick(kind, "qat")
    type_text(field(window, "model"), "vit_digits")
    choose_start(qtbot, window, 2, 3)
    assert field(window, "start").text() == run_id
    job: Any = window.store.state.job
    assert (job.weight_spec, job.activation_spec, job.repairs) == (PTQ["weight_spec"], "float", PTQ["repairs"])
    fixed = {name for name, control in form_of(window).controls.items() if not control.isEnabled()}
    assert fixed == {"calibration"}
    assert run_id in field(window, "calibration").toolTip()
    choose_start(qtbot, window, 0, 3)
    assert field(window, "start").text() == "float"
    assert all(control.isEnabled() for control in form_of(window).controls.values())
    assert run_id not in field(window, "calibration").toolTip()


def test_a_start_that_is_not_there_is_told_beside_the_form(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    kind = window.findChild(Combo, "job")
    assert kind is not None
    pick(kind, "qat")
    type_text(field(window, "start"), "17")
    assert "There is no run “17”" in form_of(window).refusal
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    assert not window.jobs.tasks
    assert getattr(window.store.state.job, "start") == "float"  # noqa: B009  a field of this kind of job alone


def test_the_selected_run_is_trained_on(qtbot: QtBot, open_window: Open, run_id: str) -> None:
    window = open_window()
    runs = window.panel(RunsPanel)
    window.show_panel("runs")
    qtbot.waitUntil(runs.isVisible)
    assert not runs.train.isEnabled()
    keys: list[Any] = [line.key for line in runs.table.lines.shown]
    for job, enabled in (("evaluate", False), ("weight-only", True)):
        select(qtbot, runs, next(i for i, (key, _) in enumerate(keys) if job in key and (key == run_id) is enabled))
        assert runs.train.isEnabled() is enabled
    qtbot.mouseClick(runs.train, LEFT)
    chosen: Any = window.store.state.job
    found = (chosen.name, chosen.start, chosen.model, chosen.limit, chosen.weight_spec)
    assert found == ("qat", run_id, "vit_digits", 24, "int3 channel:0")
    type_text(field(window, "epochs"), "1")
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished and window.runs.idle, timeout=120_000)
    assert not window.failure
    run = window.parts.history.runs()[0]
    assert (run.job, run.status) == ("qat", "done")
    select(qtbot, runs, 0)
    remark = window.panel(ResultPanel)._remark.text()
    assert f"Trained on from the run {run_id}, whose w3a32 was at" in remark
