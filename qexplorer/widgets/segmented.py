"""A choice of few: all of them in one row, the chosen one filled."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from qexplorer.widgets.controls import RADIUS, border, field_height


class Segmented(QWidget):
    """One of `options` (value, label). Arrow keys move, a disabled one is passed over and says why in its tooltip."""

    chosen = Signal(object)  # the value, when the person chose it

    def __init__(self, options: Sequence[tuple[object, str]], name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.options = list(options)
        self._value: object = self.options[0][0] if self.options else None
        self.refusals: Mapping[object, str] = {}
        self._helps: Mapping[object, str] = {}
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def value(self) -> object:
        """The value that is shown as chosen."""
        return self._value

    def show_value(self, value: object) -> None:
        """Show a value as chosen, without a signal."""
        if value == self._value and self.accessibleDescription():
            return
        self._value = value
        label = dict(self.options).get(value, "")
        self.setAccessibleDescription(f"{label}, {len(self.options)} choices, arrow keys change it")
        self.update()

    def show_options(self, options: Sequence[tuple[object, str]]) -> None:
        """Offer other options."""
        if list(options) != self.options:
            self.options = list(options)
            self.updateGeometry()
            self.update()

    def show_refusals(self, refusals: Mapping[object, str], helps: Mapping[object, str] | None = None) -> None:
        """Grey the options out that have a reason here; `helps` explain the others."""
        refused = {value: reason for value, reason in refusals.items() if reason}
        if (refused, helps or {}) != (self.refusals, self._helps):
            self.refusals, self._helps = refused, helps or {}
            self.update()

    def rect_of(self, value: object) -> QRectF:
        """Where the option of that value is, for a click."""
        at = [v for v, _ in self.options].index(value)
        edges = self._edges()
        return QRectF(edges[at], 0, edges[at + 1] - edges[at], self.height())

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        return QSize(sum(metrics.horizontalAdvance(label) + 20 for _, label in self.options), field_height(self))

    def minimumSizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        return QSize(sum(metrics.horizontalAdvance(label) + 8 for _, label in self.options), field_height(self))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette, role = self.palette(), QPalette.ColorRole
        outline = QPainterPath()
        outline.addRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), RADIUS, RADIUS)
        painter.fillPath(outline, palette.color(role.Base))
        painter.setClipPath(outline)
        for i, (value, label) in enumerate(self.options):
            area = self.rect_of(value)
            chosen, refused = value == self._value, value in self.refusals or not self.isEnabled()
            if chosen:
                painter.fillRect(area, palette.color(role.Dark if refused else role.Accent))
            if i and not chosen:
                painter.setPen(QPen(palette.color(role.Mid), 1))
                painter.drawLine(area.topLeft(), area.bottomLeft())
            font = self.font()
            font.setWeight(font.Weight.DemiBold if chosen else font.Weight.Normal)
            painter.setFont(font)
            painter.setPen(palette.color(role.HighlightedText if chosen else role.Dark if refused else role.Text))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, label)
        painter.setClipping(False)
        focus = self.hasFocus()
        painter.strokePath(outline, QPen(palette.color(role.Accent) if focus else border(palette), 2 if focus else 1))
        if focus and self._value is not None and any(v == self._value for v, _ in self.options):
            painter.setPen(QPen(palette.color(role.HighlightedText), 1))
            painter.drawRoundedRect(self.rect_of(self._value).adjusted(2.5, 2.5, -2.5, -2.5), 2, 2)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.options:
            self._choose(self._at(event.position().x()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Up: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Down: 1}.get(
            Qt.Key(event.key())
        )
        if step is None:
            super().keyPressEvent(event)
            return
        values = [v for v, _ in self.options]
        at = values.index(self._value) if self._value in values else -1
        for value in values[at + 1 :] if step > 0 else values[: max(at, 0)][::-1]:
            if value not in self.refusals:
                self._choose(value)
                return

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip and self.options:
            value = self._at(event.pos().x())
            text = self.refusals.get(value) or self._helps.get(value) or self.toolTip()
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def _at(self, x: float) -> object:
        at = bisect_right(self._edges(), x) - 1
        return self.options[min(max(at, 0), len(self.options) - 1)][0]

    def _edges(self) -> list[float]:
        """Where options begin, and where the last ends: each has its text's width and an equal part of the rest."""
        widths = [self.fontMetrics().horizontalAdvance(label) for _, label in self.options]
        room = (self.width() - sum(widths)) / max(len(widths), 1)
        return [0.0, *accumulate(width + room for width in widths)]

    def _choose(self, value: object) -> None:
        if self.isEnabled() and value not in self.refusals and value != self._value:
            self.show_value(value)
            self.chosen.emit(value)
