"""The window, as its tests use it."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from qexplorer.main_window import MainWindow
from qexplorer.panels.weights import WeightsPanel
from qexplorer.widgets.segmented import Segmented

LEFT = Qt.MouseButton.LeftButton


Open = Callable[..., MainWindow]


def click_option(qtbot: QtBot, window: QWidget, name: str, value: object) -> None:
    control = window.findChild(Segmented, name)
    assert control is not None
    qtbot.mouseClick(control, LEFT, pos=control.rect_of(value).center().toPoint())


def go(qtbot: QtBot, window: MainWindow, workspace: str) -> None:
    """Press the switch between workspaces."""
    click_option(qtbot, window, "workspace", workspace)
    qtbot.waitUntil(lambda: window.workspaces.here.name == workspace)


def click_tensor(qtbot: QtBot, window: MainWindow, name: str) -> None:
    tree = window.panel(WeightsPanel)._tree
    index = tree.filter.mapFromSource(tree.tensors.index_of(name))
    tree.expand(index.parent())
    tree.scrollTo(index)
    qtbot.mouseClick(tree.viewport(), LEFT, pos=tree.visualRect(index).center())
