"""Three workspaces by mouse and keyboard: each keeps its layout, nothing is cut, and nothing jumps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtWidgets import QAbstractButton, QLabel, QWidget
from pytestqt.qtbot import QtBot
from window_by_hand import LEFT, Open, click_tensor, go

from qexplorer.app import first_state
from qexplorer.main_window import MainWindow
from qexplorer.panels.advice import AdvicePanel
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.layers import LayersPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.state.app_state import WORKSPACES, AppState
from qexplorer.state.layout import Layout
from qexplorer.state.session import load_session
from qexplorer.widgets.controls import Button
from qexplorer.widgets.elided import Elided
from qexplorer.widgets.plot import LEAST, Plot
from qexplorer.widgets.task_row import TaskRow
from qexplorer.window_place import MARGIN, MOST, first_place, restore_place, within
from tests.panels.in_window import control_named

CONTROL = Qt.KeyboardModifier.ControlModifier
SCREENS = [QRect(0, 0, 1280, 800), QRect(0, 0, 1366, 728), QRect(0, 0, 1440, 900), QRect(0, 0, 1920, 1040),
           QRect(1920, 0, 1920, 1080)]  # fmt: skip
"""What screens have to offer: a task bar takes 40 pixels of two, 4K at 200 % is one of 1920×1080, one is a second."""


@pytest.fixture
def first(made_up: AppState) -> AppState:
    return made_up


def seen(window: MainWindow) -> set[str]:
    return {name for name, dock in window.docks.items() if dock.isVisible() and not dock.behind}


def places(window: MainWindow) -> dict[str, QRect]:
    return {name: dock.geometry() for name, dock in window.docks.items() if name in seen(window)}


def test_each_workspace_has_panels_of_its_own_and_keeps_its_layout(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    assert seen(window) == {"weights", "distribution", "error", "scheme", "metrics", "layers"}
    here = window.workspaces.here
    here.resizeDocks([window.docks["weights"]], [window.docks["weights"].width() + 60], Qt.Orientation.Horizontal)
    qtbot.mouseClick(control_named(window.docks["error"], "Close"), LEFT)
    qtbot.wait(20)
    before = places(window)
    go(qtbot, window, "quantize")
    qtbot.waitUntil(lambda: seen(window) == {"jobs", "recipe", "result", "runs", "advice"})
    qtbot.keyClick(window, Qt.Key.Key_3, CONTROL)
    qtbot.waitUntil(lambda: seen(window) == {"learn"})
    qtbot.keyClick(window, Qt.Key.Key_1, CONTROL)
    qtbot.waitUntil(lambda: seen(window) == {"weights", "distribution", "scheme", "metrics", "layers"})
    assert places(window) == before
    assert not window.menus.actions["undo"].isEnabled()  # where one looks is no change
    window.menus.actions["reset_layout"].trigger()
    qtbot.waitUntil(lambda: "error" in seen(window))


def test_what_is_out_of_sight_is_not_computed_and_undo_leaves_the_workspace(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    window.show_panel("formats")
    qtbot.waitUntil(lambda: "formats" in window.surveys.watched)
    qtbot.keyClick(window, Qt.Key.Key_L, CONTROL)
    go(qtbot, window, "quantize")
    qtbot.waitUntil(lambda: not window.surveys.watched)
    qtbot.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert window.store.state == replace(first_state_of(window), workspace="quantize")
    go(qtbot, window, "explore")
    qtbot.waitUntil(lambda: "formats" in window.surveys.watched)


def first_state_of(window: MainWindow) -> AppState:
    return replace(window.store.state, log_counts=False)


def test_a_panel_can_be_shown_in_any_workspace_and_is_where_one_looks(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    window.workspaces.toggle("runs", shown=True)
    qtbot.waitUntil(window.panel(RunsPanel).isVisible)
    assert window.workspaces.here.name == "explore"
    go(qtbot, window, "quantize")
    qtbot.waitUntil(window.panel(RunsPanel).isVisible)
    assert window.panel(AdvicePanel).isVisible()
    go(qtbot, window, "explore")
    qtbot.waitUntil(window.panel(RunsPanel).isVisible)
    window.menus.actions["reset_layout"].trigger()
    assert not window.panel(RunsPanel).isVisible()


def test_what_leads_elsewhere_changes_the_workspace(qtbot: QtBot, open_window: Open) -> None:
    window = open_window(AppState(path="synthetic", tensor="normal"))
    qtbot.mouseClick(control_named(window, "Go to Quantize"), LEFT)
    qtbot.waitUntil(window.panel(JobsPanel).isVisible)
    window.workspaces.toggle("weights", shown=True)
    qtbot.waitUntil(window.panels["weights"].isVisible)
    qtbot.wait(20)
    click_tensor(qtbot, window, "uniform")
    assert window.workspaces.here.name == "quantize"
    qtbot.keyClick(window, Qt.Key.Key_F, CONTROL)
    assert window.workspaces.here.name == "quantize"  # it is there
    window.workspaces.toggle("layers", shown=True)
    panel = window.panel(LayersPanel)
    qtbot.waitUntil(lambda: panel.table.isVisible() and panel.table.model().rowCount() > 0, timeout=30_000)
    qtbot.wait(20)
    index = panel.table.model().index(1, 0)
    panel.table.scrollTo(index)
    at = panel.table.visualRect(index).center()
    qtbot.mouseClick(panel.table.viewport(), LEFT, pos=at)
    qtbot.mouseDClick(panel.table.viewport(), LEFT, pos=at)
    qtbot.waitUntil(lambda: window.workspaces.here.name == "explore")
    window.show_panel("runs")
    assert window.workspaces.here.name == "quantize"


def test_layers_are_a_line_that_opens_to_half_of_the_height(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    dock = window.docks["layers"]
    line = dock.findChild(Elided, "layers_line")
    assert line is not None
    qtbot.waitUntil(lambda: "dB under INT4" in line.text(), timeout=20_000)
    height = dock.height()
    assert height < 50
    qtbot.mouseClick(dock.title_bar.fold, LEFT)
    qtbot.waitUntil(lambda: abs(dock.height() - window.workspaces.here.height() / 2) < 30)
    qtbot.mouseClick(dock.title_bar.fold, LEFT)
    qtbot.waitUntil(lambda: dock.height() == height)


def cut(window: MainWindow) -> list[str]:
    """What is seen with less room than it asks Qt for."""
    found: list[str] = []
    for widget in window.findChildren(QWidget):
        if not widget.isVisible() or widget.visibleRegion().isEmpty():
            continue
        wants = widget.sizeHint().boundedTo(widget.maximumSize())
        if isinstance(widget, QLabel) and not isinstance(widget, Elided) and widget.text() and not widget.wordWrap():
            if widget.sizePolicy().horizontalPolicy().name != "Ignored" and wants.width() > widget.width() + 1:
                found.append(f"“{widget.text()}” {widget.width()} of {wants.width()}")
        elif isinstance(widget, QAbstractButton | Button) and widget.text() and wants.width() > widget.width() + 1:
            found.append(f"[{widget.text()}] {widget.width()} of {wants.width()}")
        elif isinstance(widget, Plot) and not (widget.width() >= LEAST.width() and widget.height() >= LEAST.height()):
            found.append(f"{widget.accessibleName()} {widget.width()}×{widget.height()}")
    for name, dock in window.docks.items():
        least = dock.minimumSizeHint()
        if dock.isVisible() and not dock.behind and (dock.width() < least.width() or dock.height() < least.height()):
            found.append(f"{name}: {dock.width()}×{dock.height()}, needs {least.width()}×{least.height()}")
    return found


def test_no_panel_is_cut_on_a_first_start(qtbot: QtBot, open_window: Open) -> None:
    window = open_window(first_state())
    for screen in SCREENS:
        place = first_place(screen)
        assert screen.contains(place)
        assert place.width() == min(screen.width() - 2 * MARGIN, MOST.width())
        window.resize(place.size())
        for workspace in WORKSPACES:
            go(qtbot, window, workspace)
            qtbot.wait(60)
            assert window.size() == place.size()
            assert cut(window) == [], (screen, workspace)


def test_down_to_1000_by_640_panels_give_way_and_come_back(qtbot: QtBot, open_window: Open) -> None:
    window = open_window(first_state())
    tabs = window.docks["scheme"].title_bar.tabs
    qtbot.wait(50)
    roomy = places(window)
    window.resize(1000, 640)
    qtbot.waitUntil(lambda: window.docks["error"].folded and tabs.count() == 3)
    assert [tabs.tabText(i) for i in range(3)] == ["Scheme", "Metrics", "Advice"]
    assert not window.docks["scheme"].behind
    for workspace in WORKSPACES:
        go(qtbot, window, workspace)
        qtbot.wait(60)
        assert (window.width(), window.height()) == (1000, 640)
        assert cut(window) == [], workspace
    go(qtbot, window, "explore")
    window.resize(1280, 800)
    qtbot.waitUntil(lambda: not window.docks["error"].folded and not tabs.isVisible())
    qtbot.waitUntil(lambda: places(window).keys() == roomy.keys())
    for name, place in places(window).items():
        assert abs(place.height() - roomy[name].height()) < 12, name


def test_nothing_moves_when_a_job_is_queued_more_opens_or_a_message_comes(
    qtbot: QtBot, open_window: Open, quantizing: AppState
) -> None:
    window = open_window(quantizing)
    jobs = window.panel(JobsPanel)
    qtbot.wait(50)
    before, button = places(window), jobs.run_button.geometry()
    held = window.jobs.submit

    def changes(act: Callable[[], object]) -> None:
        act()
        qtbot.wait(60)
        assert places(window) == before
        assert jobs.run_button.geometry() == button

    rows = [TaskRow(-i, f"Job {i}") for i in range(5)]
    for row in rows:
        changes(lambda row=row: jobs.queue.add(row))
    for row in rows:
        changes(lambda row=row: jobs.queue.remove(row))
    changes(lambda: qtbot.mouseClick(jobs.form.more, LEFT))
    changes(lambda: qtbot.mouseClick(jobs.form.more, LEFT))
    for banner in (jobs.banner, window.banner, window.panel(RunsPanel).banner):
        changes(lambda banner=banner: banner.show_message("Something went wrong. " * 12, "line 1\nline 2"))
        assert banner.isVisible()
        changes(banner.clear)
    assert window.jobs.submit == held


def test_a_floating_panel_has_a_frame_and_a_way_back(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    dock = window.docks["metrics"]
    qtbot.mouseClick(control_named(dock, "Float"), LEFT)
    qtbot.waitUntil(dock.isFloating)
    assert control_named(dock, "Dock Metrics").isVisible()
    picture = dock.grab().toImage()
    edge = dock.palette().dark().color()
    assert {picture.pixelColor(x, y).name() for x, y in ((0, 40), (dock.width() - 1, 40))} == {edge.name()}
    go(qtbot, window, "quantize")
    assert not dock.isVisible()  # it belongs to the other workspace
    go(qtbot, window, "explore")
    assert dock.isVisible()
    qtbot.mouseClick(control_named(dock, "Dock Metrics"), LEFT)
    assert not dock.isFloating()


def test_workspace_and_layouts_come_back_after_a_restart(qtbot: QtBot, open_window: Open, tmp_path: Path) -> None:
    window = open_window()
    qtbot.mouseClick(window.docks["error"].title_bar.fold, LEFT)
    go(qtbot, window, "quantize")
    window.workspaces.toggle("weights", shown=True)
    qtbot.mouseClick(control_named(window.docks["compare"], "Close"), LEFT)
    window.close()
    saved = load_session(tmp_path / "session.json")
    assert saved is not None
    assert saved.workspace == "quantize"
    again = open_window(saved)
    assert again.docks["weights"].isVisible()
    assert not again.workspaces.is_shown("compare")
    go(qtbot, again, "explore")
    assert again.docks["error"].folded
    assert load_session_of_before(saved).workspace == "explore"


def load_session_of_before(state: AppState) -> AppState:
    """A state as a version without workspaces wrote it."""
    return AppState.from_json({name: value for name, value in state.to_json().items() if name != "workspace"})


def test_a_window_comes_back_on_a_screen_that_is_there(open_window: Open) -> None:
    window = open_window()
    available = window.screen().availableGeometry()
    key = f"{window.screen().name()} {window.screen().geometry().width()}x{window.screen().geometry().height()}"
    restore_place(window, Layout({"gone 9x9": (5000, 5000, 700, 600)}, "gone 9x9"))
    assert available.contains(window.geometry())
    restore_place(window, Layout({key: (40, 50, 640, 400), "gone 9x9": (5000, 5000, 700, 500)}, "gone 9x9"))
    assert available.contains(window.geometry())
    assert window.geometry().topLeft() == within(QRect(40, 50, 640, 400), available).topLeft()


def test_a_file_that_is_refused_is_told_of_where_one_sees_it(
    qtbot: QtBot, open_window: Open, quantizing: AppState, tmp_path: Path
) -> None:
    window = open_window(quantizing)
    (tmp_path / "report.pt").write_bytes(b"%PDF-1.7 not a model")
    window.open_path(str(tmp_path / "report.pt"))
    qtbot.waitUntil(window.panels["weights"].banner.isVisible)
    assert window.workspaces.here.name == "explore"
