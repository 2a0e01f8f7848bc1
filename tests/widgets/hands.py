"""Hands and eyes of the tests: they press keys and buttons, read tooltips and names, and measure real values."""

from typing import Any

import numpy as np
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QAccessible, QHelpEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLineEdit, QTableView, QToolTip, QWidget

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze


def analysis_of(values: Any, **spec: str) -> Analysis:
    """What the spec does to the values."""
    return finish(analyze(np.asarray(values), QuantSpec.from_json(spec)))


def tooltip_at(widget: QWidget, at: QPoint) -> str:
    """What the widget says when the pointer rests there."""
    QToolTip.showText(QPoint(), "")
    event = QHelpEvent(QEvent.Type.ToolTip, at, widget.mapToGlobal(at))
    QApplication.sendEvent(widget, event)
    text = QToolTip.text()
    QToolTip.hideText()
    return text


def type_text(field: QLineEdit, text: str) -> None:
    """Write into a field as a person does, and press Return."""
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)


def write_cell(table: QTableView, row: int, column: int, text: str) -> None:
    """Change a cell of a table in place: go there, press F2, write, press Return."""
    table.setFocus()
    table.setCurrentIndex(table.model().index(row, column))
    QTest.keyClick(table, Qt.Key.Key_F2)
    field = table.viewport().findChildren(QLineEdit)[-1]
    field.selectAll()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)


def pick(combo: QComboBox, value: object) -> None:
    """Choose from a list with the keyboard: open it, go there, press Return."""
    row = combo.findData(value)
    assert row >= 0, f"{value} is not offered"
    combo.showPopup()
    view = combo.view()
    view.setCurrentIndex(combo.model().index(row, 0))
    QTest.keyClick(view, Qt.Key.Key_Return)
    combo.hidePopup()


def accessible_name(widget: QWidget) -> str:
    """The name that a screen reader says: of the buddy label, or the widget's own."""
    face = QAccessible.queryAccessibleInterface(widget)
    labels = [each.text(QAccessible.Text.Name) for each, relation in face.relations() if relation.name == "Label"]
    return next(filter(None, [*labels, widget.accessibleName()]), "")


def focusable(root: QWidget) -> list[QWidget]:
    """Every control below a widget that the keyboard reaches, but for parts of Qt's own controls."""
    every = [root, *root.findChildren(QWidget)]
    return [
        w for w in every
        if w.focusPolicy() & Qt.FocusPolicy.TabFocus and not w.objectName().startswith("qt_")
        and (isinstance(w, QAbstractButton | QLineEdit | QComboBox) or type(w).__module__.startswith("qexplorer"))
    ]  # fmt: skip
