"""Overrides of single layers, typed into the form of a job."""

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from qexplorer.main_window import MainWindow
from qexplorer.panels.jobs import JobsPanel
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Combo
from tests.widgets.hands import pick, type_text

Open = Callable[..., MainWindow]
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def first(made_up: AppState) -> AppState:
    return made_up


def choose(qtbot: QtBot, window: MainWindow, job: str) -> Any:
    """The form of that job, unfolded."""
    kind = window.findChild(Combo, "job")
    assert kind is not None
    pick(kind, job)
    form = window.panel(JobsPanel).form
    if not form.more.isChecked():
        qtbot.mouseClick(form.more, LEFT)
    return form


def test_overrides_that_kernels_cannot_do_are_refused_in_the_form(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    width = window.width()
    form = choose(qtbot, window, "ptq-static")
    assert "float" in form.controls["overrides"].toolTip()
    type_text(form.controls["overrides"], "head=int4")
    assert "“head” cannot be “int4” in int8 kernels. Real int8 offers float, int8" in form.refusal
    qtbot.wait(50)
    assert window.width() == width
    pick(form.controls["preset"], "none")
    type_text(form.controls["weight_spec"], "int8")
    assert form.refusal == ""
    job: Any = window.parts.store.state.job
    assert (job.preset, job.overrides) == ("none", "head=int4")


def test_another_job_takes_over_all_settings_but_those_that_it_cannot_have(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    form = choose(qtbot, window, "weight-only")
    for name, text in {"seed": "5", "weight_spec": "int4 group:32", "overrides": "head=nf4 group:64"}.items():
        type_text(form.controls[name], text)
    choose(qtbot, window, "ptq-static")
    job: Any = window.parts.store.state.job
    assert (job.name, job.seed, job.weight_spec, job.overrides) == ("ptq-static", 5, "int4 group:32", "")
