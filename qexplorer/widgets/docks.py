"""Docks with a flat title: a bold word, and two small buttons that a keyboard reaches.

Docks that share a place have their tabs in the title row; the tab bar that Qt makes for them takes no room.
"""

from collections.abc import Sequence

from PySide6.QtCore import QChildEvent, QEvent, QObject, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFontMetrics, QMoveEvent, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QSizePolicy,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from qexplorer.widgets.controls import GlyphButton
from qexplorer.widgets.theme import scaled

GAP = 16
"""Pixels between tabs."""
ROUNDED = 8
"""Pixels that a dock gives up more than another takes, lest some be lost in rounding."""


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


class FlatTabs(QTabBar):
    """Tabs without boxes: the front one in bold over a line in the accent colour."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDrawBase(False)
        self.setExpanding(False)
        self.setUsesScrollButtons(False)
        self.setAccessibleName("Panels that share this place")
        self.setToolTip("Panels that share this place; arrow keys go from one to the next")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        _quiet_scroll_buttons(self)

    def tabSizeHint(self, index: int) -> QSize:  # noqa: N802
        bold = QFontMetrics(scaled(1.0, bold=True))
        return QSize(bold.horizontalAdvance(self.tabText(index)) + 2 + GAP, self.fontMetrics().height() + 8)

    def minimumTabSizeHint(self, index: int) -> QSize:  # noqa: N802
        return QSize(self.fontMetrics().averageCharWidth() * 5 + GAP, self.tabSizeHint(index).height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, palette, role = QPainter(self), self.palette(), QPalette.ColorRole
        for i in range(self.count()):
            front, area = i == self.currentIndex(), self.tabRect(i).adjusted(0, 0, -GAP, 0)
            painter.setFont(scaled(1.0, bold=front))
            text = painter.fontMetrics().elidedText(self.tabText(i), Qt.TextElideMode.ElideRight, area.width())
            over = area.contains(self.mapFromGlobal(self.cursor().pos()))
            painter.setPen(palette.color(role.Text if front or over else role.PlaceholderText))
            painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
            if front:
                painter.fillRect(QRectF(area.left(), area.bottom() - 1, area.width(), 2), palette.color(role.Accent))
            if front and self.hasFocus():
                painter.setPen(palette.color(role.Accent))
                painter.drawRect(area.adjusted(-3, 0, 3, -4))


class DockTitle(QWidget):
    """The title row of a dock."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self._label = label = QLabel(dock.windowTitle())
        label.setFont(scaled(1.0, bold=True))
        self.tabs = FlatTabs()
        self.tabs.hide()
        self.extra = QHBoxLayout()
        self.extra.setSpacing(8)
        self._float = GlyphButton("float", f"Float or dock {dock.windowTitle()}")
        self._close = GlyphButton("close", f"Close {dock.windowTitle()} (View menu brings it back)")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 8, 4)
        row.setSpacing(4)
        row.addWidget(label)
        row.addWidget(self.tabs)
        row.addLayout(self.extra, 1)
        row.addWidget(self._float)
        row.addWidget(self._close)
        self._float.clicked.connect(self._on_float)
        self._close.clicked.connect(dock.close)

    def show_tabs(self, titles: Sequence[str], front: int) -> None:
        """Name the docks that share this place, this one in front; a single one has its title alone."""
        shared = len(titles) > 1
        self.tabs.blockSignals(True)
        if [self.tabs.tabText(i) for i in range(self.tabs.count())] != list(titles):
            while self.tabs.count():
                self.tabs.removeTab(0)
            for title in titles if shared else ():
                self.tabs.addTab(title)
        self.tabs.setCurrentIndex(front if shared else -1)
        self.tabs.blockSignals(False)
        self.tabs.setVisible(shared)
        self._label.setVisible(not shared)

    def _on_float(self) -> None:
        self._dock.setFloating(not self._dock.isFloating())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))


