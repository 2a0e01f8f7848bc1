"""One workspace: docks in a layout of its own, some of which give way where the window has no room for all."""

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QByteArray, QCoreApplication, QEvent, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QMainWindow, QWidget

from qexplorer.panels import Panel, Place
from qexplorer.state.layout import PageLayout, packed, unpacked
from qexplorer.widgets.docks import Dock, Tabs

LAYOUT_VERSION = 5
STEPS = 6
"""Qt cuts the wish of a dock down in proportion to what its neighbours had; so often asked it is nearly fulfilled."""
GUEST = Place("explore", 0)
"""Of a panel that is at home elsewhere."""
ACROSS, DOWN = Qt.Orientation.Horizontal, Qt.Orientation.Vertical


@dataclass(frozen=True)
class Yielded:
    """A dock that gave way, the size at which there was room while it had not, and the layout of then if it moved."""

    name: str
    needed: QSize
    before: QByteArray


class Workspace(QMainWindow):
    """A page of the window. `docks` are empty until they are given panels to hold, which the window does."""

    rearranged = Signal()

    def __init__(self, name: str, panels: Mapping[str, type[Panel]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"workspace_{name}")
        self.setWindowFlags(Qt.WindowType.Widget)
        self.setDockNestingEnabled(True)
        self.name = name
        self._panels = panels
        self.docks: dict[str, Dock] = {}
        self.tabs = Tabs(self)
        self._yielded: list[Yielded] = []
        self._kept: set[str] = set()  # those that the person unfolded where there is no room for them
        self._heights: dict[str, int] = {}
        self._afloat: list[Dock] = []
        self._laid_out = self._fresh = False
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.fit)
        for panel, cls in panels.items():
            if cls.place_in(name) is not None:
                self.add(panel)

    def place_of(self, panel: str) -> Place:
        """Where a panel stands by default."""
        return self._panels[panel].place_in(self.name) or GUEST

    def add(self, panel: str) -> Dock:
        """The dock for a panel, made where there is none yet."""
        if panel not in self.docks:
            cls = self._panels[panel]
            dock = self.docks[panel] = Dock(panel, cls.title, self, folds=self.place_of(panel).folds)
            dock.hide()
            dock.toggled.connect(self._on_toggled)
            self.tabs.add(dock)
            if self._laid_out:
                self._admit(dock)
        return self.docks[panel]

    def _admit(self, dock: Dock) -> None:
        """Let a panel that is at home elsewhere share the place of the main one."""
        main = max(filter(self._is_at_home, self.docks), key=self._weight)
        self.tabifyDockWidget(self.docks[main], dock)
        dock.hide()

    def _is_at_home(self, panel: str) -> bool:
        return self._panels[panel].place_in(self.name) is not None

    def _weight(self, panel: str) -> int:
        place = self.place_of(panel)
        return place.width * place.height

    # -- the default layout

    def reset(self) -> None:
        """Put every panel to its place; those that are at home elsewhere are closed."""
        self._laid_out = True
        self._fresh = not self.isVisible()
        self._yielded.clear()
        self._kept.clear()
        for dock in self.docks.values():
            dock.setFloating(False)  # while it still has a place to go to
            self.removeDockWidget(dock)
        own = {name: self.place_of(name) for name in filter(self._is_at_home, self.docks)}
        for name, place in sorted(own.items(), key=lambda item: item[1].step):
            dock = self.docks[name]
            if place.tabbed:
                self.tabifyDockWidget(self.docks[place.beside], dock)
            elif place.beside:
                self.splitDockWidget(self.docks[place.beside], dock, ACROSS if place.across else DOWN)
            else:
                self.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, dock)
            dock.show_folded(place.folded)
            dock.show()
        for place in own.values():
            if place.tabbed:
                self.docks[place.beside].raise_()
        for name in self.docks.keys() - own.keys():
            self._admit(self.docks[name])
        self.tabs.refresh()  # before room is shared out: tabs take some
        self._share()
        self.fit()

    def _share(self) -> None:
        """Give each panel the size that it would like; Qt heeds this fully only once the window is on screen."""
        em = self.fontMetrics().height()
        for size, way in (("width", ACROSS), ("height", DOWN)):
            wanted = {self.docks[name]: getattr(self.place_of(name), size) for name in self.docks}
            sized = [dock for dock, lines in wanted.items() if lines and not (way == DOWN and dock.folded)]
            self.resizeDocks(sized, [wanted[dock] * em for dock in sized], way)

    # -- what is kept

    def saved(self, kept: PageLayout) -> PageLayout:
        """The layout, or what was `kept` of it if it was not looked at."""
        if not self._laid_out:
            return kept
        return PageLayout(
            packed(self.saveState(LAYOUT_VERSION)),
            list(self.docks),
            [name for name, dock in self.docks.items() if dock.folded],
            [each.name for each in self._yielded],
            [packed(each.before) for each in self._yielded],
        )

    def restore(self, kept: PageLayout) -> None:
        """Bring a layout back, or the default one where it does not fit this version."""
        for name in kept.docks:
            if name in self._panels:
                self.add(name)
        self.reset()
        if not kept.panels:
            return
        self._give_back()
        for name, dock in self.docks.items():
            dock.show_folded(name in kept.folded)
        if not self.restoreState(unpacked(kept.panels), LAYOUT_VERSION):
            self.reset()
            return
        self._fresh = False
        pairs = zip(kept.yielded, kept.before, strict=False)
        self._yielded = [Yielded(name, QSize(), QByteArray(unpacked(state))) for name, state in pairs
                         if name in self.docks]  # fmt: skip
        self.tabs.refresh()
        self.fit()

    # -- being looked at

    def prepare(self, kept: PageLayout) -> None:
        """Lay it out, if that was not done yet."""
        if not self._laid_out:
            self.restore(kept)

    def enter(self) -> None:
        """Become the page that is seen."""
        if self._fresh:  # Qt heeds sizes only of what is seen
            self._fresh = False
            self._share()
        for dock in self._afloat:
            dock.show()
        self._afloat.clear()
        self.fit()
        self.tabs.refresh()

    def leave(self) -> None:
        """Be seen no longer; what floats goes too."""
        self._afloat = [dock for dock in self.docks.values() if dock.isFloating() and dock.isVisible()]
        for dock in self._afloat:
            dock.hide()

    # -- room

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._soon.start()

    def fit(self) -> None:
        """Let panels give way until there is room for the others, and come back where there is room for all."""
        if not self._laid_out or not self.isVisible():
            return
        back = bool(self._yielded) and _within(self._yielded[-1].needed, self.size())
        if not back and _within(self._needed(), self.size()):
            return
        self.setUpdatesEnabled(False)
        while self._yielded and _within(self._yielded[-1].needed, self.size()):
            self._come_back(self._yielded.pop())
        for name in sorted(self.docks, key=lambda each: self.place_of(each).yields):
            if self._may_yield(name):
                needed = self._needed()
                if _within(needed, self.size()):
                    break
                self._yield(name, needed)
        self._spare()
        self.setUpdatesEnabled(True)

    def _spare(self) -> None:
        """Unfold those that gave way in vain: there is room because another one did."""
        for each in [each for each in self._yielded[:-1] if each.before.isEmpty()]:
            self._come_back(each)
            if _within(self._needed(), self.size()):
                self._yielded.remove(each)
            else:
                self._fold(self.docks[each.name], folded=True)

    def _needed(self) -> QSize:
        """The least size at which nothing is cut."""
        QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)  # so that layouts know of what changed
        layout = self.layout()
        if layout is None:  # as Qt's types have it
            return QSize()
        layout.invalidate()
        return layout.minimumSize()

    def _may_yield(self, name: str) -> bool:
        place, dock = self.place_of(name), self.docks[name]
        if not place.yields or not dock.isVisible() or dock.isFloating() or name in self._kept:
            return False
        if any(each.name == name for each in self._yielded):
            return False
        onto = self.docks.get(place.onto)
        if onto is None:
            return not dock.folded
        mine, other = dock.geometry(), onto.geometry()
        beside = mine.left() == other.left() or mine.top() == other.top()
        return onto.isVisible() and not onto.isFloating() and beside and onto not in self.tabs.together(dock)

    def _yield(self, name: str, needed: QSize) -> None:
        place, dock = self.place_of(name), self.docks[name]
        lacks_width, lacks_height = needed.width() > self.width(), needed.height() > self.height()
        if not (lacks_width if place.onto and place.across else lacks_height):
            return  # it would be in vain
        before = self.saveState(LAYOUT_VERSION) if place.onto else QByteArray()
        self._yielded.append(Yielded(name, needed, before))
        if not place.onto:
            self._fold(dock, folded=True)
            return
        onto, group = self.docks[place.onto], self.tabs.together(dock)
        for each in group:
            self.tabifyDockWidget(self.tabs.together(onto)[-1], each)
        onto.raise_()
        self.tabs.refresh()

    def _come_back(self, each: Yielded) -> None:
        place, dock = self.place_of(each.name), self.docks[each.name]
        if not place.onto:
            self._fold(dock, folded=False)
            return
        self.restoreState(each.before, LAYOUT_VERSION)  # Qt cannot split what has tabs
        self._share()
        self.tabs.refresh()

    def _give_back(self) -> None:
        while self._yielded:
            self._come_back(self._yielded.pop())

    def _on_toggled(self) -> None:
        """A panel was folded or unfolded by hand: it keeps so, and has the height that it had."""
        dock = self.sender()
        if not isinstance(dock, Dock):
            return
        name, unfold = dock.objectName(), dock.folded
        self._yielded = [each for each in self._yielded if each.name != name]
        if unfold:
            self._kept.add(name)
        else:
            self._kept.discard(name)
        self._fold(dock, folded=not unfold)
        self.fit()
        if unfold:
            self._stretch(dock)  # others may have given way
        self.rearranged.emit()

    def unfold(self, name: str) -> None:
        """Let a panel be seen, if it is folded."""
        if self.docks[name].folded:
            self.docks[name].toggled.emit()

    def _fold(self, dock: Dock, *, folded: bool) -> None:
        """Fold or unfold it with all that share its place; it has the height again that it had, or half of all."""
        if folded:
            self._heights[dock.objectName()] = dock.height()
        for each in self.tabs.together(dock):
            each.show_folded(folded)
        if not folded:
            self._stretch(dock)
        self.tabs.refresh()

    def _stretch(self, dock: Dock) -> None:
        height = self._heights.get(dock.objectName(), self.height() // 2)
        for _ in range(STEPS):
            self._needed()  # so that the layout knows that it may be taller
            self.resizeDocks([dock], [height], DOWN)


def _within(needed: QSize, room: QSize) -> bool:
    return needed.width() <= room.width() and needed.height() <= room.height()
