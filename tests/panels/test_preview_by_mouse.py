"""What repairs do to one layer, asked for beside the ticks by which they are chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QMessageBox
from pytestqt.qtbot import QtBot

from qexplorer.engine.jobs import jobs
from qexplorer.main_window import MainWindow
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.recipe import RecipePanel
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import LinkButton
from tests.panels.in_window import show

LEFT = Qt.MouseButton.LeftButton
SMALL: dict[str, Any] = {"model": "vit_digits", "limit": 24, "threads": 1, "timing": "off", "calibration": 32}


@pytest.fixture
def first(quantizing: AppState) -> AppState:
    return quantizing


def link_of(window: MainWindow) -> LinkButton:
    found = window.panel(RecipePanel).findChild(LinkButton, "preview_repairs")
    assert found is not None
    return found


def test_repairs_are_tried_on_one_layer_first(qtbot: QtBot, open_window: Callable[..., MainWindow]) -> None:
    window = open_window()
    job = jobs["weight-only"](**SMALL)
    window.store.update(job=job, recipe=Recipe.parse("int3 channel:0", "", "", "fold,mse_clip,gptq"))
    show(qtbot, window, "recipe")
    qtbot.mouseClick(link_of(window), LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished and window.runs.idle, timeout=120_000)
    assert window.store.state.job == job
    run = window.parts.history.runs()[0]
    result = window.parts.runs.result
    assert (run.job, run.status) == ("repair", "done")
    assert result is not None
    assert (result.job, result.settings["weight_spec"]) == ("repair", "int3 channel:0")
    figures = {layer.name: layer for layer in result.layers}
    assert {"rounding to nearest", "as chosen", "GPTQ"} <= set(figures)
    assert (figures["as chosen"].output_sqnr_db or 0) > (figures["rounding to nearest"].output_sqnr_db or 0)


def test_without_simulated_weights_there_is_nothing_to_try(
    qtbot: QtBot, open_window: Callable[..., MainWindow]
) -> None:
    window = open_window()
    window.store.update(job=jobs["ptq-static"](), recipe=Recipe.of_weights(None))
    show(qtbot, window, "recipe")
    qtbot.mouseClick(link_of(window), LEFT)
    assert "No weights would be quantized" in window.panel(JobsPanel).banner.text
    assert not window.jobs.tasks


def test_trust_that_is_given_for_a_preview_starts_the_preview(
    qtbot: QtBot, open_window: Callable[..., MainWindow], tmp_path: Path
) -> None:
    own = tmp_path / "mine.py"
    own.write_text(
        "import torch\n\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10))\n"
    )
    window = open_window()
    settings = {**SMALL, "model": f"{own}:make"}
    window.store.update(job=jobs["weight-only"](**settings), recipe=Recipe.parse("int4", "", ""))
    show(qtbot, window, "recipe")
    qtbot.mouseClick(link_of(window), LEFT)
    box = window.panel(JobsPanel).findChild(QMessageBox)
    assert box is not None
    trust = box.findChild(QAbstractButton, "trust")
    assert trust is not None
    qtbot.mouseClick(trust, LEFT)
    qtbot.waitUntil(lambda: bool(window.parts.history.runs()) and not window.jobs.unfinished, timeout=60_000)
    assert [run.job for run in window.parts.history.runs()] == ["repair"]
