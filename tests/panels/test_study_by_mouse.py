"""The Study panel where its study runs on a cluster: the address, and the files that tls:// needs."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QLabel
from pytestqt.qtbot import QtBot

from qexplorer.app import first_state
from qexplorer.cluster.address import Tls
from qexplorer.engine.runs.results import Row
from qexplorer.engine.studies.status import DONE, FAILED, RunStatus, StudyProgress, StudyResult
from qexplorer.main_window import MainWindow
from qexplorer.panels.study import StudyPanel
from qexplorer.state.app_state import AppState, StudyChoice
from qexplorer.state.runner import Task
from qexplorer.state.session import load_session
from qexplorer.widgets.controls import Button, Field
from tests.certificates import make_pems
from tests.dask_processes import Processes
from tests.tiny_study import TINY
from tests.widgets.hands import type_text

LEFT = Qt.MouseButton.LeftButton
Open = Callable[..., MainWindow]
ADDRESS = "tls://127.0.0.1:8786"


@pytest.fixture
def first(quantizing: AppState) -> AppState:
    return quantizing


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return make_pems(tmp_path, "own")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def panel_of(qtbot: QtBot, window: MainWindow) -> StudyPanel:
    window.show_panel("study")
    qtbot.waitUntil(window.panels["study"].isVisible)
    qtbot.wait(50)  # for it to be laid out
    return window.panel(StudyPanel)


def field(panel: StudyPanel, name: str) -> Field:
    found = panel.findChild(Field, f"study_{name}")
    assert found is not None
    return found


def fill(panel: StudyPanel, tls: Tls, on: str = ADDRESS) -> None:
    type_text(field(panel, "where"), on)
    for part in dataclasses.fields(tls):
        type_text(field(panel, part.name), getattr(tls, part.name))


def said(panel: StudyPanel) -> str:
    """What stands beside the fields, on screen."""
    label = panel.findChild(QLabel, "study_refusal")
    assert label is not None
    return label.text() if label.isVisible() else ""


def wrong(panel: StudyPanel) -> list[str]:
    return [name for name in ("file", "where", "ca", "cert", "key") if field(panel, name).wrong]


def test_the_files_for_tls_are_asked_for_where_the_address_needs_them(qtbot: QtBot, open_window: Open) -> None:
    panel = panel_of(qtbot, open_window())
    for on, seen in (("local", False), ("tls://cluster:8786", True), ("tcp://cluster:8786", False), ("tls://", True)):
        type_text(field(panel, "where"), on)
        assert [field(panel, part).isVisible() for part in ("ca", "cert", "key")] == [seen] * 3
        assert ("not encrypted" in said(panel)) == (on == "tcp://cluster:8786")
    assert wrong(panel) == ["where"]
    assert "“tls://”" in said(panel)


def test_what_is_wrong_with_a_file_is_said_beside_it_and_only_then(
    qtbot: QtBot, open_window: Open, tls: Tls, tmp_path: Path
) -> None:
    window = open_window()
    panel = panel_of(qtbot, window)
    type_text(field(panel, "where"), ADDRESS)
    assert (wrong(panel), said(panel)) == ([], "")  # nobody has had the time yet
    fill(panel, tls)
    assert (wrong(panel), said(panel)) == ([], "")
    other = make_pems(tmp_path, "other")
    for part, path, why in (
        ("ca", str(tmp_path / "none.pem"), "The CA file "),
        ("cert", tls.key, "no certificate in PEM format. Give a PEM file."),
        ("key", other.key, "certificate. Give a PEM file without a passphrase."),
    ):
        type_text(field(panel, part), path)
        assert wrong(panel) == [part]
        assert why in said(panel)
        assert why in field(panel, part).toolTip()
        label = next(x for x in panel.findChildren(QLabel) if x.text() == said(panel))
        assert label.width() >= label.fontMetrics().horizontalAdvance("x" * 20)
        type_text(field(panel, part), getattr(tls, part))
        assert (wrong(panel), said(panel)) == ([], "")
    type_text(field(panel, "key"), other.key)
    type_text(field(panel, "where"), "local")
    assert (wrong(panel), said(panel)) == ([], "")


def test_a_study_is_not_started_without_its_files(qtbot: QtBot, open_window: Open, study: Path, tls: Tls) -> None:
    window = open_window()
    panel = panel_of(qtbot, window)
    type_text(field(panel, "file"), str(study))
    fill(panel, Tls(tls.ca))
    qtbot.mouseClick(panel.run_button, LEFT)
    assert not window.jobs.tasks
    assert wrong(panel) == ["cert"]
    assert said(panel) == "tls:// needs a certificate. Give a PEM file."


def test_a_file_is_chosen_by_mouse(qtbot: QtBot, open_window: Open, tls: Tls) -> None:
    window = open_window()
    panel = panel_of(qtbot, window)
    fill(panel, dataclasses.replace(tls, key=""))
    button = next(b for b in panel.findChildren(Button) if b.accessibleName() == "Choose Key")
    qtbot.mouseClick(button, LEFT)
    dialog = panel.findChild(QFileDialog)
    assert dialog is not None
    dialog.fileSelected.emit(tls.key)
    dialog.reject()
    assert field(panel, "key").text() == tls.key
    assert window.store.state.study.key == tls.key
    assert said(panel) == ""


def test_what_was_chosen_is_remembered_as_paths_and_can_be_taken_back(
    qtbot: QtBot, open_window: Open, study: Path, tls: Tls, tmp_path: Path
) -> None:
    window = open_window()
    panel = panel_of(qtbot, window)
    type_text(field(panel, "file"), str(study))
    fill(panel, tls)
    chosen = StudyChoice(str(study), ADDRESS, tls.ca, tls.cert, tls.key)
    assert window.store.state.study == chosen
    window.store.undo()
    assert field(panel, "key").text() == ""
    window.store.redo()
    assert field(panel, "key").text() == tls.key
    window.close()
    text = (tmp_path / "session.json").read_text(encoding="utf-8")
    assert json.loads(text)["state"]["study"] == dataclasses.asdict(chosen)
    assert "PRIVATE" not in text

    state = load_session(tmp_path / "session.json")
    assert state is not None
    again = panel_of(qtbot, open_window(dataclasses.replace(first_state(), study=state.study, workspace="quantize")))
    assert [field(again, name).text() for name in ("file", "where", "ca", "cert", "key")] == [
        str(study), ADDRESS, tls.ca, tls.cert, tls.key,
    ]  # fmt: skip
    assert field(again, "ca").isVisible()


def test_a_study_runs_over_tls_by_mouse(qtbot: QtBot, open_window: Open, study: Path, tls: Tls, tmp_path: Path) -> None:
    processes = Processes(tmp_path, tls)
    try:
        processes.add_worker()
        window = open_window()
        panel = panel_of(qtbot, window)
        type_text(field(panel, "file"), str(study))
        fill(panel, tls, processes.address)
        qtbot.mouseClick(panel.run_button, LEFT)
        qtbot.waitUntil(lambda: bool(window.parts.history.runs()) and not window.jobs.unfinished, timeout=90_000)
        assert not window.failure
        assert [line.status for line in panel.table.lines.shown] == ["done"]
        (run,) = window.parts.history.runs()
        model = json.loads(run.result_json or "")["rows"][1]["artifact"]
        assert Path(model).parent == window.parts.history.folder(run.run_id)
        assert Path(model).is_file()
    finally:
        processes.close()


def test_every_field_keeps_its_name_when_it_is_filled(qtbot: QtBot, open_window: Open, tls: Tls) -> None:
    panel = panel_of(qtbot, open_window())
    fill(panel, tls)
    titles = {
        label.buddy(): label.text() for label in panel.findChildren(QLabel) if label.buddy() and label.isVisible()
    }
    named = {name: titles[field(panel, name)] for name in ("file", "where", "ca", "cert", "key")}
    assert named == {
        "file": "Study file", "where": "Run on", "ca": "CA file", "cert": "Certificate", "key": "Key",
    }  # fmt: skip


def test_a_run_that_is_done_is_looked_at_with_a_click(
    qtbot: QtBot, open_window: Open, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("w4a32", "SIMULATED", "cpu", 10, 10, 0.5, (0.1, 0.9), 1.0, 2, 0, {}, 1)
    done = RunStatus(1, "a", "int4", "weight-only", {}, DONE, "a-run", 1.0, rows=(row,))
    failed = RunStatus(2, "b", "int2", "weight-only", {}, FAILED, error="no")

    def steps(*_: object, **__: object) -> Iterator[StudyProgress]:
        yield StudyProgress("2/2 int2", fraction=0.5, runs=(done, failed))
        return StudyResult("id", "Tiny", (done, failed))

    monkeypatch.setattr("qexplorer.panels.study.run_study", steps)
    window = open_window()
    panel = panel_of(qtbot, window)
    type_text(field(panel, "file"), str(study))
    qtbot.mouseClick(panel.run_button, LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished and window.settled)
    looked: list[object] = []
    monkeypatch.setattr(window.parts.runs, "choose", looked.append)
    for i in (1, 0):
        at = panel.table.visualRect(panel.table.lines.index(i, 0)).center()
        qtbot.mouseClick(panel.table.viewport(), LEFT, pos=at)
    assert looked == [(("a-run", "w4a32"),)]


def test_the_size_says_which_one_it_is_and_the_time_left_is_in_words(
    qtbot: QtBot, open_window: Open, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps(*_: object, **__: object) -> Iterator[StudyProgress]:
        while True:
            yield StudyProgress("1/2 int4", fraction=0.5)

    monkeypatch.setattr("qexplorer.panels.study.run_study", steps)
    monkeypatch.setattr(Task, "seconds_left", 94.0)
    window = open_window()
    panel = panel_of(qtbot, window)
    type_text(field(panel, "file"), str(study))
    qtbot.mouseClick(panel.run_button, LEFT)
    label = next(x for x in window.docks["study"].findChildren(QLabel) if x.text() == "1 runs")
    qtbot.waitUntil(lambda: label.text() == "1/2 int4, 2 min left")
    header = panel.table.lines.headerData
    assert header(4, Qt.Orientation.Horizontal) == "Theoretical"
    assert "in their formats" in header(4, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)


def test_a_run_that_was_cancelled_with_its_study_does_not_look_as_if_it_ran(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    path = tmp_path / "long.toml"
    path.write_text(TINY + 'repairs = "fold,adaround:30000"\n[grid]\nseed = [0, 1]\n', encoding="utf-8")
    window = open_window()
    panel = panel_of(qtbot, window)
    type_text(field(panel, "file"), str(path))
    qtbot.mouseClick(panel.run_button, LEFT)
    qtbot.waitUntil(lambda: any(cell.status == "running" for cell in panel.runs), timeout=20_000)
    qtbot.mouseClick(panel.cancel_button, LEFT)
    qtbot.waitUntil(lambda: not window.jobs.unfinished, timeout=20_000)
    assert [cell.status for cell in panel.runs] == ["cancelled", "waiting"]
