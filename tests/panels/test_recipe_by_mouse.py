"""A file of one's own, two rules, a run on it, and its recipe again: what is explored is what is quantized."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot
from safetensors.numpy import save_file

from qexplorer.engine.models.trust import trust
from qexplorer.main_window import MainWindow
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.layers import LayersPanel
from qexplorer.panels.recipe import RecipePanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.panels.scheme import SchemePanel
from qexplorer.quant.recipe import LayerSpec, Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.resources import resource
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Combo
from qexplorer.widgets.segmented import Segmented
from tests.panels.in_window import control_named, select_lines, show, texts, write_recipe
from tests.widgets.hands import pick, type_text, write_cell

LEFT = Qt.MouseButton.LeftButton
Open = Callable[..., MainWindow]
QKV = "blocks.0.attention.in_proj.weight"


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A file of one's own: the weights of the vision transformer under another name."""
    return str(shutil.copy(resource("vit_digits.safetensors"), tmp_path / "mine.safetensors"))


@pytest.fixture
def first(own: str) -> AppState:
    return AppState(path=own, recipe=Recipe.of_weights(QuantSpec.parse("int8 channel")))


def segment(window: MainWindow, name: str, value: object) -> None:
    """Click one of a few choices in Scheme."""
    control = window.panel(SchemePanel).findChild(Segmented, name)
    assert control is not None
    QTest.mouseClick(control, LEFT, pos=control.rect_of(value).center().toPoint())


def weights_of(window: MainWindow, name: str) -> QuantSpec | None:
    return window.store.state.recipe.of(name, window.preview.kind_of(name)).weights


def a_layer(window: MainWindow) -> str:
    """A weight of which there is one in each block."""
    checkpoint = window.preview.checkpoint
    assert checkpoint is not None
    return next(t.name for t in checkpoint.tensors if ".0." in t.name and checkpoint.roles[t.name].name == "weight")


def settled(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: window.settled, timeout=20_000)


def test_a_file_of_ones_own_is_quantized_by_two_rules_and_the_run_gives_them_back(
    qtbot: QtBot, open_window: Open, own: str
) -> None:
    window = open_window()
    settled(qtbot, window)
    name = a_layer(window)
    other = name.replace(".0.", ".1.", 1)
    window.store.update(tensor=name)
    show(qtbot, window, "scheme")
    before = window.store.state.recipe
    segment(window, "scope", "like")
    segment(window, "bits", QuantSpec.parse("int4").format.name)
    segment(window, "scope", "tensor")
    segment(window, "keep", True)
    assert (weights_of(window, name), weights_of(window, other)) == (None, QuantSpec.parse("int4 channel"))
    assert weights_of(window, "head.weight") == QuantSpec.parse("int8 channel")
    settled(qtbot, window)
    assert "Kept as it is" in texts(window.docks["distribution"])
    after = window.store.state.recipe
    assert len(after.rules) == 2
    window.store.undo()
    window.store.undo()
    assert window.store.state.recipe == before
    window.store.redo()
    window.store.redo()
    assert window.store.state.recipe == after

    kind = window.findChild(Combo, "job")
    assert kind is not None
    show(qtbot, window, "jobs")
    pick(kind, "weight-only")
    form = window.panel(JobsPanel).form
    assert form.controls["model"].text() == ""
    qtbot.mouseClick(form.more, LEFT)
    for field, text in {"limit": "24", "threads": "1"}.items():
        type_text(form.controls[field], text)
    pick(form.controls["timing"], "off")
    assert "known by its tensors" in texts(window.panel(JobsPanel))
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished and window.settled, timeout=120_000)
    assert not window.failure
    result = json.loads(window.parts.history.runs()[0].result_json or "{}")
    assert result["model"]["name"] == own
    bits = {layer["name"]: layer["bits"] for layer in result["layers"]}
    layer = name.removesuffix(".weight")
    assert bits[layer] == 32
    assert 4 < bits[layer.replace(".0.", ".1.", 1)] < 5 < 8 < bits["head"] < 9

    window.store.update(recipe=Recipe())
    select_lines(window, 1)
    runs = window.panel(RunsPanel)
    qtbot.waitUntil(runs.use.isEnabled)
    qtbot.mouseClick(runs.use, LEFT)
    used = window.store.state.recipe
    checkpoint = window.preview.checkpoint
    assert checkpoint is not None
    for tensor in checkpoint.tensors:
        kind_name = checkpoint.kind_name(tensor)
        assert used.of(tensor.name, kind_name).weights == after.of(tensor.name, kind_name).weights


def test_what_is_open_is_what_jobs_are_on_and_data_are_remembered_with_it(
    qtbot: QtBot, open_window: Open, own: str, tmp_path: Path
) -> None:
    window = open_window()
    settled(qtbot, window)
    window.store.update(job=type(window.store.state.job)(model="mobilenet_v2_digits"))
    other = str(shutil.copy(own, tmp_path / "other.safetensors"))
    window.open_path(other)
    qtbot.waitUntil(lambda: window.store.state.path == other)
    job: Any = window.store.state.job
    assert (job.model, job.weights) == ("", "")


