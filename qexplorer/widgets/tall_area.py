"""Room for something tall: it is seen whole where there is room for it, and scrolls where there is not."""

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QPalette, QResizeEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

SLACK = 2
"""Pixels that may be hidden without a scroll bar: they are the content's lower margin."""


class TallArea(QScrollArea):
    """As wide as its content at least, never taller than it, and at least as tall as `least` of it."""

    def __init__(self, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content, self.least = content, 0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(content)
        content.setAutoFillBackground(False)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.content and event.type() == QEvent.Type.LayoutRequest:
            self.setMaximumHeight(self.content.sizeHint().height())
            self.updateGeometry()
        return super().eventFilter(watched, event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        policy, hidden = Qt.ScrollBarPolicy, self.content.minimumSizeHint().height() - self.height()
        self.setVerticalScrollBarPolicy(policy.ScrollBarAsNeeded if hidden > SLACK else policy.ScrollBarAlwaysOff)
        super().resizeEvent(event)

    def sizeHint(self) -> QSize:
        return self.content.sizeHint()

    def minimumSizeHint(self) -> QSize:
        wanted = self.content.minimumSizeHint()
        bar = self.verticalScrollBar().sizeHint().width() if self.least < wanted.height() else 0
        return QSize(wanted.width() + bar, min(wanted.height(), self.least))
