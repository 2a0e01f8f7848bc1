"""The panel Layers in the window: what it exports, and how its work ends."""

import csv
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layers_by_hand import LEFT, Gate, Open, done, in_front, names
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QFileDialog, QLineEdit, QWidget

from qexplorer.inspection.analyses import Analyses
from qexplorer.progress import Steps
from qexplorer.quant import QuantSpec
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Button

INT3, INT8 = (QuantSpec.from_json({"format": f"int{bits}"}) for bits in (3, 8))


def test_export_writes_a_table(qtbot: Any, open_window: Open, file: str, tmp_path: Path) -> None:
    window = open_window(AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT3)))
    panel = in_front(qtbot, window)
    done(qtbot, panel)
    qtbot.mouseClick(panel.export, LEFT)
    dialog = panel.findChild(QFileDialog)
    dialog.findChild(QLineEdit).setText(str(tmp_path / "layers"))
    dialog.accept()
    qtbot.waitUntil((tmp_path / "layers.csv").exists)
    lines = (tmp_path / "layers.csv").read_text("utf-8").splitlines()
    assert lines[0] == "# w.npz"
    read = {line["tensor"]: line for line in csv.DictReader(line for line in lines if not line.startswith("# "))}
    assert set(read) == {"first", "second", "third", "counter"}
    (row,) = (row for row in panel.layers.scan.rows if row.name == "third")
    assert float(read["third"]["sqnr_db_A"]) == row.figures[0].metrics.sqnr_db
    panel.save(str(tmp_path / "w.npz" / "layers.csv"))
    qtbot.waitUntil(lambda: str(tmp_path / "w.npz" / "layers.csv") in panel.banner.text)


def test_another_file_clears_and_no_file_says_what_to_do(qtbot: Any, open_window: Open, file: str, large: None) -> None:
    window = open_window(AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT3)))
    panel = in_front(qtbot, window)
    qtbot.mouseClick(panel.scan, LEFT)
    done(qtbot, panel)
    window.open_path("synthetic:laplace,500")
    qtbot.waitUntil(lambda: window.settled and window.store.state.tensor == "laplace")
    assert names(panel) == []
    assert panel.layers.scan is None
    assert not panel.export.isEnabled()
    empty = open_window(AppState())
    panel = in_front(qtbot, empty)
    assert "Open weights …" in [button.text() for button in panel.findChildren(Button) if button.isVisible()]
    assert not panel.scan.isEnabled()


def test_a_bug_is_told_and_the_rows_so_far_stay(
    qtbot: Any, open_window: Open, file: str, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Analyses.measure

    def broken(analyses: Analyses, name: str, *args: Any, **options: Any) -> Steps[Any]:
        if name == "second":
            raise RuntimeError("no luck")
        return (yield from measure(analyses, name, *args, **options))

    monkeypatch.setattr(Analyses, "measure", broken)
    window = open_window(AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT3)))
    panel = in_front(qtbot, window)
    qtbot.mouseClick(panel.scan, LEFT)
    qtbot.waitUntil(lambda: bool(panel.banner.text))
    assert "no luck" in panel.banner.text
    assert names(panel) == ["first"]
    assert panel.scan.text() == "Resume"


def test_every_control_has_a_name_and_a_tooltip_and_is_reached_by_tab(qtbot: Any, open_window: Open, file: str) -> None:
    window = open_window(
        AppState(path=file, tensor="first", recipe=Recipe.of_weights(INT8), compared=(Recipe.of_weights(INT3),))
    )
    panel = in_front(qtbot, window)
    done(qtbot, panel)
    reached: set[QWidget] = set()
    panel.filter.setFocus()
    for _ in range(60):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        reached.add(window.focusWidget())
    remove = panel.findChild(QAbstractButton, "remove_1")
    for control in (panel.filter, panel.export, panel.scan, panel.pin, remove):
        assert control in reached
        assert control.accessibleName()
        assert control.toolTip()
    assert panel.table in reached


def test_closing_the_window_in_the_middle_ends_the_work(qtbot: Any, open_window: Open, gate: Gate) -> None:
    window = open_window(AppState(path="synthetic", tensor="normal", recipe=Recipe.of_weights(INT3)), settle=False)
    panel = in_front(qtbot, window)
    qtbot.waitUntil(lambda: panel.layers.running)
    window.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "measuring"]


def test_all_that_was_measured_before_a_stop_is_in_the_table(
    qtbot: Any, open_window: Open, large: None, tmp_path: Path
) -> None:
    np.savez(tmp_path / "many.npz", **{f"w{i}": np.full((8, 8), i, np.float32) for i in range(600)})
    window = open_window(AppState(path=str(tmp_path / "many.npz"), recipe=Recipe.of_weights(INT8)))
    panel = in_front(qtbot, window)
    qtbot.mouseClick(panel.scan, LEFT)
    qtbot.waitUntil(lambda: panel.layers.scan is not None and panel.layers.scan.done > 20)
    qtbot.mouseClick(panel.scan, LEFT)
    qtbot.waitUntil(lambda: panel.layers.idle)
    scan = panel.layers.scan
    assert scan is not None
    qtbot.waitUntil(lambda: len(names(panel)) == scan.done)
