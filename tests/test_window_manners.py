"""What holds of the whole window: everything has a name, nothing is cut, the keyboard reaches it all."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QMenu, QWidget
from pytestqt.qtbot import QtBot
from window_by_hand import Open, click_option, click_tensor, go

from qexplorer.errors import UserError
from qexplorer.panels.distribution import DistributionPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.panels.weights import WeightsPanel
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Button, Combo
from qexplorer.widgets.fields import Listed
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.settings_row import SettingsRow
from tests.widgets.hands import pick, type_text


def test_an_empty_window_says_in_each_panel_what_to_do(qtbot: QtBot, open_window: Open) -> None:
    window = open_window(AppState(), settle=False)
    for name in ("weights", "distribution", "error", "runs"):
        window.show_panel(name)
        texts = [label.text() for label in window.panels[name].findChildren(QLabel) if label.isVisible()]
        assert any(len(text) > 30 for text in texts), name
    go(qtbot, window, "explore")
    button = window.panel(WeightsPanel)._empty.button
    assert button.isVisible()
    assert "Select a tensor" in [label.text() for label in window.panels["metrics"].findChildren(QLabel)]


def test_a_tensor_that_cannot_be_divided_so_is_said_beside_the_control(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    choices = window.findChild(Listed, "granularity")
    assert choices is not None
    pick(choices, "channel")
    qtbot.waitUntil(lambda: window.preview.analysis is not None and len(window.preview.analysis.params.scale) > 1)
    click_option(qtbot, window, "bits", "int8")
    axis = window.findChild(SettingsRow, "granularity_settings").fields["axis"]
    type_text(axis, "3")
    click_tensor(qtbot, window, "features.12.conv.0.1.weight")
    distribution = window.panel(DistributionPanel)
    qtbot.waitUntil(lambda: bool(distribution.banner.text))
    assert "Axis 3" in distribution.banner.text
    pick(choices, "tensor")
    qtbot.waitUntil(lambda: not distribution.banner.text)


def test_a_counter_is_not_taken_for_a_weight(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    click_tensor(qtbot, window, "features.12.conv.0.1.num_batches_tracked")
    distribution = window.panel(DistributionPanel)
    qtbot.waitUntil(lambda: "int64" in distribution.banner.text)
    click_tensor(qtbot, window, "features.12.conv.0.1.bias")
    qtbot.waitUntil(lambda: not distribution.banner.text)


def controls_of(window: QWidget) -> list[QWidget]:
    kinds = (QAbstractButton, QComboBox, QLineEdit, Segmented)
    return [w for kind in kinds for w in window.findChildren(kind) if w.focusPolicy() != Qt.FocusPolicy.NoFocus]


def test_every_control_has_a_name_and_a_tooltip_that_explains(open_window: Open) -> None:
    window = open_window()
    for control in controls_of(window):
        if control.objectName().startswith("qt_"):
            continue
        where = f"{type(control).__name__} {control.objectName()} in {type(control.parent()).__name__}"
        assert control.accessibleName(), where
        assert len(control.toolTip()) > 4, where


def test_mnemonics_are_unique_in_each_menu_and_among_the_menus(open_window: Open) -> None:
    window = open_window()

    def letters(actions: list[QAction]) -> list[str]:
        texts = [a.text().replace("&&", "") for a in actions if a.isVisible()]
        return [t[t.index("&") + 1].lower() for t in texts if "&" in t]

    for menu in window.findChildren(QMenu):
        assert len(letters(menu.actions())) == len(set(letters(menu.actions()))), menu.title()
    bar = window.menuWidget().findChild(QWidget).actions()
    labels = [w.text() for w in window.findChildren(QLabel) if w.buddy()]
    buttons = [b.text() for b in window.findChildren(Button)]
    own = letters(bar) + [t[t.index("&") + 1].lower() for t in labels + buttons if "&" in t]
    visible = [b for b in own if b]
    assert len(visible) == len(set(visible)), sorted(visible)


@pytest.mark.parametrize("workspace", ["explore", "quantize", "learn"])
@pytest.mark.parametrize("size", [(1000, 640), (1920, 1080)])
def test_no_label_or_button_is_cut(qtbot: QtBot, open_window: Open, size: tuple[int, int], workspace: str) -> None:
    window = open_window()
    window.resize(*size)
    qtbot.waitUntil(lambda: window.width() == size[0])
    go(qtbot, window, workspace)
    qtbot.wait(50)
    for widget in window.findChildren(QWidget):
        if not widget.isVisible():
            continue
        if (
            isinstance(widget, QLabel)
            and not widget.wordWrap()
            and widget.text()
            and widget.sizePolicy().horizontalPolicy().name != "Ignored"
        ):
            assert widget.sizeHint().width() <= widget.width() + 1, widget.text()
        if isinstance(widget, Button):
            assert widget.fontMetrics().horizontalAdvance(widget.text().replace("&", "")) <= widget.width(), (
                widget.text()
            )
        if isinstance(widget, Combo):
            room = widget.width() - 30
            assert widget.fontMetrics().horizontalAdvance(widget.currentText()) <= room, widget.currentText()
    assert (window.width(), window.height()) == size  # the panels ask for no more


def test_the_tab_key_reaches_every_panel(qtbot: QtBot, open_window: Open) -> None:
    window = open_window()
    reached: set[str] = set()
    for workspace, first in (("explore", "weights"), ("quantize", "jobs"), ("learn", "learn")):
        go(qtbot, window, workspace)
        window.panels[first].setFocus()
        for _ in range(50):
            focus = window.focusWidget()
            for name, dock in window.docks.items():
                if focus is not None and dock.isAncestorOf(focus):
                    reached.add(name)
            qtbot.keyClick(window.focusWidget() or window, Qt.Key.Key_Tab)
    assert reached >= {"weights", "scheme", "distribution", "error", "jobs", "runs", "layers", "learn"}


def test_a_damaged_history_is_said_and_the_window_opens_nevertheless(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    (tmp_path / "history.sqlite3").write_bytes(b"this is not a database, although it has its name")
    window = open_window(settle=False)
    qtbot.waitUntil(lambda: "history.sqlite3" in window.panel(RunsPanel).banner.text)
    with pytest.raises(UserError):
        window.parts.history.runs()
    qtbot.waitUntil(lambda: window.preview.analysis is not None)
