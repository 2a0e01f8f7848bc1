"""Docks with a flat title: a bold word, and small buttons that a keyboard reaches.

Docks that share a place have their tabs in the title row; the tab bar that Qt makes for them takes no room. What a dock
shows can be taken away and held by another one.
"""

from collections.abc import Sequence

from PySide6.QtCore import QChildEvent, QEvent, QObject, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFontMetrics, QMouseEvent, QMoveEvent, QPainter, QPaintEvent, QPalette
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

from qexplorer.widgets.controls import Button, GlyphButton
from qexplorer.widgets.theme import scaled

GAP = 16
"""Pixels between tabs."""
UNLIMITED = (1 << 24) - 1
"""How high a widget may be that has no limit: Qt's QWIDGETSIZE_MAX."""
EXTRA = 3
"""Where in its row the title has room for what belongs to the content."""


class Sheet(QWidget):
    """A plain area in the colour of paper, that grows no taller than its content may; none of it is seen if folded."""

    def __init__(self) -> None:
        super().__init__()
        self.content: QWidget | None = None
        self.folded = False
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def show_content(self, content: QWidget | None) -> None:
        """Show something else, or nothing."""
        if self.content is not None:
            self._column.removeWidget(self.content)
        self.content = content
        if content is not None:
            self._column.addWidget(content)
        self.show_folded(self.folded)

    def show_folded(self, folded: bool) -> None:
        """Take no height, or as much as there is."""
        self.folded = folded
        if self.content is not None:
            self.content.setVisible(not folded)
        self._show_most()

    def _show_most(self) -> None:
        most = UNLIMITED if self.content is None else self.content.maximumHeight()
        self.setMaximumHeight(0 if self.folded else most)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self._show_most()
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
        return self.tabSizeHint(index)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()  # a name that is cut is none

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
    """The title row of a dock. One that floats has a word to press that brings it back."""

    def __init__(self, dock: "Dock") -> None:
        super().__init__(dock)
        self._dock, title = dock, dock.windowTitle()
        self._label = label = QLabel(title)
        label.setFont(scaled(1.0, bold=True))
        self.tabs = FlatTabs()
        self.tabs.hide()
        self.fold = GlyphButton("folded", f"Fold {title}")
        self.fold.hide()
        self._float = GlyphButton("float", f"Float {title}")
        self._back = Button("Dock")
        self._back.setAccessibleName(f"Dock {title}")
        self._back.setToolTip("Put the panel back into the window")
        self._back.hide()
        self._close = GlyphButton("close", f"Close {title} (View menu brings it back)")
        self._row = row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 8, 4)
        row.setSpacing(4)
        for widget in (self.fold, label, self.tabs):
            row.addWidget(widget)
        row.addStretch(1)
        for widget in (self._back, self._float, self._close):
            row.addWidget(widget)
        self.fold.clicked.connect(dock.toggled)
        for button in (self._float, self._back):
            button.clicked.connect(self._on_float)
        self._close.clicked.connect(dock.close)
        dock.topLevelChanged.connect(self.show_floating)

    def show_extra(self, extra: QWidget | None) -> None:
        """Show what belongs to the content, in place of what stood there before."""
        before = self._row.takeAt(EXTRA)
        widget = before.widget() if before is not None else None
        if widget is not None and widget.parentWidget() is self:
            widget.setParent(None)
        if extra is None:
            self._row.insertStretch(EXTRA, 1)
        else:
            self._row.insertWidget(EXTRA, extra, 1)
            extra.show()

    def show_folded(self, folded: bool) -> None:
        """Say which way the dock opens."""
        self.fold.glyph = "folded" if folded else "unfolded"
        name = f"{'Unfold' if folded else 'Fold'} {self._dock.windowTitle()}"
        self.fold.setAccessibleName(name)
        self.fold.setToolTip(name)
        self.fold.update()

    def show_floating(self, floating: bool) -> None:
        """Offer to float, or the way back."""
        self._float.setVisible(not floating)
        self._back.setVisible(floating)

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
        self.fold.setVisible((self._dock.folds or self._dock.folded) and not self._dock.isFloating())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if self.fold.isVisible():
            self._dock.toggled.emit()
        else:
            super().mouseDoubleClickEvent(event)

    def _on_float(self) -> None:
        self._dock.setFloating(not self._dock.isFloating())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))


class Dock(QDockWidget):
    """A dock whose content sits on paper, with hairlines between docks. One that `folds` may be a line: its title."""

    sighted = Signal(bool)  # whether the person can see its content
    moved = Signal()
    toggled = Signal()  # the person wants it folded, or unfolded

    def __init__(self, name: str, title: str, parent: QWidget | None = None, *, folds: bool = False) -> None:
        super().__init__(title, parent)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.folds = folds
        self.sheet = Sheet()
        self.setWidget(self.sheet)
        self.title_bar = DockTitle(self)
        self.setTitleBarWidget(self.title_bar)
        self.setAllowedAreas(Qt.DockWidgetArea.AllDockWidgetAreas)
        self._seen = False

    def hold(self, content: QWidget, extra: QWidget | None = None) -> None:
        """Show a content, and what belongs to it in the title row."""
        self.sheet.show_content(content)
        self.title_bar.show_extra(extra)

    def release(self) -> None:
        """Let another dock hold the content."""
        self._tell(False)
        self.title_bar.show_extra(None)
        self.sheet.show_content(None)

    @property
    def folded(self) -> bool:
        """Whether nothing but its title is seen."""
        return self.sheet.folded

    def show_folded(self, folded: bool) -> None:
        """Fold it to its title, or unfold it."""
        self.sheet.show_folded(folded)
        self.title_bar.show_folded(folded)
        self.moved.emit()

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
        self._tell(self.isVisible() and not behind and not self.folded and self.sheet.content is not None)

    def _tell(self, seen: bool) -> None:
        if seen != self._seen:
            self._seen = seen
            self.sighted.emit(seen)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.isFloating():  # it has no frame of the system's
            painter, role = QPainter(self), QPalette.ColorRole
            painter.fillRect(self.rect(), self.palette().color(role.Base))
            painter.setPen(self.palette().color(role.Dark))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))


class Tabs(QObject):
    """Keeps the tabs in the titles in step with where the docks are."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._docks: list[Dock] = []
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.refresh)
        window.installEventFilter(self)

    def add(self, dock: Dock) -> None:
        """Look after one more dock."""
        self._docks.append(dock)
        dock.title_bar.tabs.setObjectName(f"tabs_{dock.objectName()}")
        dock.title_bar.tabs.currentChanged.connect(self._on_chosen)
        for signal in (dock.visibilityChanged, dock.topLevelChanged, dock.dockLocationChanged, dock.moved):
            signal.connect(self._on_moved)

    def refresh(self) -> None:
        """Look where the docks are."""
        for dock in self._docks:
            together = self.together(dock)
            dock.show_place([each.windowTitle() for each in together], together.index(dock))

    def together(self, dock: Dock) -> list[Dock]:
        """The docks that share a place."""
        others = self._window.tabifiedDockWidgets(dock)
        return [each for each in self._docks if each is dock or each in others]

    def _on_moved(self) -> None:
        self._soon.start()

    def _on_chosen(self, at: int) -> None:
        tabs = self.sender()
        dock = next(each for each in self._docks if each.title_bar.tabs is tabs)
        chosen = self.together(dock)[at]
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


def _quiet_scroll_buttons(bar: QTabBar) -> None:
    """Every tab bar has two buttons that these never show."""
    for button in bar.findChildren(QToolButton):
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setToolTip(button.accessibleName())
