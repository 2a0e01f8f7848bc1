"""The whole window, driven by mouse and keyboard only."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QAction, QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QMessageBox
from pytestqt.qtbot import QtBot
from window_by_hand import LEFT, Open, click_option, click_tensor, go

from qexplorer.app import first_state
from qexplorer.engine.backends.torch_ao import GraphMode
from qexplorer.main_window import MainWindow
from qexplorer.panels.distribution import DistributionPanel
from qexplorer.panels.error import ErrorPanel
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.metrics import MetricsPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.panels.weights import WeightsPanel
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.state.app_state import AppState
from qexplorer.state.session import load_session
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.task_row import TaskRow
from tests.panels.in_window import control_named, texts
from tests.widgets.hands import type_text


def curve(window: MainWindow) -> np.ndarray:
    return np.array(window.panel(DistributionPanel).plot.stems.getData()[0])


def test_the_main_job_by_mouse_and_keyboard(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    # a tensor is picked
    click_tensor(qtbot, window, "features.16.conv.0.0.weight")
    qtbot.waitUntil(lambda: window.preview.analysis is not None and window.preview.analysis.shape == (960, 160, 1, 1))
    metrics, distribution = window.panel(MetricsPanel).list, window.panel(DistributionPanel)
    assert distribution.head.name.text() == "features.16.conv.0.0.weight"
    before, stems = float(metrics.figures()["SQNR"]), curve(window)
    # bits and scheme change, and the plots with them
    click_option(qtbot, window, "bits", "int8")
    qtbot.waitUntil(lambda: float(metrics.figures()["SQNR"]) > before + 15)
    plot = distribution.plot
    assert plot.outline.isVisible()  # 255 levels stand too close for stems
    assert not plot.stems.isVisible()
    click_option(qtbot, window, "bits", "int5")
    qtbot.waitUntil(lambda: len(curve(window)) > len(stems))
    bits = window.findChild(Segmented, "bits")
    assert bits is not None
    bits.setFocus()
    qtbot.keyClick(bits, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: window.preview.analysis is not None and window.preview.analysis.spec.format.name == "int4")
    scheme = window.findChild(Segmented, "scheme")
    assert scheme is not None
    qtbot.keyClick(scheme, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: window.preview.analysis is not None and window.preview.analysis.spec.scheme == "affine")
    assert window.panel(ErrorPanel).histogram.isVisible()
    go(qtbot, window, "quantize")
    # PTQ runs, a second one is cancelled, and the table shows the results
    jobs, runs = window.panel(JobsPanel), window.panel(RunsPanel)
    limit = jobs.form.controls["limit"]
    assert isinstance(limit, QLineEdit)
    qtbot.mouseClick(jobs.form.more, LEFT)
    type_text(limit, "64")
    assert window.store.state.job.limit == 64
    qtbot.mouseClick(jobs.run_button, LEFT)
    qtbot.keyClick(window, Qt.Key.Key_F5)
    assert len(window.jobs.tasks) == 2
    qtbot.waitUntil(lambda: len(runs.table.lines.shown) == 4, timeout=120_000)
    (second,) = (row for row in jobs.findChildren(TaskRow) if row.isVisible())
    qtbot.waitUntil(lambda: second.bar.share > 0.05, timeout=60_000)
    qtbot.mouseClick(second.cancel, LEFT)
    assert not second.cancel.isEnabled()
    qtbot.waitUntil(lambda: not window.jobs.tasks, timeout=10_000)
    qtbot.waitUntil(lambda: len(runs.table.lines.shown) == 5)
    cancelled, first, *rest = runs.table.lines.shown
    assert (cancelled.row, first.kernels) == (None, "float32")
    reals = [line.row for line in rest if line.row is not None]
    assert [row.kind for row in reals] == ["REAL", "REAL", "SIMULATED"]
    assert first.row is not None
    assert reals[0].bytes_on_disk < first.row.bytes_on_disk / 3.5
    assert sorted(run.status for run in window.parts.history.runs()) == ["cancelled", "done"]
    qtbot.waitUntil(lambda: not jobs.findChildren(TaskRow))


def test_every_choice_can_be_undone_and_redone_by_keyboard(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    start = window.store.state
    click_option(qtbot, window, "bits", "int3")
    click_option(qtbot, window, "scheme", "affine")
    qtbot.keyClick(window, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    end = window.store.state
    assert end.log_counts != start.log_counts
    for _ in range(3):
        qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.store.state == start
    assert window.findChild(Segmented, "bits").value == "int4"
    for _ in range(3):
        qtbot.keyClick(window, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert window.store.state == end
    assert "Redo" in window.menus.actions["redo"].text()
    assert not window.menus.actions["redo"].isEnabled()


def test_the_view_of_channels_is_a_choice_like_any_other(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    panel = window.panel(ErrorPanel)
    view = control_named(window, "Error view")
    assert isinstance(view, Segmented)
    qtbot.mouseClick(view, LEFT, pos=view.rect_of("channels").center().toPoint())
    assert panel.channels.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert panel.histogram.isVisible()
    assert window.store.state == first_state()


def test_dragging_a_clip_line_sets_fixed_limits_in_one_undo_entry(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    plot = window.panel(DistributionPanel).plot
    before = window.store.state.recipe.every.weights
    box = plot.getViewBox()

    def at(x: float) -> QPoint:
        (_, _), (low, high) = box.viewRange()
        return plot.mapFromScene(box.mapViewToScene(QPointF(x, (low + high) / 2)))

    start = at(window.preview.analysis.hi)

    def hovering() -> bool:
        for off in (QPoint(0, 3), QPoint(0, 0)):
            QTest.mouseMove(plot.viewport(), start + off)
            QApplication.processEvents()
        return plot.clips[1].mouseHovering

    qtbot.waitUntil(hovering)
    QTest.mousePress(plot.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, start)

    def dragged() -> bool:
        for x in (0.13, 0.12, 0.11, 0.1, 0.09, 0.08):
            QTest.mouseMove(plot.viewport(), at(x))
            QApplication.processEvents()
        observer = window.store.state.recipe.every.weights.observer
        return isinstance(observer, Fixed) and observer.hi < 0.086

    qtbot.waitUntil(dragged)
    QTest.mouseRelease(plot.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at(0.08))
    observer = window.store.state.recipe.every.weights.observer
    assert isinstance(observer, Fixed)
    assert observer.hi == -observer.lo == pytest.approx(0.08, abs=0.006)
    assert plot.clips[1].value() == pytest.approx(window.preview.analysis.hi, rel=1e-3)
    qtbot.waitUntil(lambda: window.preview.analysis.spec == window.store.state.recipe.every.weights)
    assert window.preview.analysis.metrics.clipped_fraction > 0.01
    window.store.undo()
    assert window.store.state.recipe.every.weights == before


def test_a_wrong_file_is_one_clear_message_and_what_was_open_stays(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    window = open_window()
    before = window.store.state
    (tmp_path / "report.pt").write_bytes(b"%PDF-1.7 not a model")
    window.open_path(str(tmp_path / "report.pt"))
    panel = window.panel(WeightsPanel)
    qtbot.waitUntil(lambda: bool(panel.banner.text))
    assert "report.pt" in panel.banner.text
    assert "\n" not in panel.banner.text
    assert "Traceback" not in panel.banner.report
    assert window.store.state == before
    assert window.windowTitle().startswith("mobilenet_v2_digits")
    click_option(qtbot, window, "bits", "int8")
    qtbot.waitUntil(lambda: window.preview.analysis is not None and window.preview.analysis.spec.format.name == "int8")
    assert window.panel(DistributionPanel).plot.isVisible()


def test_a_session_whose_file_is_gone_starts_with_a_message_and_an_empty_window(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    window = open_window(AppState(path=str(tmp_path / "gone.safetensors"), tensor="a"), settle=False)
    panel = window.panel(WeightsPanel)
    qtbot.waitUntil(lambda: bool(panel.banner.text))
    assert "gone.safetensors" in panel.banner.text
    assert "No weights are open" in texts(panel)
    window.open_sample()
    qtbot.waitUntil(lambda: window.settled and not panel.banner.text, timeout=30_000)


def test_opening_another_file_can_be_undone(qtbot: QtBot, open_window: Open, tmp_path: Path) -> None:
    window = open_window()
    before = window.store.state
    np.save(tmp_path / "other.npy", np.ones((2, 3), np.float32))
    window.open_path(str(tmp_path / "other.npy"))
    qtbot.waitUntil(lambda: window.preview.analysis is not None and window.preview.analysis.shape == (2, 3))
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.settled and window.preview.analysis.shape == (576, 96, 1, 1), timeout=30_000)
    assert window.store.state == before


def test_a_file_is_opened_by_dropping_it(qtbot: QtBot, open_window: Open, tmp_path: Path) -> None:
    window = open_window()
    path = tmp_path / "a b.npy"
    np.save(path, np.linspace(-1, 1, 500, dtype=np.float32))
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    action, none = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(50, 50), action, data, LEFT, none)
    window.dragEnterEvent(enter)
    assert enter.isAccepted()
    window.dropEvent(QDropEvent(QPointF(50, 50), action, data, LEFT, none))
    qtbot.waitUntil(lambda: window.preview.analysis is not None and window.preview.analysis.shape == (500,))
    assert window.windowTitle().startswith("a b.npy")


def test_a_job_that_fails_in_the_middle_says_so_and_leaves_the_window_alive(
    qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[object]:
        yield from ()
        raise RuntimeError("kernels on strike")

    monkeypatch.setattr(GraphMode, "quantize", broken)
    window = open_window()
    go(qtbot, window, "quantize")
    jobs = window.panel(JobsPanel)
    qtbot.mouseClick(jobs.run_button, LEFT)
    qtbot.waitUntil(lambda: bool(jobs.banner.text), timeout=60_000)
    assert "kernels on strike" in jobs.banner.text
    assert "RuntimeError: kernels on strike" in jobs.banner.report
    assert [run.status for run in window.parts.history.runs()] == ["failed"]
    go(qtbot, window, "explore")
    click_option(qtbot, window, "bits", "int8")
    qtbot.waitUntil(lambda: window.preview.analysis is not None and window.preview.analysis.spec.format.name == "int8")


def test_a_full_disk_ends_a_job_in_one_message_with_a_remedy(
    qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    window = open_window()
    go(qtbot, window, "quantize")
    jobs = window.panel(JobsPanel)
    qtbot.mouseClick(jobs.run_button, LEFT)
    qtbot.waitUntil(lambda: bool(jobs.banner.text), timeout=60_000)
    assert "disk" in jobs.banner.text.lower()
    assert "\n" not in jobs.banner.text
    assert [run.status for run in window.parts.history.runs()] == ["failed"]
    assert not list((window.parts.history.path.parent / "runs").glob("*/*"))


def test_a_session_that_cannot_be_saved_is_said_in_the_banner(
    qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    window = open_window()
    window.save()
    kept = load_session(tmp_path / "session.json")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    click_option(qtbot, window, "bits", "int2")
    qtbot.waitUntil(lambda: bool(window.banner.text), timeout=10_000)
    assert load_session(tmp_path / "session.json") == kept


def test_settings_that_the_job_cannot_have_are_said_beside_them(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    go(qtbot, window, "quantize")
    jobs = window.panel(JobsPanel)
    data = jobs.form.controls["data"]
    assert isinstance(data, QLineEdit)
    type_text(data, "/no/such/folder")
    qtbot.mouseClick(jobs.run_button, LEFT)
    assert "/no/such/folder" in jobs.form.refusal
    assert not window.jobs.tasks
    assert window.parts.history.runs() == []  # what could not begin is no run


def test_run_takes_what_stands_in_the_fields_and_refuses_nonsense(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    go(qtbot, window, "quantize")
    jobs = window.panel(JobsPanel)
    qtbot.mouseClick(jobs.form.more, LEFT)
    seed = jobs.form.controls["seed"]
    assert isinstance(seed, QLineEdit)
    seed.setFocus()
    seed.selectAll()
    qtbot.keyClicks(seed, "abc")
    qtbot.keyClick(window, Qt.Key.Key_F5)
    assert not window.jobs.tasks
    assert "whole number" in jobs.form.refusal
    seed.selectAll()
    qtbot.keyClicks(seed, "7")
    qtbot.keyClick(window, Qt.Key.Key_F5)
    (task,) = window.jobs.tasks
    assert window.store.state.job.seed == 7
    qtbot.waitUntil(lambda: bool(window.parts.history.runs()), timeout=20_000)
    assert json.loads(window.parts.history.get(str(task.about)).config_json)["seed"] == 7


def test_closing_with_a_job_running_asks_then_cancels_and_closes(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    go(qtbot, window, "quantize")
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    qtbot.waitUntil(lambda: window.jobs.current is not None)
    assert not window.close()
    box = window.findChild(QMessageBox)
    assert box is not None
    accept = next(b for b in box.buttons() if box.buttonRole(b) == QMessageBox.ButtonRole.AcceptRole)
    with qtbot.waitSignal(window.closed, timeout=60_000):
        qtbot.mouseClick(accept, LEFT)
    assert [run.status for run in window.parts.history.runs()] == ["cancelled"]


def test_session_theme_and_layout_come_back_at_the_next_start(qtbot: QtBot, open_window: Open, tmp_path: Path) -> None:
    window = open_window()
    click_tensor(qtbot, window, "classifier.1.weight")
    click_option(qtbot, window, "bits", "int6")
    next(each for each in window.findChildren(QAction) if each.data() == "dark").trigger()
    window.docks["error"].close()
    before = window.docks["weights"].width()
    docks = [window.docks["weights"], window.docks["distribution"]]
    window.workspaces.here.resizeDocks(docks, [before + 80, docks[1].width() - 80], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: window.docks["weights"].width() > before + 40)
    width = window.docks["weights"].width()
    state = window.store.state
    window.close()
    saved = load_session(tmp_path / "session.json")
    assert saved == state
    assert saved is not None
    assert (saved.theme, saved.tensor) == ("dark", "classifier.1.weight")
    again = open_window(saved)
    assert not again.docks["error"].isVisible()
    assert again.docks["weights"].width() == pytest.approx(width, abs=8)
    assert again.parts.themes.current.name == "dark"
    assert again.palette().window().color().lightnessF() < 0.2
    assert again.panel(DistributionPanel).head.name.text() == "classifier.1.weight"


def test_panels_can_be_closed_floated_and_brought_back(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    dock = window.docks["metrics"]
    qtbot.mouseClick(control_named(dock, "Close"), LEFT)
    assert not dock.isVisible()
    window.menus.actions["reset_layout"].trigger()
    assert dock.isVisible()
    qtbot.mouseClick(control_named(dock, "Float"), LEFT)
    assert dock.isFloating()
    qtbot.mouseClick(control_named(dock, "Dock"), LEFT)
    assert not dock.isFloating()
    qtbot.mouseClick(control_named(dock, "Float"), LEFT)
    window.menus.actions["reset_layout"].trigger()
    assert not any(each.isFloating() for each in window.docks.values())
