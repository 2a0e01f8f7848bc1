"""A slider as flat as the other controls."""

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QSlider, QStyle, QStyleOptionSlider, QWidget


class FlatSlider(QSlider):
    """It comes to where it is pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def part(self, which: QStyle.SubControl) -> QRectF:
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        return QRectF(self.style().subControlRect(QStyle.ComplexControl.CC_Slider, option, which, self))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            groove, handle = (self.part(part) for part in (QStyle.SubControl.SC_SliderGroove,
                                                            QStyle.SubControl.SC_SliderHandle))  # fmt: skip
            start, span = groove.left() + handle.width() / 2, round(groove.width() - handle.width())
            at = round(event.position().x() - start)
            self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), at, span))
        super().mousePressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, palette, role = QPainter(self), self.palette(), QPalette.ColorRole
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = self.part(QStyle.SubControl.SC_SliderHandle).center()
        groove = QRectF(4, middle.y() - 2, self.width() - 8, 4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(palette.color(role.Mid))
        painter.drawRoundedRect(groove, 2, 2)
        painter.setBrush(palette.color(role.Accent if self.isEnabled() else role.Dark))
        painter.drawRoundedRect(QRectF(groove.topLeft(), QPointF(middle.x(), groove.bottom())), 2, 2)
        painter.drawEllipse(middle, 7, 7)
        if self.hasFocus():
            painter.setPen(QPen(palette.color(role.HighlightedText), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(middle, 4.5, 4.5)
