"""What a person does in a window: bring a panel to the front, choose runs."""

from dataclasses import replace

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from qexplorer.inspection.recipe_file import to_toml
from qexplorer.main_window import MainWindow
from qexplorer.panels.recipe import RecipePanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.quant.recipe import Recipe
from qexplorer.widgets.controls import LinkButton
from tests.widgets.hands import write_cell


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


def write_recipe(qtbot: QtBot, window: MainWindow, **settings: str) -> None:
    """Write the default's specs into the table of Recipe, tick the repairs, and paste the rules of `overrides`."""
    show(qtbot, window, "recipe")
    panel = window.panel(RecipePanel)
    if "overrides" in settings:
        old = window.store.state.recipe
        new = Recipe.parse("int8", "float", settings["overrides"])
        QGuiApplication.clipboard().setText(to_toml(replace(new, every=old.every, repairs=old.repairs)))
        QTest.mouseClick(window.docks["recipe"].findChild(LinkButton, "recipe_paste"), Qt.MouseButton.LeftButton)
    for column, name in ((1, "weight_spec"), (2, "activation_spec")):
        if name in settings:
            write_cell(panel.table, panel.table.model().rowCount() - 1, column, settings[name])
    wanted = [word.partition(":")[0] for word in settings.get("repairs", "fold").split(",")]
    for name, tick in panel.ticks.ticks.items() if "repairs" in settings else ():
        if tick.isChecked() is not (name in wanted):
            QTest.mouseClick(tick, Qt.MouseButton.LeftButton, pos=QPoint(8, tick.height() // 2))
