"""What runs and what waits: a row for each, in room that is reserved, so that nothing else moves."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from qexplorer.widgets.controls import caption
from qexplorer.widgets.task_row import TaskRow
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import thin_scroll_bars

ROOM = 3
"""So many rows have room; more of them scroll."""
GAP = 4


class JobQueue(QScrollArea):
    """Rows in, the one that runs first; a hint where there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.hint = caption("")
        self.hint.setWordWrap(True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignTop)
        content = QWidget()
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(GAP)
        self._column.addWidget(self.hint)
        self._column.addStretch()
        self._n = 0
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content.setAutoFillBackground(False)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        self.setFixedHeight(ROOM * TaskRow(0, "").sizeHint().height() + (ROOM - 1) * GAP)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        thin_scroll_bars(self, theme)

    def add(self, row: TaskRow) -> None:
        """Show one more."""
        self._column.insertWidget(self._n, row)
        self._n += 1
        self.hint.hide()

    def remove(self, row: TaskRow) -> None:
        """Show one less."""
        self._column.removeWidget(row)
        row.hide()
        row.deleteLater()
        self._n -= 1
        self.hint.setVisible(not self._n)
