"""The panel Layers in the window, by mouse and keyboard."""

from typing import Any

import pytest
from layers_by_hand import LEFT, Gate, Open, done, folded, in_front, names
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QAbstractButton

from qexplorer.app import first_state
from qexplorer.main_window import MainWindow
from qexplorer.panels.layers import LayersPanel
from qexplorer.panels.weights import WeightsPanel
from qexplorer.quant import QuantSpec
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.state.layer_scan import MOST
from qexplorer.widgets.tensor_tree import TensorTree
from tests.panels.in_window import texts

INT3, INT5, INT8 = (QuantSpec.from_json({"format": f"int{bits}"}) for bits in (3, 5, 8))


def titles(panel: LayersPanel) -> list[str]:
    return [column.title for column in panel.table.lines.columns]


def center(panel: LayersPanel, name: str) -> QPoint:
    index = panel.table.model().index(names(panel).index(name), 0)
    panel.table.scrollTo(index)
    return panel.table.visualRect(index).center()


def test_the_sample_is_scanned_sorted_filtered_and_a_row_chosen(qtbot: Any, open_window: Open, large: None) -> None:
    window = open_window(first_state())
    panel = in_front(qtbot, window)
    assert "Press Scan" in texts(panel)
    qtbot.mouseClick(panel.scan, LEFT)
    assert panel.scan.text() == "Stop"
    done(qtbot, panel)
    assert panel.scan.text() == "Scan again"
    assert "53 of 53 weights" in texts(panel)
    assert len(names(panel)) == 314
    ranked = [panel.table.lines.line(row).row for row in range(53)]
    assert {len(row.shape) for row in ranked} == {2, 4}  # running variances would lead otherwise
    figures = [row.figures[0].sums.e2 for row in ranked]
    assert figures == sorted(figures, reverse=True)
    header = panel.table.horizontalHeader()
    qtbot.mouseClick(header.viewport(), LEFT, pos=QPoint(20, 5))
    assert names(panel)[0] == "classifier.1.bias"
    panel.filter.setFocus()
    qtbot.keyClicks(panel.filter, "features.16 weight >10k")
    left = names(panel)
    assert "features.16.conv.0.0.weight" in left
    assert all(name.startswith("features.16") for name in left)
    assert f"{len(left)} of 314 tensors" in texts(panel)
    at = center(panel, "features.16.conv.0.0.weight")
    qtbot.mouseClick(panel.table.viewport(), LEFT, pos=at)
    assert window.store.state.tensor == first_state().tensor
    qtbot.mouseDClick(panel.table.viewport(), LEFT, pos=at)
    assert window.store.state.tensor == "features.16.conv.0.0.weight"
    qtbot.keyClicks(panel.filter, " nothing has this name")
    assert "Nothing matches" in texts(panel)
    qtbot.waitUntil(lambda: window.preview.analysis.shape == (960, 160, 1, 1))


def test_the_figures_are_those_of_the_other_panels(qtbot: Any, open_window: Open, file: str) -> None:
    window = open_window(AppState(path=file, tensor="second", recipe=Recipe.of_weights(INT5)))
    panel = in_front(qtbot, window)
    done(qtbot, panel)
    row = next(row for row in panel.layers.scan.rows if row.name == "second")
    assert row.figures[0].metrics.sqnr_db == pytest.approx(window.preview.analysis.metrics.sqnr_db)


def test_a_small_file_is_scanned_by_itself_and_again_when_the_spec_changes(
    qtbot: Any, open_window: Open, file: str
) -> None:
    window = open_window(AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT3)))
    panel = in_front(qtbot, window)
    done(qtbot, panel)
    before = panel.layers.scan.totals[0].sqnr_db
    window.store.update(recipe=Recipe.of_weights(INT8))
    assert panel.layers.outdated
    done(qtbot, panel)
    assert panel.layers.scan.totals[0].sqnr_db > before + 20
    assert sorted(names(panel)) == ["counter", "first", "second", "third"]
    folded(qtbot, window)
    window.store.update(recipe=Recipe.of_weights(INT5))
    qtbot.waitUntil(lambda: window.settled)
    in_front_again(qtbot, window)
    done(qtbot, panel)
    assert panel.layers.scan.recipes == (Recipe.of_weights(INT5),)
    assert sorted(names(panel)) == ["counter", "first", "second", "third"]


