"""Text that gives way to its neighbours."""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

LEAST = "INT8 sym …"
"""It is no narrower than this."""


class Elided(QLabel):
    """A line of plain text; what does not fit ends in an ellipsis. It takes what others leave, or what it `wants`."""

    def __init__(self, parent: QWidget | None = None, *, wants: bool = False) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        across = QSizePolicy.Policy.Maximum if wants else QSizePolicy.Policy.Ignored
        self.setSizePolicy(across, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(LEAST), self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        place = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, place.width())
        painter.drawText(place, self.alignment(), text)


def subject() -> Elided:
    """What a panel is about, before its controls."""
    label = Elided()
    label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
    return label
