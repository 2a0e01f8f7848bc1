"""What a person does in a window: bring a panel to the front, choose runs."""

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from qexplorer.main_window import MainWindow
from qexplorer.panels.runs import RunsPanel


def control_named(within: QWidget, name: str) -> QWidget:
    """The control whose accessible name begins so."""
    return next(each for each in within.findChildren(QWidget) if each.accessibleName().startswith(name))


def texts(within: QWidget) -> str:
    """What labels say that can be seen."""
    return "\n".join(label.text() for label in within.findChildren(QLabel) if label.isVisible())


def show(qtbot: QtBot, window: MainWindow, panel: str) -> None:
    """Bring a panel to the front, and let it be laid out."""
    window.show_panel(panel)
    qtbot.waitUntil(window.panels[panel].isVisible)
    qtbot.wait(50)
    qtbot.waitUntil(lambda: window.settled)


def select_lines(window: MainWindow, *rows: int) -> None:
    """Click lines of the table of runs, with Ctrl from the second on."""
    table = window.panel(RunsPanel).table
    for i, row in enumerate(rows):
        index = table.lines.index(row, 0)
        table.scrollTo(index)
        modifier = Qt.KeyboardModifier.ControlModifier if i else Qt.KeyboardModifier.NoModifier
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, modifier, table.visualRect(index).center())
