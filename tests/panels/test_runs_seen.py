"""What Runs, Result and Compare show of a history, whose runs are written down here and not run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMenu, QMessageBox
from pytestqt.qtbot import QtBot

from qexplorer.engine.datasets import open_dataset
from qexplorer.engine.jobs import jobs
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import EVALUATED
from qexplorer.engine.runs.results import Row
from qexplorer.main_window import MainWindow
from qexplorer.panels.compare import ComparePanel
from qexplorer.panels.result import ResultPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Button
from qexplorer.widgets.elided import Elided
from qexplorer.widgets.segmented import Segmented
from tests.few_digits import few_digits
from tests.panels.in_window import control_named, select_lines, show, texts
from tests.results import a_result

LEFT = Qt.MouseButton.LeftButton
FP32 = Row("fp32", "REAL", "float", 1_000_000, 1_010_000, 1.0, (0.6, 1.0), 1.0, 4, 0, {}, 1)
X86 = replace(FP32, name="x86", engine="x86", bytes_theoretical=300_000, bytes_on_disk=328_020)
W4 = replace(FP32, name="w4a32", kind="SIMULATED", engine="cpu", bytes_theoretical=150_000, top1=0.5)
SPEC = {"weight_spec": "int4 channel:0", "activation_spec": "float", "repairs": ["fold", "gptq"], "overrides": ""}
Open = Callable[..., MainWindow]


@pytest.fixture
def first(quantizing: AppState) -> AppState:
    return quantizing


@pytest.fixture
def history(tmp_path: Path) -> History:
    """That of the window."""
    return History(tmp_path / "history.sqlite3")


def enter(history: History, job: str, *rows: Row, n: int = 4, said: list[list[int]] | None = None, data: str = "d",
          **parts: Any) -> str:  # fmt: skip
    """A run that is done; `said` are each row's predictions."""
    run_id = history.start(job, {"model": "vit_digits"})
    models = {"model": {"name": "vit_digits", "sha256": parts.pop("weights", "a")},
              "data": {"name": "digits", "calibration_n": 0, "sha256": data}}  # fmt: skip
    every = tuple(replace(row, n=n) for row in (FP32, *rows))
    spec = {**SPEC, "data": few_digits(), **parts.pop("spec", {})}
    result = a_result(job, *every, run_id=run_id, **models, spec=spec, history=parts.pop("points", []), **parts)
    history.finish(run_id, result.to_json())
    for row, predictions in zip(every, said or [], strict=False):
        history.journal(run_id).put(
            f"{EVALUATED}{row.name}", {"predictions": predictions, "labels": [0] * len(predictions)}
        )
    return run_id


def select(window: MainWindow, *keys: tuple[str, str]) -> None:
    """Click the lines of these keys, with Ctrl from the second on."""
    every = [line.key for line in window.panel(RunsPanel).table.lines.shown]
    select_lines(window, *(every.index(key) for key in keys))


def choose_pair(qtbot: QtBot, window: MainWindow) -> ComparePanel:
    show(qtbot, window, "compare")
    panel = window.panel(ComparePanel)
    which = panel.findChild(Segmented)
    assert which is not None
    qtbot.mouseClick(which, LEFT, pos=which.rect_of("pair").center().toPoint())
    qtbot.waitUntil(lambda: window.settled)
    return panel


def test_the_figures_are_those_of_the_selected_row_which_is_named(
    qtbot: QtBot, open_window: Open, history: History
) -> None:
    layers = [{"row": row, "name": "head", "output_sqnr_db": db} for row, db in (("x86", 40.0), ("w4a32", 20.0))]
    run_id = enter(history, "ptq-static", X86, W4, layers=layers)
    window = open_window()
    panel = window.panel(ResultPanel)
    assert [bar.value for bar in panel.bars.lines.shown] == [20.0]
    select(window, (run_id, "x86"))
    assert [bar.value for bar in panel.bars.lines.shown] == [40.0]
    show(qtbot, window, "result")
    assert "PTQ static · x86 · vit_digits" in texts(panel)
    select(window, (run_id, "fp32"))
    assert not panel.bars.isVisible()
    assert "FP32 has no figures of layers\nIn Runs, select x86 or int4 channel:0 · gptq." in texts(panel)


def test_rows_are_told_apart_by_spec_and_repairs(open_window: Open, history: History) -> None:
    enter(history, "weight-only", W4)
    enter(history, "qat", replace(W4, name="qat-w4a8"), spec={"activation_spec": "uint8 affine", "repairs": "fold"})
    enter(history, "bit-budget", replace(W4, name="mixed-3.99-bits"), spec={"repairs": "fold"})
    window = open_window()
    lines = window.panel(RunsPanel).table.lines.shown
    titles = [line.title for line in lines if line.before is not None]
    assert titles == [
        "Bit budget · mixed 3.99 bits",
        "QAT · int4 channel:0 / uint8 affine",
        "Weight only · int4 channel:0 · gptq",
    ]
    assert "weights int4 channel:0\nactivations float\nrepairs fold, gptq" in lines[-1].about


