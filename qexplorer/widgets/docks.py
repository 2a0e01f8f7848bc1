"""Docks with a flat title: a bold word, and two small buttons that a keyboard reaches."""

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from qexplorer.widgets.controls import GlyphButton
from qexplorer.widgets.theme import scaled


class Sheet(QWidget):
    """A plain area in the colour of paper, that grows no taller than its content may."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(content)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self.setMaximumHeight(self._content.maximumHeight())
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))


class DockTitle(QWidget):
    """The title row of a dock."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        label = QLabel(dock.windowTitle())
        label.setFont(scaled(1.0, bold=True))
        self.extra = QHBoxLayout()
        self.extra.setSpacing(8)
        self._float = GlyphButton("float", f"Float or dock {dock.windowTitle()}")
        self._close = GlyphButton("close", f"Close {dock.windowTitle()} (View menu brings it back)")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 8, 4)
        row.setSpacing(4)
        row.addWidget(label)
        row.addLayout(self.extra, 1)
        row.addWidget(self._float)
        row.addWidget(self._close)
        self._float.clicked.connect(self._on_float)
        self._close.clicked.connect(dock.close)

    def _on_float(self) -> None:
        self._dock.setFloating(not self._dock.isFloating())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))


class Dock(QDockWidget):
    """A dock whose content sits on paper, with hairlines between docks."""

    def __init__(self, name: str, title: str, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setWidget(Sheet(content))
        self.title_bar = DockTitle(self)
        self.setTitleBarWidget(self.title_bar)
        self.setAllowedAreas(Qt.DockWidgetArea.AllDockWidgetAreas)
