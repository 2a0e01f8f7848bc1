"""The panels Formats and Observers in the window, by mouse and keyboard."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QTabBar, QWidget

from qexplorer.main_window import MainWindow
from qexplorer.panels.distribution import DistributionPanel
from qexplorer.panels.formats import FormatsPanel
from qexplorer.panels.observers import ObserversPanel
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.survey import Refused
from qexplorer.state.app_state import AppState
from qexplorer.state.surveys import KINDS, Kind
from qexplorer.widgets.controls import Button
from qexplorer.widgets.docks import FlatTabs
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.segmented import Segmented
from tests.panels.in_window import control_named

LEFT = Qt.MouseButton.LeftButton
Open = Callable[..., MainWindow]


@pytest.fixture
def open_window(open_window: Open, file: str) -> Open:
    def opened(tensor: str = "first", **spec: str) -> MainWindow:
        state = AppState(
            path=file, tensor=tensor, recipe=Recipe.of_weights(QuantSpec.from_json({"format": "int4", **spec}))
        )
        return open_window(state if tensor else AppState())

    return opened


def tabs_of(window: MainWindow, name: str) -> FlatTabs:
    return window.docks[name].title_bar.tabs


def click_tab(qtbot: Any, window: MainWindow, title: str) -> None:
    """Click the tab of that title, in the title of whatever is in front."""
    front = next(name for name in ("distribution", "formats", "observers") if not window.docks[name].behind)
    tabs = tabs_of(window, front)
    qtbot.waitUntil(lambda: tabs.isVisible() and tabs.isEnabled() and tabs.width() >= tabs.sizeHint().width())
    at = [tabs.tabText(i) for i in range(tabs.count())].index(title)
    qtbot.mouseClick(tabs, LEFT, pos=tabs.tabRect(at).center())
    qtbot.waitUntil(lambda: not window.docks[title.lower()].behind)


def formats_panel(qtbot: Any, window: MainWindow) -> FormatsPanel:
    click_tab(qtbot, window, "Formats")
    panel = window.panel(FormatsPanel)
    qtbot.waitUntil(lambda: bool(panel.chart.points) and panel.head.badge.text() == "exact", timeout=30_000)
    return panel


def observers_panel(qtbot: Any, window: MainWindow) -> ObserversPanel:
    click_tab(qtbot, window, "Observers")
    panel = window.panel(ObserversPanel)
    qtbot.waitUntil(lambda: bool(panel.table.lines.shown), timeout=30_000)
    return panel


def noted(begun: list[str], kind: Kind) -> Callable[..., Any]:
    """How surveys of that kind are made; those that are begun are noted by their titles."""

    def make(*args: Any, **options: Any) -> Any:
        begun.append(kind.title)
        return kind.make(*args, **options)

    return make


def empty(panel: QWidget) -> Placeholder:
    """What stands in a panel in place of a result."""
    return panel.findChild(Placeholder)


def test_the_tabs_stand_in_the_title_and_what_lies_behind_computes_nothing(
    qtbot: Any, open_window: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    for name, kind in KINDS.items():
        monkeypatch.setitem(KINDS, name, replace(kind, make=noted(begun, kind)))
    window = open_window()
    assert [tabs_of(window, "distribution").tabText(i) for i in range(3)] == ["Distribution", "Formats", "Observers"]
    assert not window.docks["distribution"].behind
    window.store.update(tensor="second")
    qtbot.waitUntil(lambda: window.settled)
    assert begun == []
    formats_panel(qtbot, window)
    assert begun == ["Comparing formats"]
    observers_panel(qtbot, window)
    assert begun == ["Comparing formats", "Comparing observers"]
    click_tab(qtbot, window, "Distribution")
    window.store.update(tensor="first")
    qtbot.waitUntil(lambda: window.settled)
    assert len(begun) == 2


def test_a_click_on_a_dot_adopts_the_format_in_one_undo_entry(qtbot: Any, open_window: Open) -> None:
    window = open_window(granularity="channel:0")
    panel, before = formats_panel(qtbot, window), window.store.state
    chart = panel.chart
    at = next(i for i, p in enumerate(chart.points) if p.spec.format.name == "int8")
    qtbot.mouseClick(chart.viewport(), LEFT, pos=chart.place_of(at).toPoint())
    assert window.store.state.recipe.every.weights == QuantSpec.from_json(
        {"format": "int8", "granularity": "channel:0"}
    )
    assert "INT8" in chart.accessibleDescription().split(". ")[1]
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.store.state == before
    assert chart.current == "int4"
    assert window.store.undo_text == ""


def test_enter_adopts_what_the_arrow_keys_selected(qtbot: Any, open_window: Open) -> None:
    window = open_window()
    chart = formats_panel(qtbot, window).chart
    chart.setFocus()
    qtbot.keyClick(chart, Qt.Key.Key_Right)
    qtbot.keyClick(chart, Qt.Key.Key_Right)
    wanted = chart.points[chart.selected].spec
    qtbot.keyClick(chart, Qt.Key.Key_Return)
    assert window.store.state.recipe.every.weights == wanted != QuantSpec.from_json({"format": "int4"})
    qtbot.waitUntil(lambda: window.preview.analysis.spec == wanted)
    assert chart.points[chart.selected].spec == wanted  # it stays, so that one can go on


def test_an_observer_is_adopted_from_the_table_by_each_way(qtbot: Any, open_window: Open) -> None:
    window = open_window()
    panel = observers_panel(qtbot, window)
    table = panel.table

    def row_of(name: str) -> int:
        return table.lines.row_of(name)

    def center(row: int) -> Any:
        table.scrollTo(table.lines.index(row, 0))
        return table.visualRect(table.lines.index(row, 0)).center()

    buttons = {button.accessibleName(): button for button in window.findChildren(Button)}
    adopt = buttons["Use the selected observer"]
    assert not adopt.isEnabled()
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(row_of("mse")))
    qtbot.mouseClick(adopt, LEFT)
    assert window.store.state.recipe.every.weights.observer.name == "mse"
    assert not adopt.isEnabled()
    assert "in use" in table.lines.index(row_of("mse"), 0).data()
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(row_of("percentile")))
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert window.store.state.recipe.every.weights.observer.name == "percentile"
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(row_of("minmax")))
    qtbot.mouseDClick(table.viewport(), LEFT, pos=center(row_of("minmax")))
    assert window.store.state.recipe.every.weights.observer.name == "minmax"
    for name in ("percentile", "mse", "minmax"):
        qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert window.store.state.recipe.every.weights.observer.name == name


def test_the_panels_follow_the_choice_and_never_show_another_tensors_result(qtbot: Any, open_window: Open) -> None:
    window = open_window()
    panel = formats_panel(qtbot, window)
    first = panel.chart.points
    window.store.update(tensor="second")
    window.store.update(tensor="first")
    window.store.update(tensor="second")
    qtbot.waitUntil(lambda: panel.chart.points != first, timeout=30_000)
    qtbot.waitUntil(lambda: window.settled)
    assert panel.head.name.text() == "second"
    assert "second" in panel.chart.menu.subject
    assert panel.head.badge.text() == "exact"


def test_what_is_refused_is_said(qtbot: Any, open_window: Open) -> None:
    window = open_window(granularity="channel:0")
    panel = observers_panel(qtbot, window)
    refused = [line for line in panel.table.lines.shown if isinstance(line, Refused)]
    assert refused
    row = panel.table.lines.index(panel.table.lines.rowCount() - 1, 0)
    assert row.data(Qt.ItemDataRole.ToolTipRole) == refused[-1].reason
    window.store.update(recipe=Recipe.of_weights(QuantSpec.from_json({"format": "bf16"})))
    qtbot.waitUntil(empty(panel).isVisible, timeout=30_000)
    assert any("BF16" in label.text() for label in empty(panel).findChildren(QLabel))
    window.store.undo()
    qtbot.waitUntil(panel.table.isVisible, timeout=30_000)


def test_a_tensor_that_holds_no_weights_empties_the_panel_with_a_reason(qtbot: Any, open_window: Open) -> None:
    window = open_window()
    panel = formats_panel(qtbot, window)
    window.store.update(tensor="counter")
    qtbot.waitUntil(empty(panel).isVisible)
    assert any("int64" in label.text() for label in empty(panel).findChildren(QLabel))
    assert panel.head.badge.text() == ""
    window.store.undo()
    qtbot.waitUntil(panel.chart.isVisible, timeout=30_000)


def test_without_a_file_each_panel_says_what_to_do(qtbot: Any, open_window: Open) -> None:
    window = open_window("")
    for title in ("Formats", "Observers"):
        click_tab(qtbot, window, title)
        panel = window.panels[title.lower()]
        texts = [label.text() for label in panel.findChildren(QLabel) if label.isVisible()]
        assert any(len(text) > 30 for text in texts)
        assert empty(panel).button.isVisible()


def test_wide_formats_come_into_view_when_they_are_asked_for_or_in_use(qtbot: Any, open_window: Open) -> None:
    window = open_window()
    panel = formats_panel(qtbot, window)
    assert panel.chart.home[1] < 10
    wide = next(each for each in window.findChildren(Segmented) if each.accessibleName() == "Bits shown")
    qtbot.mouseClick(wide, LEFT, pos=wide.rect_of(True).center().toPoint())
    assert panel.chart.home[1] > 30
    qtbot.mouseClick(wide, LEFT, pos=wide.rect_of(False).center().toPoint())
    assert panel.chart.home[1] < 10
    window.store.update(recipe=Recipe.of_weights(QuantSpec.from_json({"format": "bf16"})))
    qtbot.waitUntil(lambda: panel.chart.home[1] > 30, timeout=30_000)
    assert wide.value is True


def test_the_arrow_keys_go_through_the_tabs_and_what_lies_behind_has_no_focus(qtbot: Any, open_window: Open) -> None:
    window = open_window()
    tabs_of(window, "distribution").setFocus()
    for name in ("formats", "observers"):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Right)
        qtbot.waitUntil(lambda name=name: not window.docks[name].behind and window.docks["distribution"].behind)
        qtbot.waitUntil(lambda name=name: window.focusWidget() is tabs_of(window, name))
    for name in ("distribution", "formats"):
        qtbot.waitUntil(lambda name=name: not window.docks[name].title_bar.isEnabled())
    qtbot.waitUntil(window.panel(ObserversPanel).table.isVisible, timeout=30_000)
    reached: set[QWidget] = set()
    for _ in range(80):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        reached.add(window.focusWidget())
    behind = [window.docks[name] for name in ("distribution", "formats")]
    assert not [w for w in reached if any(dock.isAncestorOf(w) for dock in behind)]
    assert window.panel(ObserversPanel).table in reached
    assert window.panel(ObserversPanel).plot in reached


def test_a_panel_floats_closes_and_comes_back_into_its_row_of_tabs(qtbot: Any, open_window: Open) -> None:
    window = open_window()
    formats_panel(qtbot, window)
    dock = window.docks["formats"]
    qtbot.mouseClick(control_named(dock, "Float"), LEFT)
    qtbot.waitUntil(lambda: dock.isFloating() and not dock.title_bar.tabs.isVisible())
    qtbot.waitUntil(lambda: tabs_of(window, "distribution").count() == 2)
    assert "formats" in window.surveys.watched  # it is in sight as before
    qtbot.mouseClick(control_named(dock, "Close"), LEFT)
    qtbot.waitUntil(lambda: "formats" not in window.surveys.watched)
    window.menus.actions["reset_layout"].trigger()
    qtbot.waitUntil(lambda: tabs_of(window, "distribution").count() == 3)
    assert not window.docks["distribution"].behind
    assert window.panel(DistributionPanel).isVisible()


def test_qts_own_tab_bar_takes_no_room_and_no_focus(open_window: Open) -> None:
    window = open_window()
    own = [bar for bar in window.findChildren(QTabBar) if not isinstance(bar, FlatTabs)]
    assert own
    for bar in own:
        assert bar.sizeHint().height() == 0
        assert bar.focusPolicy() == Qt.FocusPolicy.NoFocus