def test_the_tree_has_the_figures_of_the_table_and_each_tensor_is_measured_once(
    qtbot: Any, open_window: Open, file: str, gate: Gate
) -> None:
    gate.let(100)
    window = open_window(AppState(path=file, tensor="second", recipe=Recipe.of_weights(INT5)))
    panel = in_front(qtbot, window)
    done(qtbot, panel)
    assert sorted(gate.asked) == ["first", "second", "third"]
    tree = window.panel(WeightsPanel).findChild(TensorTree)
    for row in panel.layers.scan.rows:
        assert tree.tensors.sqnr(row.name) == (row.figures[0].metrics.sqnr_db if not row.trouble else None)


def test_of_a_large_file_the_tree_shows_what_the_scan_knows(
    qtbot: Any, open_window: Open, file: str, large: None
) -> None:
    window = open_window(
        AppState(path=file, tensor="second", recipe=Recipe.of_weights(INT5), compared=(Recipe.of_weights(INT3),))
    )
    panel, tensors = in_front(qtbot, window), window.panel(WeightsPanel).findChild(TensorTree).tensors
    shown = {name: tensors.sqnr(name) for name in ("first", "second", "third")}
    assert shown == {"first": None, "second": window.preview.analysis.metrics.sqnr_db, "third": None}
    qtbot.mouseClick(panel.scan, LEFT)
    done(qtbot, panel)
    rows = {row.name: row.figures for row in panel.layers.scan.rows}
    assert tensors.sqnr("third") == rows["third"][0].metrics.sqnr_db
    window.store.update(recipe=Recipe.of_weights(INT3))
    assert tensors.sqnr("third") == rows["third"][1].metrics.sqnr_db
    window.store.update(recipe=Recipe.of_weights(INT8))
    assert tensors.sqnr("third") is None


def in_front_again(qtbot: Any, window: MainWindow) -> None:
    in_front(qtbot, window)


def test_a_large_file_keeps_its_rows_and_says_that_they_are_of_the_spec_before(
    qtbot: Any, open_window: Open, file: str, large: None
) -> None:
    window = open_window(AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT3)))
    panel = in_front(qtbot, window)
    qtbot.mouseClick(panel.scan, LEFT)
    done(qtbot, panel)
    first = panel.layers.scan
    window.store.update(recipe=Recipe.of_weights(INT8))
    qtbot.waitUntil(lambda: window.settled)
    assert panel.layers.scan is first
    assert len(names(panel)) == 4
    assert "previous spec" in texts(panel)
    index = panel.table.model().index(0, titles(panel).index("SQNR, dB"))
    assert index.data(Qt.ItemDataRole.ForegroundRole) == window.parts.themes.current.color("edge")
    window.store.undo()
    assert "previous spec" not in texts(panel)
    window.store.redo()
    qtbot.mouseClick(panel.scan, LEFT)
    done(qtbot, panel)
    assert "previous spec" not in texts(panel)
    assert index.data(Qt.ItemDataRole.ForegroundRole) is None


def test_stop_and_resume(qtbot: Any, open_window: Open, large: None, gate: Gate) -> None:
    window = open_window(AppState(path="synthetic", tensor="normal", recipe=Recipe.of_weights(INT3)))
    panel = in_front(qtbot, window)
    qtbot.mouseClick(panel.scan, LEFT)
    gate.let(2)
    qtbot.waitUntil(lambda: len(names(panel)) == 2)
    assert panel.bar.isVisible()
    assert "Measuring: 2 of 5 tensors" in texts(panel)
    qtbot.mouseClick(panel.scan, LEFT)
    assert panel.scan.text() == "Resume"
    qtbot.waitUntil(lambda: panel.layers.idle)
    assert "Stopped after 2 of 5 tensors." in texts(panel)
    assert not panel.bar.isVisible()
    assert "2 of 5 weights" in texts(panel.specs)
    qtbot.mouseClick(panel.scan, LEFT)
    gate.let(3)
    done(qtbot, panel)
    assert sorted(names(panel)) == ["exponential", "laplace", "normal", "student_t", "uniform"]
    assert gate.asked == ["normal", "laplace", "uniform", "student_t", "exponential"]


