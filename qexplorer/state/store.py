"""`Store`: holds the state, tells of changes with one signal, and can take them back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Signal

from qexplorer.state.app_state import AppState, Workspace, describe

DEPTH = 500
"""How many changes can be taken back."""
UNMOVED = ("workspace",)
"""Fields that say where one looks, not what was chosen: undo leaves them alone."""


class Store(QObject):
    """The only place where the state changes. Undo and session loading use the same path as every control.

    `update(..., drag="clip")` merges with the change before it when that had the same `drag`, so that a drag is one
    entry; a drag that ends where it began leaves none.
    """

    changed = Signal(object, object)  # old: AppState, new: AppState

    def __init__(self, state: AppState | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state or AppState()
        self._past: list[AppState] = []
        self._future: list[AppState] = []
        self._drag = ""

    @property
    def state(self) -> AppState:
        """The state now."""
        return self._state

    def update(self, *, drag: str = "", **changes: Any) -> None:
        """Change fields of the state; values that are equal change nothing."""
        self.move_to(replace(self._state, **changes), drag=drag)

    def move_to(self, new: AppState, *, drag: str = "") -> None:
        """Make `new` the state, with an undo entry."""
        if new == self._state:
            return
        if not (drag and drag == self._drag):
            self._past = [*self._past[1 - DEPTH :], self._state]
        elif self._past and self._past[-1] == new:
            self._past.pop()
            drag = ""
        self._drag = drag
        self._future.clear()
        self._set(new)

    def replace_silently(self, changes: Mapping[str, Any]) -> None:
        """Change fields without an undo entry, for what follows from a choice (the first tensor of an opened file)."""
        new = replace(self._state, **changes)
        if new != self._state:
            self._set(new)

    def go_to(self, workspace: Workspace) -> None:
        """Look at another workspace."""
        self.replace_silently({"workspace": workspace})

    def end_drag(self) -> None:
        """The next change is an entry of its own, whatever it is."""
        self._drag = ""

    def undo(self) -> None:
        """Take the last change back."""
        if self._past:
            self._future.append(self._state)
            self._drag = ""
            self._return_to(self._past.pop())

    def redo(self) -> None:
        """Do the change again that was taken back last."""
        if self._future:
            self._past.append(self._state)
            self._drag = ""
            self._return_to(self._future.pop())

    @property
    def undo_text(self) -> str:
        """What `undo` would take back; empty if there is nothing."""
        return describe(self._past[-1], self._state) if self._past else ""

    @property
    def redo_text(self) -> str:
        """What `redo` would do again; empty if there is nothing."""
        return describe(self._state, self._future[-1]) if self._future else ""

    def _return_to(self, kept: AppState) -> None:
        self._set(replace(kept, **{name: getattr(self._state, name) for name in UNMOVED}))

    def _set(self, new: AppState) -> None:
        old, self._state = self._state, new
        self.changed.emit(old, new)
