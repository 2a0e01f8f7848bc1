"""What is said to the person: a banner that stays until it is dismissed, and a placeholder where nothing is yet."""

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from qexplorer.widgets.controls import Button, GlyphButton
from qexplorer.widgets.theme import scaled


class Banner(QWidget):
    """One message with details to unfold and copy. The same message again only counts up.

    It lies on the lower end of what it is `over`, so that nothing moves when it comes.
    """

    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None, over: QWidget | None = None) -> None:
        super().__init__(parent)
        self._over = over or parent
        if self._over is not None:
            self._over.installEventFilter(self)
        self._text = QLabel()
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setWordWrap(True)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._details = QPlainTextEdit()
        self._details.setReadOnly(True)
        self._details.setAccessibleName("Details of the message")
        self._details.setMaximumHeight(140)
        self._details.hide()
        self._more = Button("Details")
        self._more.setAccessibleName("Show the details of the message")
        self._more.setToolTip("Show what happened in full, for a report")
        self._copy = Button("Copy report")
        self._copy.setAccessibleName("Copy the report")
        self._copy.setToolTip("Copy the message and its details")
        self._close = GlyphButton("close", "Dismiss the message")
        row, buttons = QHBoxLayout(), QHBoxLayout()
        row.addWidget(self._text, 1)
        row.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        for button in (self._more, self._copy):
            buttons.addWidget(button)
        buttons.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 8, 8)
        column.addLayout(row)
        column.addLayout(buttons)
        column.addWidget(self._details)
        self._more.clicked.connect(self._on_more)
        self._copy.clicked.connect(self._on_copy)
        self._close.clicked.connect(self._on_close)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._message, self._times = "", 0
        self.compose: Callable[[str], str] = str
        """Makes the report of a message with its details."""
        self.hide()

    @property
    def text(self) -> str:
        """What it says now; empty while it is hidden."""
        return "" if self.isHidden() else self._text.text()

    def show_message(self, message: str, details: str = "") -> None:
        """Say something; `details` may be unfolded."""
        self._times = self._times + 1 if message == self._message and self.isVisible() else 1
        self._message = message
        self._text.setText(message + (f"  ({self._times} times)" if self._times > 1 else ""))
        self._details.setPlainText(details)
        self._more.setVisible(bool(details))
        self._copy.setVisible(bool(details))
        self._details.hide()
        self.show()
        self._lay()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.Move):
            self._lay()
        return super().eventFilter(watched, event)

    def _lay(self) -> None:
        """Lie on the lower end, before all else."""
        layout = self.layout()
        if self._over is None or layout is None or self.isHidden():
            return
        place = self._over.rect() if self._over is self.parentWidget() else self._over.geometry()
        layout.invalidate()
        height = min(layout.totalHeightForWidth(place.width()), place.height())
        self.setGeometry(place.left(), place.bottom() + 1 - height, place.width(), height)
        self.raise_()

    def clear(self) -> None:
        """Say nothing."""
        self._message = ""
        self._text.clear()
        self.hide()

    @property
    def report(self) -> str:
        """What Copy report copies: the message with its details, and what `compose` adds."""
        return self.compose(f"{self._message}\n\n{self._details.toPlainText()}".strip())

    def _on_more(self) -> None:
        self._details.setVisible(not self._details.isVisible())
        self._lay()

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.report)

    def _on_close(self) -> None:
        self.clear()
        self.dismissed.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self.palette()
        painter.fillRect(self.rect(), palette.color(QPalette.ColorRole.Base))
        painter.setPen(QPen(palette.color(QPalette.ColorRole.Dark), 1))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.fillRect(0, 0, 4, self.height(), palette.color(QPalette.ColorRole.BrightText))


class Placeholder(QWidget):
    """What stands in an empty panel: what it is for, what to do, and the button that does it."""

    pressed = Signal()

    def __init__(self, title: str, text: str, button: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = QLabel(title)
        self._title.setFont(scaled(1.0, bold=True))
        self._title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._text = QLabel(text)
        self._text.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        for label in (self._title, self._text):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._offers: Button | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 8, 16, 8)
        column.addStretch()
        column.addWidget(self._title)
        column.addWidget(self._text)
        if button:
            self.button = Button(button, primary=True)
            self._offers = self.button
            self.button.setAccessibleName(button.replace("&", ""))
            self.button.setToolTip(text)
            self.button.clicked.connect(self.pressed)
            column.addSpacing(8)
            column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignCenter)
        column.addStretch()

    def show_text(self, title: str, text: str, *, button: bool = True) -> None:
        """Say something else; without the `button` where there is nothing to press."""
        if self._offers is not None:
            self._offers.setVisible(button)
        self._title.setText(title)
        self._text.setText(text)
