"""A line of text beside which some are offered: any may be written, and the usual ones are a click away."""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QPoint, QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QMenu, QWidget

from qexplorer.widgets.controls import PAD, Field, paint_chevron

EMPTY = "(empty)"
ROOM = 20


class Offered(Field):
    """Value in: a text, and texts to offer; signals out: that these are about to be seen, and that the person wrote or
    took one. The chevron, or Down, opens them where there are any.
    """

    opening = Signal()
    committed = Signal()

    def __init__(self, offers: Sequence[str] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.offers = list(offers)
        self._lines: Mapping[str, str] = {}
        if offers:
            self.setTextMargins(PAD - 2, 0, ROOM, 0)
        self.editingFinished.connect(self.committed)

    @property
    def value(self) -> Any:
        """What stands there."""
        return self.text().strip()

    def show_value(self, value: Any) -> None:
        """Show another text, from its beginning, which says what it is."""
        if value != self.text():
            self.setText(value)
            self.setCursorPosition(0)

    def show_offers(self, offers: Sequence[str], lines: Mapping[str, str] | None = None) -> None:
        """Offer these from now on; `lines` say what stands there for a text that says too little by itself."""
        self.offers, self._lines = list(offers), lines or {}
        if offers:
            self.setTextMargins(PAD - 2, 0, ROOM, 0)

    def open_offers(self) -> QMenu:
        """Show what is offered, below the field."""
        self.opening.emit()
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for text in self.offers:
            action = menu.addAction((self._lines.get(text, text) or EMPTY).replace("&", "&&"))
            action.setData(text)
            action.setCheckable(True)
            action.setChecked(text == self.text())
        menu.triggered.connect(self._on_triggered)
        menu.popup(self.mapToGlobal(QPoint(0, self.height())))
        return menu

    def _on_triggered(self, action: object) -> None:
        self.setText(action.data())  # pyright: ignore[reportAttributeAccessIssue]
        self.committed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Down and self.offers:
            self.open_offers()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._is_over_chevron(event) and event.button() == Qt.MouseButton.LeftButton:
            self.open_offers()
        else:
            super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        over = self._is_over_chevron(event)
        self.setCursor(Qt.CursorShape.ArrowCursor if over else Qt.CursorShape.IBeamCursor)
        super().mouseMoveEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.offers:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = self.palette().color(QPalette.ColorRole.Text)
        paint_chevron(painter, QPointF(self.width() - 12.0, self.height() / 2), color)

    def _is_over_chevron(self, event: QMouseEvent) -> bool:
        return bool(self.offers) and event.position().x() > self.width() - ROOM