def test_after_a_run_was_deleted_another_is_shown(qtbot: QtBot, open_window: Open, history: History) -> None:
    layers = [{"row": "w4a32", "name": "head", "output_sqnr_db": 20.0}]
    kept = enter(history, "weight-only", W4, layers=layers)
    gone = enter(history, "weight-only", W4, layers=layers)
    window = open_window()
    select(window, (gone, "w4a32"), (kept, "w4a32"))
    panel = choose_pair(qtbot, window)
    select(window, (gone, "w4a32"))
    runs = window.panel(RunsPanel)
    qtbot.mouseClick(runs.delete, LEFT)
    question = runs.findChild(QMessageBox)
    assert question is not None
    default = question.defaultButton()
    assert default is not None
    assert default.text() == "Keep"
    qtbot.mouseClick(next(b for b in question.buttons() if b.text() == "Delete"), LEFT)
    qtbot.waitUntil(lambda: len(runs.table.lines.shown) == 2 and window.settled)
    assert window.parts.runs.result is not None
    assert window.parts.runs.result.run_id == kept
    assert panel.banner.text == ""
    show(qtbot, window, "result")
    assert window.panel(ResultPanel).bars.isVisible()


def test_a_run_that_failed_has_a_row_which_says_why_and_can_be_annotated_and_deleted(
    qtbot: QtBot, open_window: Open, history: History
) -> None:
    failed = history.start("qat", {"model": "vit_digits", **SPEC, "repairs": "fold,gptq"})
    history.fail(failed, "The disk is full. Free some space.")
    cancelled = history.start("evaluate", {"model": "vit_digits"})
    history.cancel(cancelled)
    window = open_window()
    runs = window.panel(RunsPanel)
    above, below = runs.table.lines.shown
    assert (above.row, below.row) == (None, None)
    assert (above.title, above.kernels) == ("Evaluate · ViT · digits", "cancelled")
    assert (below.title, below.kernels) == ("QAT · int4 channel:0 · gptq", "failed")
    select(window, (failed, ""))
    show(qtbot, window, "result")
    assert f"QAT: failed\n{below.why}" in texts(window.panel(ResultPanel))
    assert runs.note.isEnabled()
    assert not runs.train.isEnabled()
    qtbot.mouseClick(runs.resume, LEFT)
    menu = next(w for w in QApplication.topLevelWidgets() if isinstance(w, QMenu) and w.isVisible())
    assert [action.text().split(",")[0] for action in menu.actions()] == [
        "Evaluate · ViT · digits",
        "QAT · int4 channel:0 · gptq",
    ]
    menu.close()
    qtbot.mouseClick(runs.delete, LEFT)
    question = runs.findChild(QMessageBox)
    assert question is not None
    qtbot.mouseClick(next(b for b in question.buttons() if b.text() == "Delete"), LEFT)
    qtbot.waitUntil(lambda: [run.run_id for run in history.runs()] == [cancelled])


def test_of_the_float_model_alone_the_result_says_where_its_figures_are(
    qtbot: QtBot, open_window: Open, history: History
) -> None:
    enter(history, "evaluate")
    window = open_window()
    show(qtbot, window, "result")
    assert "Evaluate measures only the float model; its figures are in Runs." in texts(window.panel(ResultPanel))


def test_no_image_is_said_to_be_unchanged_before_the_images_were_read(
    qtbot: QtBot, open_window: Open, history: History
) -> None:
    data = finish(open_dataset(few_digits())).sha256
    run_id = enter(history, "weight-only", W4, said=[[0, 0, 0, 0], [0, 1, 1, 0]], data=data)
    window = open_window()
    select(window, (run_id, "fp32"), (run_id, "w4a32"))
    panel = choose_pair(qtbot, window)
    assert "2 of 4 predictions differ" in texts(panel)
    assert "int4 channel:0 · gptq is right on 0 images on which FP32 is wrong" in panel.test.text
    images = control_named(panel, "Show the images")
    assert images.isVisible()
    assert not panel.flips.isVisible()
    heights = window.height(), window.docks["jobs"].height()
    qtbot.mouseClick(images, LEFT)
    qtbot.waitUntil(panel.flips.isVisible)
    assert panel.flips.text == "2 images changed: 0 put right, 2 made wrong"
    qtbot.wait(50)
    assert (window.height(), window.docks["jobs"].height()) == heights
    same = enter(history, "evaluate", said=[[0, 0, 0, 0]], data=data)
    window.parts.runs.reload()
    qtbot.waitUntil(lambda: window.settled)
    select(window, (same, "fp32"), (run_id, "fp32"))
    qtbot.waitUntil(lambda: window.settled)
    assert panel.flips.isVisible()
    assert panel.flips.text == "No image changed"