def test_weights_of_no_known_model_are_said_to_be_that_and_the_field_is_marked(qtbot: QtBot, open_window: Open) -> None:
    window = open_window(AppState(path="synthetic:laplace"))
    settled(qtbot, window)
    qtbot.mouseClick(window.panel(JobsPanel).run_button, LEFT)
    assert "Synthetic values belong to no model" in window.panel(JobsPanel).form.refusal
    assert window.panel(JobsPanel).form.controls["model"].wrong


def test_a_file_of_an_unknown_model_asks_for_the_code_that_builds_it_and_remembers_it(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10))\n"
    )
    weights = tmp_path / "own.safetensors"
    save_file({"1.weight": np.full((10, 1024), 0.5, np.float32), "1.bias": np.zeros(10, np.float32)}, weights)
    window = open_window(AppState(path=str(weights)))
    settled(qtbot, window)
    panel = window.panel(JobsPanel)
    show(qtbot, window, "jobs")
    kind = window.findChild(Combo, "job")
    assert kind is not None
    pick(kind, "evaluate")
    assert "The open file is weights only" in texts(panel)
    qtbot.mouseClick(panel.run_button, LEFT)
    assert "FILE.py:FACTORY" in panel.form.refusal
    assert panel.form.controls["model"].wrong
    trust(code)
    for field, text in {"model": f"{code}:make", "weights": str(weights), "limit": "8"}.items():
        if not panel.form.controls[field].isVisible():
            qtbot.mouseClick(panel.form.more, LEFT)
        type_text(panel.form.controls[field], text)
    pick(panel.form.controls["timing"], "off")
    for model in (f"{code}:make", ""):
        type_text(panel.form.controls["model"], model)
        type_text(panel.form.controls["weights"], str(weights) if model else "")
        qtbot.mouseClick(panel.run_button, LEFT)
        qtbot.waitUntil(lambda: not window.jobs.unfinished and window.settled, timeout=60_000)
        assert not window.failure
    runs = window.parts.history.runs()
    assert [json.loads(run.result_json or "{}")["model"]["name"] for run in runs] == [f"{code}:make"] * 2


def test_rules_are_edited_in_place_moved_removed_copied_and_pasted(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    settled(qtbot, window)
    adding = window.panel(RecipePanel).buttons["Add"]
    assert adding.isEnabledTo(adding.parentWidget())  # the tensor was chosen once the file was open
    write_recipe(qtbot, window, overrides="blocks.*=int4; head=float", activation_spec="uint8 affine")
    panel = window.panel(RecipePanel)
    assert [rule.match for rule in window.store.state.recipe.rules] == ["head", "blocks.*"]
    assert window.store.state.recipe.every.activations == QuantSpec.parse("uint8 affine")
    write_cell(panel.table, 1, 1, "int3 channel")
    assert window.store.state.recipe.rules[1].spec.weights == QuantSpec.parse("int3 channel")
    before = window.store.state.recipe
    write_cell(panel.table, 1, 1, "int3 banana")
    assert "banana" in texts(panel)
    assert window.store.state.recipe == before
    panel.table.select_keys([1])
    qtbot.mouseClick(panel.buttons["Up"], LEFT)
    assert [rule.match for rule in window.store.state.recipe.rules] == ["blocks.*", "head"]
    qtbot.mouseClick(control_named(window.docks["recipe"], "Copy the recipe"), LEFT)
    qtbot.mouseClick(panel.buttons["Remove"], LEFT)
    assert [rule.match for rule in window.store.state.recipe.rules] == ["head"]
    qtbot.mouseClick(control_named(window.docks["recipe"], "Paste the recipe"), LEFT)
    assert [rule.match for rule in window.store.state.recipe.rules] == ["blocks.*", "head"]


def test_several_rows_of_layers_get_one_spec(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    window.resize(1900, 1000)
    show(qtbot, window, "layers")
    panel = window.panel(LayersPanel)
    qtbot.waitUntil(lambda: panel.layers.scan is not None and panel.layers.scan.complete, timeout=20_000)
    table = panel.table
    titles = [column.title for column in table.lines.columns]
    names = [layer.row.name for layer in table.lines.shown if layer.row.role.weighs][:2]
    table.select_keys(names)
    index = table.index_of(names[0])
    cell = index.siblingAtColumn(titles.index("Spec"))
    table.selectionModel().setCurrentIndex(cell, table.selectionModel().SelectionFlag.NoUpdate)
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_F2)
    field = table.viewport().findChildren(QLineEdit)[-1]
    field.selectAll()
    QTest.keyClicks(field, "int3 channel")
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert [weights_of(window, name) for name in names] == [QuantSpec.parse("int3 channel")] * 2
    assert window.store.state.recipe.every == LayerSpec(QuantSpec.parse("int8 channel"))
