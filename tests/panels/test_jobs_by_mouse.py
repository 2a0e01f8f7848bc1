"""Each job chosen, set and started by mouse and keyboard, and its result seen."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog, QInputDialog, QLineEdit, QMenu, QMessageBox
from pytestqt.qtbot import QtBot

from qexplorer.engine.jobs import jobs
from qexplorer.engine.runs.history import History
from qexplorer.main_window import MainWindow
from qexplorer.panels.advice import AdvicePanel
from qexplorer.panels.compare import ComparePanel
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.result import ResultPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.panels.study import StudyPanel
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Button, Combo, Field
from qexplorer.widgets.curves_plot import CurvesPlot
from qexplorer.widgets.front_plot import FrontPlot
from qexplorer.widgets.job_form import JobForm
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.ranked_bars import RankedBars
from qexplorer.widgets.segmented import Segmented
from tests.panels.in_window import select_lines, show, write_recipe
from tests.widgets.hands import pick, type_text

LEFT = Qt.MouseButton.LeftButton
Open = Callable[..., MainWindow]
RECIPE = ("weight_spec", "activation_spec", "overrides", "repairs")
SETTINGS = {
    "ptq-static": {"weight_spec": "int4 channel:0", "activation_spec": "uint8 affine"},
    "weight-only": {"weight_spec": "int3 channel:0", "repairs": "fold,mse_clip,gptq"},
    "qat": {"epochs": "1"},
    "convergence": {"activation_spec": "uint8 affine"},
    "bit-budget": {"checked": "1", "widths": "2,4,8"},
    "repair": {"layer": "head"},
    "parity": {"compared": "8"},
}
"""Beside `SMALL`, what makes runs short, or worth looking at."""
SMALL = {"model": "vit_digits", "limit": "24", "threads": "1", "calibration": "32"}
"""The settings of every run here, as far as its job has them."""
SHOWN = {"qat": CurvesPlot, "convergence": CurvesPlot, "bit-budget": FrontPlot, "evaluate": Placeholder}


@pytest.fixture
def first(quantizing: AppState) -> AppState:
    return quantizing


def form_of(window: MainWindow) -> JobForm:
    return window.panel(JobsPanel).form


def set_job(qtbot: QtBot, window: MainWindow, name: str, settings: dict[str, str]) -> None:
    """Choose a job and type its settings, those that are folded away too."""
    kind = window.findChild(Combo, "job")
    assert kind is not None
    pick(kind, name)
    form = form_of(window)
    more = form.more
    if not more.isChecked():
        qtbot.mouseClick(more, LEFT)
    recipe = {field: text for field, text in settings.items() if field in RECIPE}
    write_recipe(qtbot, window, **recipe)
    small = {field: text for field, text in SMALL.items() if field in form.controls}
    for field, text in {**small, **settings}.items():
        if field in recipe:
            continue
        control = form.controls[field]
        assert isinstance(control, QLineEdit), field
        type_text(control, text)
    timing = form.controls["timing"]
    assert isinstance(timing, Combo)
    pick(timing, "off")
    assert form.refusal == ""


def run_job(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished and window.settled, timeout=120_000)
    assert not window.failure


def note(qtbot: QtBot, panel: RunsPanel, text: str) -> None:
    """Write a note about the selected run."""
    qtbot.mouseClick(panel.note, LEFT)
    dialog = panel.findChildren(QInputDialog)[-1]
    dialog.setTextValue(text)
    dialog.accept()


@pytest.mark.parametrize("name", [job.name for job in jobs])
def test_a_job_is_run_by_mouse_and_its_result_is_seen(qtbot: QtBot, open_window: Open, name: str) -> None:
    window = open_window()
    set_job(qtbot, window, name, SETTINGS.get(name, {}))
    run_job(qtbot, window)
    (run,) = window.parts.history.runs()
    assert (run.job, run.status) == (name, "done")
    table = window.panel(RunsPanel).table
    assert len(table.lines.shown) == len(json.loads(run.result_json or "{}")["rows"])
    show(qtbot, window, "result")
    result = window.panel(ResultPanel).findChild(SHOWN.get(name, RankedBars))
    assert result is not None
    assert result.isVisible()


def test_the_bits_of_a_budget_are_taken_over_by_mouse(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    set_job(qtbot, window, "bit-budget", SETTINGS["bit-budget"])
    width = window.docks["weights"].width()
    run_job(qtbot, window)
    show(qtbot, window, "result")
    assert window.docks["weights"].width() == width  # the button takes no room from other panels
    panel = window.panel(ResultPanel)
    slider = panel.front.slider
    slider.setFocus()
    QTest.keyClick(slider, Qt.Key.Key_End)
    use = panel.window().findChild(Button, "use_bits")
    assert use is not None
    qtbot.mouseClick(use, LEFT)
    job = window.store.state.job
    assert job.name == "weight-only"
    widths = [rule.spec.weights.format.name for rule in window.store.state.recipe.rules if rule.spec.weights]
    assert widths.count("int8") >= 17
    window.store.undo()
    assert (window.store.state.job.name, window.store.state.recipe.rules) == ("bit-budget", ())


def test_the_window_does_not_wait_for_the_history_when_a_run_ends(
    qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_window()
    set_job(qtbot, window, "evaluate", {})
    for panel in ("advice", "compare"):
        show(qtbot, window, panel)
    opened: list[threading.Thread] = []
    plain = History.open

    def watched(history: History) -> Any:
        opened.append(threading.current_thread())
        return plain(history)

    monkeypatch.setattr(History, "open", watched)
    run_job(qtbot, window)
    show(qtbot, window, "result")
    select_lines(window, 0)
    window.preview.analyzed.emit(window.preview.analysis)
    assert window.parts.runs.result is not None
    assert opened
    assert threading.main_thread() not in opened


def test_two_runs_are_compared_sample_by_sample(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    for spec in ("int2 channel:0", "int2"):
        set_job(qtbot, window, "weight-only", {"weight_spec": spec, "repairs": "fold"})
        run_job(qtbot, window)
    show(qtbot, window, "compare")
    panel = window.panel(ComparePanel)
    assert panel.plot.isVisible()
    select_lines(window, 1, 3)
    pair = panel.window().findChildren(Segmented)
    which = next(each for each in pair if each.accessibleName() == "What is compared")
    qtbot.mouseClick(which, LEFT, pos=which.rect_of("pair").center().toPoint())
    qtbot.waitUntil(panel.test.isVisible)
    assert "McNemar" in panel.test.text
    changed = window.findChild(Button, "show_images")
    assert changed is not None
    qtbot.mouseClick(changed, LEFT)
    qtbot.waitUntil(lambda: "changed" in panel.flips.text, timeout=20_000)


def test_a_note_is_kept_and_a_run_deleted(qtbot: QtBot, open_window: Open, tmp_path: Path) -> None:
    window = open_window()
    set_job(qtbot, window, "evaluate", {})
    run_job(qtbot, window)
    select_lines(window, 0)
    panel = window.panel(RunsPanel)
    note(qtbot, panel, "the one that ships")
    history = window.parts.history
    qtbot.waitUntil(lambda: [run.notes for run in history.runs()] == ["the one that ships"])
    qtbot.mouseClick(panel.export, LEFT)
    file = panel.findChild(QFileDialog)
    assert file is not None
    file.setDirectory(str(tmp_path))
    file.filterSelected.emit("Table (*.csv)")
    file.accept()
    qtbot.waitUntil((tmp_path / "runs.csv").is_file)
    assert "the one that ships" in (tmp_path / "runs.csv").read_text()
    select_lines(window, 0)
    qtbot.mouseClick(panel.delete, LEFT)
    question = panel.findChild(QMessageBox)
    assert question is not None
    qtbot.mouseClick(next(b for b in question.buttons() if b.text() == "Delete"), LEFT)
    qtbot.waitUntil(lambda: history.runs() == [])


def test_what_is_done_with_a_run_holds_up_nothing_and_says_why_it_cannot_be_done(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    window = open_window()
    set_job(qtbot, window, "evaluate", {})
    run_job(qtbot, window)
    select_lines(window, 0)
    panel = window.panel(RunsPanel)
    history = window.parts.history
    with closing(sqlite3.connect(history.path)) as other:
        other.execute("BEGIN IMMEDIATE")  # another program writes, and takes its time
        note(qtbot, panel, "kept")
        qtbot.wait(300)  # the window's thread goes on
        assert [run.notes for run in history.runs()] == [""]
    qtbot.waitUntil(lambda: [run.notes for run in history.runs()] == ["kept"])
    panel.write(str(tmp_path / "runs.pdf"))
    qtbot.waitUntil(lambda: "neither .csv nor .html" in panel.banner.text)
    select_lines(window, 0)
    note(qtbot, panel, "kept to the end")
    window.close()
    assert [run.notes for run in history.runs()] == ["kept to the end"]


def test_a_cancelled_run_is_resumed_by_mouse(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    set_job(qtbot, window, "qat", {"epochs": "3"})
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    history = window.parts.history

    def has_an_epoch() -> bool:
        return any(history.journal(run.run_id).points() for run in history.runs())

    qtbot.waitUntil(has_an_epoch, timeout=90_000)
    show(qtbot, window, "result")
    qtbot.waitUntil(window.panel(ResultPanel).curves.isVisible, timeout=10_000)
    window.cancel_job()
    runs = window.panel(RunsPanel)
    qtbot.waitUntil(lambda: not window.jobs.unfinished and runs.resume.isEnabled(), timeout=60_000)
    qtbot.mouseClick(runs.resume, LEFT)
    menu = next(w for w in QApplication.topLevelWidgets() if isinstance(w, QMenu) and w.isVisible())
    qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(menu.actions()[0]).center())
    qtbot.waitUntil(lambda: bool(window.jobs.unfinished), timeout=5_000)
    qtbot.waitUntil(lambda: not window.jobs.unfinished, timeout=120_000)
    (run,) = history.runs()
    assert run.status == "done"


def test_ones_own_code_is_run_only_after_a_yes(qtbot: QtBot, open_window: Open, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    own = tmp_path / "mine.py"
    own.write_text(
        f"import pathlib, torch\npathlib.Path({str(ran)!r}).touch()\n"
        "def make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10))\n"
    )
    window = open_window()
    set_job(qtbot, window, "evaluate", {"model": f"{own}:make"})
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    box = window.panel(JobsPanel).findChild(QMessageBox)
    assert box is not None
    assert "everything that you can do" in box.informativeText()
    assert not ran.exists()
    trust = box.findChild(QAbstractButton, "trust")
    assert trust is not None
    qtbot.mouseClick(trust, LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished and bool(window.parts.history.runs()), timeout=60_000)
    assert ran.exists()
    assert window.parts.history.runs()[0].status == "done"


def test_a_setting_that_cannot_be_is_told_beside_the_form(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    kind = window.findChild(Combo, "job")
    assert kind is not None
    pick(kind, "bit-budget")
    form = form_of(window)
    field = form.controls["target"]
    assert isinstance(field, QLineEdit)
    type_text(field, "many bananas")
    assert "banana" in form.refusal
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    assert not window.jobs.tasks


def test_advice_is_applied_with_one_click(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    set_job(qtbot, window, "weight-only", {"weight_spec": "int2", "repairs": "fold"})
    run_job(qtbot, window)
    show(qtbot, window, "advice")
    panel = window.panel(AdvicePanel)
    repair = next(b for b in panel.list.buttons if b.text().startswith("Repair"))
    qtbot.mouseClick(repair, LEFT)
    chosen = window.store.state.recipe.repairs
    assert "gptq" in chosen or "adaround" in chosen


def test_a_study_is_run_by_mouse(qtbot: QtBot, open_window: Open, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'title = "Bits"\njob = "weight-only"\n[settings]\nmodel = "vit_digits"\nlimit = 16\ntiming = "off"\n'
        'threads = 1\n[grid]\nweight_spec = ["int8 channel:0", "int2 channel:0"]\n'
    )
    window = open_window()
    show(qtbot, window, "study")
    panel = window.panel(StudyPanel)
    type_text(panel.findChild(Field, "study_file"), str(path))
    qtbot.mouseClick(panel.run_button, LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished, timeout=60_000)
    assert not window.failure
    assert [line.status for line in panel.table.lines.shown] == ["done", "done"]
    assert "2 runs done" in panel.remark
    assert len(window.parts.history.runs()) == 2
    type_text(panel.findChild(Field, "study_file"), str(tmp_path / "none.toml"))
    qtbot.mouseClick(panel.run_button, LEFT)
    assert "none.toml" in panel.banner.text
    panel.banner.clear()
