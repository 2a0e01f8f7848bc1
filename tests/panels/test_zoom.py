"""Zooming into the histograms of a window with the wheel and the keyboard, as a person does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot
from safetensors.numpy import save_file

from qexplorer.main_window import MainWindow
from qexplorer.panels.distribution import DistributionPanel
from qexplorer.panels.error import ErrorPanel
from qexplorer.quant import QuantSpec
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.widgets.histogram_plot import HistogramPlot

INT6 = QuantSpec.from_json({"format": "int6", "observer": "percentile:99.9"})


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    x = np.random.default_rng(7).normal(0, 0.05, (400, 500)).astype(np.float32)
    x[3, 4], x[5, 6], x[7, 8] = 7.25, -4.0, 6.5
    return x


@pytest.fixture(scope="module")
def file(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("zoom") / "w.safetensors"
    broken = np.array([[1.0, np.nan, np.inf, -2.0, np.nan]], np.float32)
    save_file({"far.weight": values, "odd.running_var": broken, "plain.weight": values[:9] % 0.1}, path)
    return str(path)


@pytest.fixture
def window(file: str, open_window: Any, qtbot: QtBot) -> MainWindow:
    window: MainWindow = open_window(AppState(path=file, tensor="far.weight", recipe=Recipe.of_weights(INT6)))
    qtbot.waitUntil(lambda: window.settled and window.closer.inspection is not None, timeout=20_000)
    return window


def wheel(plot: HistogramPlot, x: float, steps: int) -> None:
    """Turn the wheel with the pointer over a place of the axis."""
    view = plot.getViewBox()
    at = QPointF(plot.mapFromScene(view.mapViewToScene(QPointF(x, sum(view.viewRange()[1]) / 2))))
    for _ in range(abs(steps)):
        event = QWheelEvent(at, QPointF(plot.mapToGlobal(at)), QPoint(), QPoint(0, 120 if steps > 0 else -120),
                            Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase,
                            False)  # fmt: skip
        QApplication.sendEvent(plot.viewport(), event)


def drawn(item: Any) -> tuple[np.ndarray, np.ndarray]:
    """Edges and heights as they are on screen."""
    edges, heights = item.getData()
    return np.asarray(edges), np.asarray(heights)


def settled(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: window.settled, timeout=20_000)


def test_what_is_zoomed_is_counted_anew_at_once_and_then_exactly(
    window: MainWindow, qtbot: QtBot, values: np.ndarray
) -> None:
    plot = window.panel(DistributionPanel).plot
    undo, home = window.store.undo_text, plot.view
    items = set(plot.scene().items())
    before = len(drawn(plot.original)[1])
    wheel(plot, 0.02, 12)
    assert plot.zoomed
    left, right = plot.view
    assert right - left < 0.2 * (home[1] - home[0])
    edges, rough = drawn(plot.original)  # of the sketch: nothing was waited for
    assert len(rough) > 2 * before * (right - left) / (home[1] - home[0])
    assert plot.notes[0].startswith("about ")
    settled(qtbot, window)
    heights = drawn(plot.original)[1]
    assert plot.view == (left, right)
    data = plot.menu.data
    assert data is not None
    counts, edges = data.columns["original"], np.append(data.columns["from"], data.columns["to"][-1])
    np.testing.assert_array_equal(counts, np.histogram(values.astype(np.float64), edges)[0])
    np.testing.assert_allclose(heights / heights.max(), counts[counts.nonzero()[0][0] :][: len(heights)] / counts.max())
    bottom, top = plot.getViewBox().viewRange()[1]
    assert bottom == 0
    assert heights.max() < top < 2 * heights.max()
    below, above = (values < left).sum(), (values > right).sum()
    assert plot.notes == (f"{below:,} beyond, farthest −4" if below > 1 else "1 beyond, −4",
                          f"{above:,} beyond, farthest 7.25")  # fmt: skip
    assert plot.notes[1] in plot.accessibleDescription()
    assert set(plot.scene().items()) == items
    assert window.store.undo_text == undo


@pytest.mark.parametrize("back", ["double click", "Home", "0"])
def test_everything_is_seen_again(window: MainWindow, qtbot: QtBot, back: str) -> None:
    plot = window.panel(DistributionPanel).plot
    home, heights = plot.getViewBox().viewRange(), drawn(plot.original)[1].tolist()
    wheel(plot, 0.0, 20)
    settled(qtbot, window)
    if back == "double click":
        QTest.mouseDClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=plot.viewport().rect().center())
    else:
        QTest.keyClick(plot, getattr(Qt.Key, f"Key_{back}"))
    assert plot.getViewBox().viewRange() == home
    assert drawn(plot.original)[1].tolist() == heights
    assert plot.notes == ("1 beyond the bulk, −4", "2 beyond the bulk, farthest 7.25")
    settled(qtbot, window)
    assert drawn(plot.original)[1].tolist() == heights


def test_a_key_shows_the_bulk_and_outliers_are_marked_where_they_are(window: MainWindow, values: np.ndarray) -> None:
    plot = window.panel(DistributionPanel).plot
    assert sorted(plot.far.getData()[0]) == pytest.approx([-4.0, 6.5, 7.25], rel=1e-3)
    QTest.keyClick(plot, Qt.Key.Key_B)
    left, right = plot.view
    assert -1.2 < left < -0.2 < 0.2 < right < 1.2
    assert np.mean((values > left) & (values < right)) > 0.9999


def test_nobody_zooms_beyond_what_there_is_or_what_float32_tells_apart(window: MainWindow, qtbot: QtBot) -> None:
    plot = window.panel(DistributionPanel).plot
    home = plot.view
    wheel(plot, 1.0, -40)
    assert plot.view == pytest.approx(home)
    wheel(plot, 0.05, 400)
    left, right = plot.view
    assert left < 0.06
    assert 8 * np.spacing(np.float32(0.05)) < right - left < 100 * np.spacing(np.float32(0.05))
    settled(qtbot, window)
    assert np.isfinite(plot.getViewBox().viewRange()).all()
    window.grab()


def test_a_zoom_stays_while_the_choice_changes_and_ends_with_another_tensor(window: MainWindow, qtbot: QtBot) -> None:
    plot = window.panel(DistributionPanel).plot
    wheel(plot, 0.0, 15)
    seen = plot.view
    window.store.update(recipe=Recipe.of_weights(QuantSpec.from_json({"format": "int8", "granularity": "channel"})))
    settled(qtbot, window)
    assert plot.view == seen
    assert plot.menu.data is not None
    columns = plot.menu.data.columns
    assert columns["dequantized"].sum() > 0.5 * columns["original"].sum()
    window.store.update(tensor="plain.weight")
    settled(qtbot, window)
    assert not plot.zoomed
    assert plot.notes == ("", "")


def test_errors_are_counted_anew_too(window: MainWindow, qtbot: QtBot, values: np.ndarray) -> None:
    panel = window.panel(ErrorPanel)
    plot = panel.histogram
    wheel(plot, 0.0, 10)
    settled(qtbot, window)
    left, right = plot.view
    a = window.preview.analysis
    assert a is not None
    y = np.clip(np.rint(values * (np.float32(1) / a.params.scale[0])), a.params.qmin, a.params.qmax) * a.params.scale[0]
    errors = (y.astype(np.float64) - values).astype(np.float32)
    assert plot.menu.data is not None
    columns = plot.menu.data.columns
    edges = np.append(columns["from"], columns["to"][-1])
    np.testing.assert_array_equal(columns["values"], np.histogram(errors, edges)[0])
    inside = int(columns["values"].sum())
    assert any(f"{values.size - inside:,} beyond" in label.text() for label in window.findChildren(QLabel))
    top = plot.getViewBox().viewRange()[1][1]
    assert columns["values"].max() <= top <= 3 * columns["values"].max()
    assert (left, right) == (pytest.approx(edges[0]), pytest.approx(edges[-1]))


def test_what_is_odd_stands_over_the_picture_and_in_the_tree(window: MainWindow, qtbot: QtBot) -> None:
    window.store.update(tensor="odd.running_var")
    settled(qtbot, window)
    head = window.panel(DistributionPanel).head
    assert head.odd.text() == "2 NaN, 1 infinite"
    assert "statistic" in head.facts.text()
    assert "running variance" in head.facts.toolTip()
    window.store.update(tensor="plain.weight")
    settled(qtbot, window)
    assert head.odd.text() == ""


def test_the_session_knows_nothing_of_a_zoom(window: MainWindow, tmp_path: Path) -> None:
    before = window.store.state
    wheel(window.panel(DistributionPanel).plot, 0.0, 5)
    assert window.store.state == before