def test_a_person_who_stopped_a_small_file_is_not_overruled(qtbot: Any, open_window: Open, gate: Gate) -> None:
    window = open_window(AppState(path="synthetic", tensor="normal", recipe=Recipe.of_weights(INT3)), settle=False)
    panel = in_front(qtbot, window)
    gate.let(1)
    qtbot.waitUntil(lambda: len(names(panel)) == 1)
    qtbot.mouseClick(panel.scan, LEFT)
    qtbot.waitUntil(lambda: panel.layers.idle)
    folded(qtbot, window)
    in_front_again(qtbot, window)
    qtbot.waitUntil(lambda: panel.layers.idle)
    assert panel.scan.text() == "Resume"
    gate.let(4)
    qtbot.mouseClick(panel.scan, LEFT)
    done(qtbot, panel)


def test_pinned_specs_are_measured_only_in_sight_and_go_on_there(qtbot: Any, open_window: Open, gate: Gate) -> None:
    gate.let(5)
    window = open_window(
        AppState(path="synthetic", tensor="normal", recipe=Recipe.of_weights(INT3), compared=(Recipe.of_weights(INT8),))
    )
    assert window.layers.scan.recipes == (Recipe.of_weights(INT3),)
    panel = in_front(qtbot, window)
    gate.let(2)
    qtbot.waitUntil(lambda: len(names(panel)) == 2)
    folded(qtbot, window)
    qtbot.waitUntil(lambda: panel.layers.idle)
    gate.let(3)
    assert len(gate.asked) == 7
    in_front_again(qtbot, window)
    done(qtbot, panel)
    assert len(names(panel)) == 5
    assert gate.asked == ["normal", "laplace", "uniform", "student_t", "exponential"] * 2


def test_pinned_specs_stand_beside_the_current_one_and_can_be_removed(qtbot: Any, open_window: Open, file: str) -> None:
    window = open_window(AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT3)))
    panel = in_front(qtbot, window)
    done(qtbot, panel)
    qtbot.mouseClick(panel.pin, LEFT)
    assert window.store.state.compared == (Recipe.of_weights(INT3),)
    assert not panel.pin.isEnabled()
    done(qtbot, panel)
    window.store.update(recipe=Recipe.of_weights(INT8))
    done(qtbot, panel)
    assert [title for title in titles(panel) if "SQNR" in title] == ["A SQNR, dB", "B SQNR, dB"]
    for row in panel.layers.scan.rows[:3]:
        assert row.figures[0].metrics.sqnr_db > row.figures[1].metrics.sqnr_db + 20
    assert "INT8 symmetric per tensor" in texts(panel.specs)
    assert "INT3 symmetric per tensor" in texts(panel.specs)
    qtbot.mouseClick(panel.pin, LEFT)
    done(qtbot, panel)
    assert window.store.state.compared == (Recipe.of_weights(INT3), Recipe.of_weights(INT8))
    assert window.store.undo_text.startswith("compared recipes")
    remove = panel.findChild(QAbstractButton, "remove_1")
    remove.setFocus()
    qtbot.keyClick(remove, Qt.Key.Key_Space)
    assert window.store.state.compared == (Recipe.of_weights(INT8),)
    done(qtbot, panel)
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.store.state.compared == (Recipe.of_weights(INT3), Recipe.of_weights(INT8))
    done(qtbot, panel)
    assert len([title for title in titles(panel) if "SQNR" in title]) == 3


def test_no_more_specs_can_be_pinned_than_there_is_room_for(qtbot: Any, open_window: Open, file: str) -> None:
    pinned = tuple(Recipe.of_weights(QuantSpec.from_json({"format": f"int{bits}"})) for bits in range(2, 2 + MOST))
    window = open_window(AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT8), compared=pinned))
    panel = in_front(qtbot, window)
    done(qtbot, panel)
    assert not panel.pin.isEnabled()
    assert str(MOST) in panel.pin.toolTip()
    assert panel.scan.isVisible()
    assert panel.table.viewport().height() > 2 * panel.table.rowHeight(0)
