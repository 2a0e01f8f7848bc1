"""Advice on the chosen tensor: seen in the window, and taken with one click."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from qexplorer.main_window import MainWindow
from qexplorer.panels.advice import NOTHING, AdvicePanel
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.state.app_state import AppState
from tests.panels.in_window import show, texts

INT8 = QuantSpec.parse("int8")


@pytest.fixture
def first(tmp_path: Path) -> AppState:
    x = np.random.default_rng(0).normal(size=(128, 64)).astype(np.float32)
    x[3, 5] = 2000
    np.save(tmp_path / "one.npy", x)
    return AppState(path=str(tmp_path / "one.npy"), tensor="one", recipe=Recipe.of_weights(INT8))


def test_an_outlier_is_told_and_what_helps_is_taken_with_one_click(
    qtbot: QtBot, open_window: Callable[..., MainWindow]
) -> None:
    window = open_window()
    show(qtbot, window, "advice")
    panel = window.panel(AdvicePanel)
    assert "One value stands alone: 2,000 at [3, 5]" in texts(panel)
    button = next(each for each in panel.list.buttons if each.text().startswith("One scale for"))
    remedy, figures = button.text(), button.accessibleDescription()
    assert figures in texts(panel)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert window.store.state.recipe.every.weights.granularity.name == "group"
    qtbot.waitUntil(lambda: window.settled, timeout=20_000)
    analysis = window.preview.analysis
    assert analysis is not None
    assert figures.startswith(f"{analysis.metrics.sqnr_db:.1f} dB")
    assert not any(each.text() == remedy for each in panel.list.buttons)


def test_a_plain_tensor_gets_none(qtbot: QtBot, open_window: Callable[..., MainWindow], tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32))
    window = open_window(AppState(path=str(tmp_path / "plain.npy"), tensor="plain", recipe=Recipe.of_weights(INT8)))
    show(qtbot, window, "advice")
    assert [label.text() for label in window.panel(AdvicePanel).list.findChildren(QLabel)] == [NOTHING]
