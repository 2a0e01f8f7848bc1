"""The workspaces of the window, one of which is seen, and the panels that their docks hold."""

from collections.abc import Mapping
from dataclasses import replace

from PySide6.QtCore import QSize, Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedWidget, QWidget

from qexplorer.panels import Panel, Parts, panels
from qexplorer.state.app_state import WORKSPACES, AppState
from qexplorer.state.app_state import Workspace as Name
from qexplorer.state.layout import Layout, LayoutFile, PageLayout
from qexplorer.state.store import Store
from qexplorer.widgets.docks import Dock
from qexplorer.widgets.segmented import Segmented
from qexplorer.workspace import Workspace

TITLES: Mapping[Name, str] = {"explore": "Explore", "quantize": "Quantize", "learn": "Learn"}


class Workspaces(QStackedWidget):
    """The page of `AppState.workspace`. A panel is made once: the page that is seen takes it from the others' docks."""

    rearranged = Signal()

    def __init__(self, parts: Parts, file: LayoutFile, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._file = parts.store, file
        classes = {cls.name: cls for cls in panels}
        self.panels: dict[str, Panel] = {}
        self._extras: dict[str, QWidget] = {}
        self._holders: dict[str, Dock] = {}
        self.pages: dict[str, Workspace] = {}
        for name in WORKSPACES:
            page = self.pages[name] = Workspace(name, classes, self)
            page.rearranged.connect(self.rearranged)
            self.addWidget(page)
        for name, cls in classes.items():
            panel, extra = self.panels[name], self._extras[name] = cls(parts), QWidget()
            row = QHBoxLayout(extra)
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(8)
            panel.fill_title(row)
            panel.panel_asked.connect(self.show_panel)
            self._give(self.pages[cls.places[0].workspace], name)
        self._current = parts.store.state.workspace
        self.setCurrentWidget(self.here)
        parts.store.changed.connect(self._on_changed)

    @property
    def here(self) -> Workspace:
        """The page that is seen."""
        return self.pages[self._current]

    @property
    def docks(self) -> dict[str, Dock]:
        """For each panel the dock that holds it."""
        return dict(self._holders)

    def start(self) -> None:
        """Lay out the page that is seen; called once the window is on screen."""
        self._enter()

    def go(self, name: Name) -> None:
        """See another page."""
        self._store.go_to(name)

    def show_panel(self, name: str) -> None:
        """Open a panel where it is, or else where it is at home, and bring it before those that share its place."""
        here = self.here.docks.get(name)
        at_home = self.panels[name].place_in(self._current) is not None
        if not at_home and (here is None or here.isHidden()):
            self.go(self.panels[name].places[0].workspace)
        self.toggle(name, shown=True)

    def toggle(self, name: str, *, shown: bool) -> None:
        """Open a panel in the page that is seen, wherever it is at home, or close it there."""
        dock = self.here.add(name)
        dock.setVisible(shown)
        if shown:
            self._give(self.here, name)
            dock.raise_()
            self.here.unfold(name)
        self.here.tabs.refresh()
        self.here.fit()

    def is_shown(self, name: str) -> bool:
        """Whether the page that is seen has this panel."""
        dock = self.here.docks.get(name)
        return dock is not None and not dock.isHidden()

    def reset(self) -> None:
        """Put every panel of the page that is seen back to its place."""
        self.here.reset()

    def saved(self, layout: Layout) -> Layout:
        """A layout with that of these pages."""
        pages = {name: page.saved(layout.pages.get(name, PageLayout())) for name, page in self.pages.items()}
        return replace(layout, pages=pages)

    # -- who holds what

    def _give(self, page: Workspace, name: str) -> None:
        """Let a page's dock hold a panel."""
        dock, before = page.docks[name], self._holders.get(name)
        if dock is before:
            return
        if before is not None:
            before.sighted.disconnect(self.panels[name].show_in_sight)
            before.release()
        dock.sighted.connect(self.panels[name].show_in_sight)
        dock.hold(self.panels[name], self._extras[name])
        self._holders[name] = dock

    def _enter(self) -> None:
        page = self.here
        page.setGeometry(self.rect())
        page.prepare(self._file.read().pages.get(page.name, PageLayout()))
        for name in page.docks:
            self._give(page, name)
        self.setCurrentWidget(page)
        page.enter()

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.workspace == self._current:
            return
        left, self._current = self.here, new.workspace
        left.leave()
        self.setUpdatesEnabled(False)
        self._enter()
        left.tabs.refresh()
        self.setUpdatesEnabled(True)
        self._focus()
        self.rearranged.emit()

    def _focus(self) -> None:
        """Put the keyboard where it was when this page was left, unless it is on the switch."""
        window, page = self.window(), self.here
        if window.focusWidget() is None or self.isAncestorOf(window.focusWidget()):
            (page.focusWidget() or page).setFocus()


class WorkspaceSwitch(Segmented):
    """Goes from one workspace to another by a click, or the arrow keys."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(list(TITLES.items()), "Workspace", parent)
        self._store = store
        self.setObjectName("workspace")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setToolTip("Explore tensors, quantize the model, or learn (Ctrl+1, Ctrl+2, Ctrl+3)")
        self.show_value(store.state.workspace)
        self.chosen.connect(store.go_to)
        store.changed.connect(self._on_changed)

    def sizeHint(self) -> QSize:
        return super().sizeHint() + QSize(16 * len(TITLES), 0)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.workspace != old.workspace:
            self.show_value(new.workspace)
