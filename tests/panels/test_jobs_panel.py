"""What the Jobs panel says, marks and takes room for; the jobs themselves do nothing here."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from qexplorer.engine.jobs import jobs
from qexplorer.errors import UserError
from qexplorer.main_window import MainWindow
from qexplorer.panels.jobs import JobsPanel
from qexplorer.progress import Progress
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Combo, Field
from qexplorer.widgets.tall_area import TallArea
from tests.widgets.hands import pick, type_text

LEFT = Qt.MouseButton.LeftButton
ESCAPE = Qt.Key.Key_Escape
Open = Callable[..., MainWindow]
STUDY = "A study is running: see Study."
LONG = "Evaluate failed. The model does not take images of [3, 64, 64]: its forward raised RuntimeError. " * 2


@pytest.fixture
def first(quantizing: AppState) -> AppState:
    return quantizing


def endless(*_: object) -> Iterator[Progress]:
    while True:
        yield Progress("Turning")


def faulty(*_: object) -> Iterator[Progress]:
    yield Progress("Reading")
    raise UserError("The model does not take such images.", "Choose other data.", field="data")


def choose(window: MainWindow, name: str) -> None:
    kind = window.findChild(Combo, "job")
    assert kind is not None
    pick(kind, name)
    QTest.qWait(20)


def control(window: MainWindow, name: str) -> Any:
    """The control of a setting in the form that is seen."""
    return next(each for each in window.panel(JobsPanel).findChildren(QWidget, f"job_{name}") if each.isVisible())


def unfold(window: MainWindow) -> None:
    panel = window.panel(JobsPanel)
    more = next(b for b in panel.findChildren(QWidget) if b.accessibleName() == "Show the job's other settings"
                and b.isVisible())  # fmt: skip
    QTest.mouseClick(more, LEFT)
    QTest.qWait(100)


def said(window: MainWindow) -> list[str]:
    return [label.text() for label in window.panel(JobsPanel).findChildren(QLabel) if label.isVisible()]


def run(window: MainWindow) -> None:
    QTest.mouseClick(window.panel(JobsPanel).run_button, LEFT)


@pytest.fixture
def on_evaluate(open_window: Open, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a window on Evaluate, which does the work that is given."""

    def opened(work: Callable[..., Iterator[Progress]]) -> MainWindow:
        monkeypatch.setattr("qexplorer.panels.jobs.recorded", work)
        window = open_window()
        choose(window, "evaluate")
        return window

    return opened