class Dock(QDockWidget):
    """A dock whose content sits on paper, with hairlines between docks."""

    sighted = Signal(bool)  # whether the person can see it
    moved = Signal()

    def __init__(self, name: str, title: str, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setWidget(Sheet(content))
        self.title_bar = DockTitle(self)
        self.setTitleBarWidget(self.title_bar)
        self.setAllowedAreas(Qt.DockWidgetArea.AllDockWidgetAreas)
        self._seen = False

    @property
    def behind(self) -> bool:
        """Whether another dock of the same place is in front: Qt then moves it off the window."""
        return self.isVisible() and not self.isFloating() and self.visibleRegion().isEmpty()

    def moveEvent(self, event: QMoveEvent) -> None:
        super().moveEvent(event)
        self.moved.emit()

    def show_place(self, titles: Sequence[str], front: int) -> None:
        """Show the tabs of the docks that share its place, and tell whether it is in sight.

        What lies behind is switched off, so that the Tab key does not lead there.
        """
        behind = self.behind
        self.title_bar.show_tabs(titles, front)
        self.title_bar.setEnabled(not behind)
        self.widget().setEnabled(not behind)
        seen = self.isVisible() and not behind
        if seen != self._seen:
            self._seen = seen
            self.sighted.emit(seen)


class Tabs(QObject):
    """Keeps the tabs in the titles in step with where the docks are."""

    def __init__(self, window: QMainWindow, docks: Sequence[Dock]) -> None:
        super().__init__(window)
        self._window, self._docks = window, list(docks)
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.refresh)
        window.installEventFilter(self)
        for dock in docks:
            dock.title_bar.tabs.setObjectName(f"tabs_{dock.objectName()}")
            dock.title_bar.tabs.currentChanged.connect(self._on_chosen)
            for signal in (dock.visibilityChanged, dock.topLevelChanged, dock.dockLocationChanged, dock.moved):
                signal.connect(self._on_moved)

    def refresh(self) -> None:
        """Look where the docks are."""
        for dock in self._docks:
            together = self._together(dock)
            dock.show_place([each.windowTitle() for each in together], together.index(dock))

    def _together(self, dock: Dock) -> list[Dock]:
        others = self._window.tabifiedDockWidgets(dock)
        return [each for each in self._docks if each is dock or each in others]

    def _on_moved(self) -> None:
        self._soon.start()

    def _on_chosen(self, at: int) -> None:
        tabs = self.sender()
        dock = next(each for each in self._docks if each.title_bar.tabs is tabs)
        chosen = self._together(dock)[at]
        if chosen is not dock:
            focus = dock.title_bar.tabs.hasFocus()
            chosen.raise_()
            if focus:
                chosen.title_bar.setEnabled(True)
                chosen.title_bar.tabs.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        bar = event.child() if isinstance(event, QChildEvent) and event.polished() else None
        if isinstance(bar, QTabBar):
            bar.setStyleSheet("QTabBar::tab { width: 1px; height: 0; margin: 0; padding: 0; border: 0 }")
            bar.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            bar.setDrawBase(False)
            _quiet_scroll_buttons(bar)
        return super().eventFilter(watched, event)


def take_room(panel: QWidget, lacking: int) -> None:
    """Make the dock of a panel taller by so many pixels, as far as the tallest one above or below it can do without."""
    window = panel.window()
    docks = [each for each in window.findChildren(QDockWidget) if not each.visibleRegion().isEmpty()]
    own = next((each for each in docks if each.isAncestorOf(panel)), None)
    if own is None or not isinstance(window, QMainWindow):
        return
    left, right = own.geometry().left(), own.geometry().right()
    column = [each for each in docks if each is not own and left <= each.geometry().center().x() <= right]
    tallest = max(column, key=QDockWidget.height, default=own)
    heights = [own.height() + lacking, tallest.height() - lacking - ROUNDED]
    window.resizeDocks([own, tallest], heights, Qt.Orientation.Vertical)


def _quiet_scroll_buttons(bar: QTabBar) -> None:
    """Every tab bar has two buttons that these never show."""
    for button in bar.findChildren(QToolButton):
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setToolTip(button.accessibleName())
