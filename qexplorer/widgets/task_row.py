"""One job on its way: what it does now, a thin line of progress, the time left, and Cancel."""

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from qexplorer.numbers import duration
from qexplorer.widgets.controls import Button, caption
from qexplorer.widgets.elided import subject
from qexplorer.widgets.theme import scaled


class ThinBar(QWidget):
    """A line that fills up."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.share = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Progress")

    def show_share(self, share: float) -> None:
        """Fill it to a share between 0 and 1."""
        self.share = min(max(share, 0.0), 1.0)
        self.setAccessibleDescription(f"{self.share:.0%}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(120, 4)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        whole = QRectF(self.rect())
        for share, role in ((1.0, QPalette.ColorRole.Mid), (self.share, QPalette.ColorRole.Accent)):
            painter.setBrush(self.palette().color(role))
            if share > 0:
                painter.drawRoundedRect(QRectF(0, 0, max(whole.width() * share, 6), whole.height()), 2, 2)


class TaskRow(QWidget):
    """Value in: what is known of the task; signal out: the wish to cancel it."""

    cancel_pressed = Signal(int)

    def __init__(self, number: int, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.number = number
        name = QLabel(title)
        name.setTextFormat(Qt.TextFormat.PlainText)
        name.setFont(scaled(1.0, bold=True))
        self._phase = subject()
        self._phase.setText("waiting")
        self.bar = ThinBar()
        self._left = caption("")
        self.cancel = Button("Cancel")
        self.cancel.setObjectName(f"cancel_{number}")
        self.cancel.setAccessibleName(f"Cancel {title}")
        self.cancel.setToolTip("Stop this job; Resume in Runs goes on from its last finished step")
        self.cancel.clicked.connect(self._on_cancel)
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.setSpacing(10)
        for widget, stretch in ((name, 0), (self._phase, 1), (self._left, 0), (self.cancel, 0)):
            row.addWidget(widget, stretch, Qt.AlignmentFlag.AlignVCenter)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.bar)

    def show_progress(self, phase: str, share: float | None, seconds_left: float | None) -> None:
        """Show what it does and how far it is."""
        if not self.cancel.isEnabled():
            return
        self._phase.setText(phase)
        if share is not None:
            self.bar.show_share(share)
        self._left.setText(f"{duration(seconds_left)} left" if seconds_left is not None else "")

    def show_cancelling(self) -> None:
        """Say that the wish was heard."""
        self.cancel.setEnabled(False)
        self._phase.setText("Cancelling …")
        self._left.clear()

    def _on_cancel(self) -> None:
        self.show_cancelling()
        self.cancel_pressed.emit(self.number)