def test_a_study_that_runs_is_said_and_escape_in_jobs_does_not_cancel_it(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    assert any(text.startswith("Nothing is running.") for text in said(window))
    task = window.jobs.submit(endless(), "Study Bits")
    qtbot.waitUntil(lambda: any(text.startswith(STUDY) for text in said(window)))
    choose(window, "evaluate")
    assert any(text.startswith(f"{STUDY} Run (F5): Size, accuracy") for text in said(window))
    qtbot.keyClick(window.panel(JobsPanel), ESCAPE)
    assert not task.cancelling
    window.jobs.cancel(task)
    qtbot.waitUntil(lambda: any(text.startswith("Nothing is running.") for text in said(window)))


def test_escape_takes_typing_back_before_it_cancels_the_job(qtbot: QtBot, on_evaluate: Open) -> None:
    window = on_evaluate(endless)
    run(window)
    qtbot.waitUntil(lambda: window.jobs.current is not None)
    (task,) = window.jobs.tasks
    model = control(window, "model")
    before = model.text()
    model.setFocus()
    qtbot.keyClicks(model, "x")
    assert model.text() != before
    qtbot.keyClick(model, ESCAPE)
    assert (model.text(), task.cancelling) == (before, False)
    qtbot.keyClick(model, ESCAPE)
    assert task.cancelling


def test_the_setting_that_a_run_fails_for_is_marked(qtbot: QtBot, on_evaluate: Open) -> None:
    window = on_evaluate(faulty)
    for changed in (False, True):
        run(window)
        assert not control(window, "data").wrong
        if changed:  # before the run has failed
            type_text(control(window, "data"), "mnist")
        qtbot.waitUntil(lambda: bool(window.panel(JobsPanel).banner.text))
        assert control(window, "data").wrong is not changed
        assert control(window, "model").wrong is False


@pytest.mark.parametrize(
    ("job", "field", "text"),
    [
        ("bit-budget", "widths", "two"),
        ("bit-budget", "target", "many"),
        ("evaluate", "model", "no_such_model"),
        ("evaluate", "data", "/no/such/folder"),
        ("evaluate", "weights", "/no/such/file.safetensors"),
    ],
)
def test_the_field_that_is_wrong_is_marked(open_window: Open, job: str, field: str, text: str) -> None:
    window = open_window()
    choose(window, job)
    if field == "widths":
        unfold(window)
    type_text(control(window, field), text)
    run(window)
    assert not window.jobs.tasks
    fields = [each for each in window.panel(JobsPanel).findChildren(Field) if each.isVisible()]
    assert [each.objectName() for each in fields if each.wrong] == [f"job_{field}"]
    assert control(window, field).toolTip() in said(window)


def test_no_job_and_no_message_makes_the_window_larger_or_crushes_a_field(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    panel, height = window.panel(JobsPanel), control(window, "model").height()
    for job in jobs:
        choose(window, job.name)
        assert (window.width(), window.height()) == (1280, 800)
    panel.banner.show_message(LONG)
    for name in ("evaluate", "qat"):
        choose(window, name)
        unfold(window)
        assert (window.width(), window.height()) == (1280, 800)
        for field in ("model", "weights", "limit"):
            assert control(window, field).height() == height
        assert panel.run_button.height() == panel.run_button.sizeHint().height()


def test_what_is_behind_more_scrolls_in_itself_and_moves_nothing_else(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    choose(window, "qat")
    QTest.qWait(50)
    before = {name: dock.geometry() for name, dock in window.docks.items()}
    unfold(window)
    QTest.qWait(50)
    assert {name: dock.geometry() for name, dock in window.docks.items()} == before
    form = window.panel(JobsPanel).form
    last = control(window, "threads")
    area = form.findChild(TallArea)
    area.ensureWidgetVisible(last)
    assert area.viewport().rect().contains(last.mapTo(area.viewport(), last.rect().center()))


def test_the_recipe_that_a_job_will_use_is_told(open_window: Open) -> None:
    window = open_window()
    choose(window, "weight-only")
    window.store.update(recipe=Recipe.parse("int4 channel", "", "head=int8; blocks.0.*=int4"))
    assert any("Recipe: INT4 symmetric per channel · 2 rules." in text for text in said(window))


def test_the_names_of_all_jobs_and_choices_can_be_read(open_window: Open) -> None:
    window = open_window()
    kind = window.findChild(Combo, "job")
    assert kind is not None
    widths = [kind.fontMetrics().horizontalAdvance(kind.itemText(i)) for i in range(kind.count())]
    assert max(widths) <= kind.width() - 30
    choose(window, "qat")
    unfold(window)
    names = {name: control(window, name).currentText() for name in ("method", "teacher")}
    assert names == {"method": "Straight-through", "teacher": "Float model"}
    assert [control(window, name).placeholderText() for name in ("limit", "threads")] == ["all", "automatic"]
    choose(window, "sensitivity")
    modes = control(window, "modes")
    assert [modes.itemText(i) for i in range(modes.count())] == ["Each alone", "All but one", "Both"]


def test_quitting_while_a_job_runs_keeps_it_running_by_default(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    task = window.jobs.submit(endless(), "Evaluate")
    qtbot.waitUntil(lambda: window.jobs.current is not None)
    assert not window.close()
    box = window.findChild(QMessageBox)
    assert box is not None
    assert box.defaultButton().text() == "Keep running"
    assert "Resume in Runs goes on" in box.informativeText()
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert not task.cancelling
    assert "Resume in Runs" in window.menus.actions["cancel"].statusTip()


def test_a_job_that_is_cancelled_while_it_waits_does_not_end_the_look_at_the_one_that_runs(
    qtbot: QtBot, on_evaluate: Open
) -> None:
    window = on_evaluate(endless)
    run(window)
    run(window)
    qtbot.waitUntil(lambda: len(window.jobs.tasks) == 2 and bool(window.parts.runs.running))
    first, second = window.jobs.tasks
    window.jobs.cancel(second)
    qtbot.waitUntil(lambda: window.jobs.unfinished == [first])
    assert window.parts.runs.running == first.about
