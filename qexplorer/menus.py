"""The menus: every command once, with its keys, for menu, keyboard and the list of shortcuts alike."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu, QMenuBar, QMessageBox

from qexplorer import __version__
from qexplorer.log import actions
from qexplorer.state.app_state import WORKSPACES, AppState
from qexplorer.state.report import PACKAGES, installed
from qexplorer.state.store import Store
from qexplorer.text import printable
from qexplorer.weights import DISTRIBUTIONS

STANDARD = QKeySequence.StandardKey
Key = str | QKeySequence.StandardKey


@dataclass(frozen=True)
class Command:
    """One thing that the window can do; `name` is also the name of its action, an empty `text` a line between."""

    menu: str
    name: str
    text: str
    keys: Sequence[Key] = ()
    tip: str = ""


COMMANDS = (
    Command("&File", "open", "&Open …", (STANDARD.Open,), "Open a file of weights"),
    Command("&File", "open_folder", "Open &Folder …", ("Ctrl+Shift+O",), "Open a sharded checkpoint"),
    Command("&File", "sample", "Open the &Sample Model", (), "MobileNetV2, trained on handwritten digits"),
    Command("&File", "quit", "&Quit", ("Ctrl+Q",), "Close the window"),
    Command("&Edit", "undo", "&Undo", (STANDARD.Undo,), "Undo the last change"),
    Command("&Edit", "redo", "&Redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "Redo the change"),
    Command("&Edit", "find", "&Find a Tensor", (STANDARD.Find,), "Filter by name, size or SQNR"),
    Command("&View", "explore", "&Explore", ("Ctrl+1",), "Tensors, their pictures and the scheme"),
    Command("&View", "quantize", "&Quantize", ("Ctrl+2",), "Jobs, their results and the run history"),
    Command("&View", "learn", "Lear&n", ("Ctrl+3",), "The selected tensor, and what to look at"),
    Command("&View", "log", "&Logarithmic Counts", ("Ctrl+L",), "Switch the count axis"),
    Command("&View", "reset_layout", "&Reset Layout", (), "Put every panel of this workspace back to its place"),
    Command("&View", "full_screen", "F&ull Screen", ("F11",), "Use the whole screen"),
    Command("&Run", "run", "&Run the Job", ("F5",), "Queue the job as it is set in Jobs"),
    Command("&Run", "cancel", "&Cancel the Running Job", ("Shift+F5",), "Stop it; Resume in Runs goes on with it"),
    Command("&Help", "keys", "&Keyboard Shortcuts", ("F1", "Ctrl+?"), "Every key in one list"),
    Command("&Help", "report", "Copy &Report", (), "Versions, the kind of file, the last actions and error"),
    Command("&Help", "about", "&About qexplorer", (), "Versions and licences"),
)
ROLES = {"quit": QAction.MenuRole.QuitRole, "about": QAction.MenuRole.AboutRole}


class ShownPanels(Protocol):
    """What can be asked for a panel by its name."""

    def is_shown(self, name: str) -> bool: ...

    def toggle(self, name: str, *, shown: bool) -> None: ...


class Menus(QObject):
    """Fills a menu bar. `slots` has what each command does, `recent` gives the paths of Open Recent."""

    path_chosen = Signal(str)

    def __init__(self, window: QMainWindow, bar: QMenuBar, store: Store, slots: dict[str, Callable[[], object]],
                 recent: Callable[[], list[str]]) -> None:  # fmt: skip
        super().__init__(window)
        self._window, self._store, self._recent_paths = window, store, recent
        self._menus: dict[str, QMenu] = {}
        self.actions: dict[str, QAction] = {}
        own = {"keys": self.show_keys, "about": self.show_about, "undo": store.undo, "redo": store.redo}
        own |= {name: partial(store.go_to, name) for name in WORKSPACES}
        for command in COMMANDS:
            menu = self._menus.setdefault(command.menu, QMenu(command.menu, bar))
            self._add(menu, command, {**own, **slots}[command.name])
        for menu in self._menus.values():
            bar.addMenu(menu)
            menu.triggered.connect(self._on_triggered)
        self._view = QActionGroup(self)
        for name in WORKSPACES:
            self.actions[name].setCheckable(True)
            self._view.addAction(self.actions[name])
        self._menus["&View"].insertSeparator(self.actions["log"])
        self._add_paths()
        self._themes = self._add_themes()
        store.changed.connect(self._on_changed)
        self._on_changed(store.state, store.state)

    def add_panels(self, titles: Mapping[str, str], shown: ShownPanels) -> None:
        """Offer to show and hide each panel in the workspace that is seen."""
        view = self._menus["&View"]
        panels = QMenu("&Panels", view)
        for name, title in titles.items():
            action = panels.addAction(title)
            action.setCheckable(True)
            action.setData(name)
            action.triggered.connect(partial(self._on_panel, shown, action))
        panels.aboutToShow.connect(partial(_check_shown, panels, shown))
        view.insertMenu(self.actions["log"], panels)

    @staticmethod
    def _on_panel(shown: ShownPanels, action: QAction) -> None:
        shown.toggle(action.data(), shown=action.isChecked())

    def _add(self, menu: QMenu, command: Command, slot: Callable[[], object]) -> None:
        action = menu.addAction(command.text)
        action.setObjectName(command.name)
        action.setShortcuts([QKeySequence(key) for key in command.keys])
        action.setStatusTip(command.tip)
        action.setMenuRole(ROLES.get(command.name, QAction.MenuRole.NoRole))
        action.triggered.connect(slot)
        self._window.addAction(action)  # so that its keys work while the menu bar belongs to the system
        self.actions[command.name] = action

    def _add_paths(self) -> None:
        file = self._menus["&File"]
        self._recent = QMenu("Open &Recent", file)
        self._recent.aboutToShow.connect(self._fill_recent)
        synthetic = QMenu("Open S&ynthetic Values", file)
        for name in DISTRIBUTIONS:
            synthetic.addAction(name.replace("_", " ").capitalize()).setData(f"synthetic:{name}")
        for menu in (self._recent, synthetic):
            menu.triggered.connect(self._on_path)
            file.insertMenu(self.actions["sample"], menu)
        file.insertSeparator(self.actions["quit"])

    def _add_themes(self) -> QMenu:
        view = self._menus["&View"]
        themes = QMenu("&Theme", view)
        for name in ("system", "light", "dark"):
            action = themes.addAction(f"&{name.capitalize()}")
            action.setCheckable(True)
            action.setData(name)
        themes.triggered.connect(self._on_theme)
        view.insertMenu(self.actions["log"], themes)
        return themes

    def _fill_recent(self) -> None:
        self._recent.clear()
        for path in self._recent_paths():
            action = self._recent.addAction(printable(Path(path).name).replace("&", "&&"))
            action.setData(path)
            action.setStatusTip(printable(path))
        if self._recent.isEmpty():
            self._recent.addAction("Nothing yet").setEnabled(False)

    def _on_triggered(self, action: QAction) -> None:
        if action.objectName():
            actions.info("menu: %s", action.objectName())

    def _on_path(self, action: QAction) -> None:
        self.path_chosen.emit(str(action.data()))

    def _on_theme(self, action: QAction) -> None:
        self._store.update(theme=action.data())

    def _on_changed(self, old: AppState, new: AppState) -> None:
        del old
        for name, text in (("undo", self._store.undo_text), ("redo", self._store.redo_text)):
            self.actions[name].setEnabled(bool(text))
            self.actions[name].setText(f"&{name.capitalize()} {text}".rstrip())
        for action in self._themes.actions():
            action.setChecked(action.data() == new.theme)
        self.actions[new.workspace].setChecked(True)

    def show_keys(self) -> None:
        """List every key."""
        commands = [c for c in COMMANDS if c.keys]
        keys = [self.actions[c.name].shortcuts() for c in commands]
        lines = [
            (c.text.replace("&", ""), ", ".join(k.toString() for k in ks)) for c, ks in zip(commands, keys, strict=True)
        ]
        lines += [("Plots: pan, zoom, show all", "arrows, + and −, Home"), ("Histograms: show the bulk", "B"),
                  ("Choices in a row", "arrows"), ("Numbers", "up and down"),
                  ("Copy the runs as a table", "Ctrl+C")]  # fmt: skip
        rows = "".join(f"<tr><td style='padding-right:24px'>{t}</td><td>{k}</td></tr>" for t, k in lines)
        self._tell("Keyboard shortcuts", f"<table>{rows}</table>")

    def show_about(self) -> None:
        """Say which versions these are, and under which licences."""
        versions = "<br>".join(f"{name} {installed(name)}" for name in PACKAGES)
        self._tell(
            f"qexplorer {__version__}",
            f"<p>Python {platform.python_version()}<br>{versions}</p><p>MIT licence. Qt and PySide6 are used under the "
            "LGPL 3; the typeface is Inter (SIL OFL 1.1); the digits are UCI's (CC BY 4.0).</p>",
        )

    def _tell(self, title: str, text: str) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.Close, self._window)
        box.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()


def _check_shown(menu: QMenu, shown: ShownPanels) -> None:
    for action in menu.actions():
        action.setChecked(shown.is_shown(action.data()))