def test_how_many_runs_are_not_compared_and_why_is_told(qtbot: QtBot, open_window: Open, history: History) -> None:
    enter(history, "weight-only", W4, data="other")
    enter(history, "weight-only", W4, n=3)
    enter(history, "weight-only", W4, n=3)
    enter(history, "weight-only", W4, weights="others")
    enter(history, "weight-only", W4)
    window = open_window()
    show(qtbot, window, "compare")
    panel = window.panel(ComparePanel)
    assert "Left out: 4 runs – 2 tested on 3 samples, 1 of other weights, 1 on other data." in texts(panel)
    assert [point.title for point in panel.plot.points] == ["int4 channel:0 · gptq", "FP32"]


def test_what_is_chosen_in_compare_is_selected_in_runs(qtbot: QtBot, open_window: Open, history: History) -> None:
    run_id = enter(history, "weight-only", W4)
    window = open_window()
    show(qtbot, window, "compare")
    window.panel(ComparePanel).plot.chosen.emit((run_id, "w4a32"))
    assert window.panel(RunsPanel).table.selected_keys == ((run_id, "w4a32"),)


def test_a_repair_that_was_tried_is_taken_into_the_next_job(qtbot: QtBot, open_window: Open, history: History) -> None:
    trials = {"rounding to nearest": 20.0, "GPTQ": 31.0, "as chosen": 21.0}
    layers = [{"name": name, "layer": "head", "output_sqnr_db": db} for name, db in trials.items()]
    enter(history, "repair", spec={"layer": "head", "repairs": "fold,mse_clip", "weights": "", "model": "vit_digits"},
          layers=layers)  # fmt: skip
    window = open_window()
    show(qtbot, window, "result")
    panel = window.panel(ResultPanel)
    assert "Repair preview of head · vit_digits" in texts(panel)
    assert panel.bars.lines.headerData(0, Qt.Orientation.Horizontal) == "Repair"
    use = panel.findChild(Button, "use_repair")
    assert not use.isEnabled()
    for job, expected in ((jobs["weight-only"](weight_spec="int3"), "int3"), (jobs["evaluate"](), "int4 channel:0")):
        window.store.update(job=job, recipe=Recipe.parse("int3", "", ""))
        at = panel.bars.lines.row_of("GPTQ")
        qtbot.mouseClick(panel.bars.viewport(), LEFT, pos=panel.bars.visualRect(panel.bars.lines.index(at, 0)).center())
        qtbot.mouseClick(use, LEFT)
        taken: Any = window.store.state.job
        assert (taken.name, taken.weight_spec, taken.repairs) == ("weight-only", expected, "fold,gptq")
        assert "with this repair" in texts(panel)


def test_curves_say_what_they_are_and_which_epoch_was_kept(open_window: Open, history: History) -> None:
    points = [{"epoch": i, "loss": 2.0 - i, "train_top1": 0.9, "validation_top1": 0.8 - i / 10, "best": i == 0,
               "scales": {"head": 0.5 + i}} for i in range(2)]  # fmt: skip
    enter(history, "qat", replace(W4, name="qat-w4a32"), points=points)
    panel = open_window().panel(ResultPanel)
    assert list(panel.curves.plots) == ["Training loss", "Top-1 (%)", "Scale, relative to the first epoch"]
    kept = panel.curves.plots["Top-1 (%)"].curves[-1]
    assert (kept.title, list(kept.xs), list(kept.ys)) == ("Epoch 1 is kept", [1], [80.0])


def test_the_controls_of_a_result_leave_the_names_of_panels_their_room(
    qtbot: QtBot, open_window: Open, history: History
) -> None:
    layers = [{"row": "w4a32", "name": "head", "output_sqnr_db": 20.0, "bits": 4.0}]
    enter(history, "weight-only", W4, layers=layers)
    window = open_window()
    assert window.width() == 1280
    show(qtbot, window, "result")
    panel, tabs = window.panel(ResultPanel), window.docks["result"].title_bar.tabs
    assert control_named(panel, "Figure shown").isVisible()
    assert all(tabs.tabRect(i).width() >= tabs.tabSizeHint(i).width() for i in range(tabs.count()))
    subject = panel.findChild(Elided)
    assert subject is not None
    assert subject.width() > subject.fontMetrics().horizontalAdvance(subject.text())
