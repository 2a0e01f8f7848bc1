"""The settings of one plugin as small fields in a row, built from the fields of its dataclass."""

import dataclasses
from typing import Any, get_type_hints

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.widgets.controls import Field, caption


class NumberField(Field):
    """A number; the arrow keys step it: whole numbers by one, others by a hundredth of their size. Where it has a word
    for `zero`, that may be written for 0, or nothing.
    """

    committed = Signal()

    def __init__(self, kind: type, parent: QWidget | None = None, *, zero: str = "") -> None:
        super().__init__(parent)
        self.kind, self.zero = kind, zero
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.editingFinished.connect(self.committed)

    def read(self) -> Any:
        """The number. Raises `ValueError` for text that is none."""
        text = self.text().strip().replace("−", "-")
        return self.kind(0 if self.zero and text in ("", self.zero) else text)

    def show_number(self, value: float) -> None:
        """Show a number, unless it is the one that is written there already."""
        try:
            same = self.read() == value
        except ValueError:
            same = False
        if self.zero and value == 0:
            self.clear()
        elif not same:
            self.setText(str(value) if self.kind is int else f"{value:.6g}")
        self.show_wrong("")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
            return
        try:
            value = self.read()
        except ValueError:
            return
        self.setText(str(value + step) if self.kind is int else f"{value + step * max(abs(value), 1e-6) / 100:.6g}")
        self.committed.emit()


class SettingsRow(QWidget):
    """Value in: a plugin; signal out: a copy with other settings, or the reason why one is not possible."""

    edited = Signal(object)  # Plugin
    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(6)
        self._plugin: Plugin | None = None
        self.fields: dict[str, NumberField] = {}

    def show_plugin(self, plugin: Plugin) -> None:
        """Show a plugin's settings; the row hides where it has none."""
        if type(plugin) is not type(self._plugin):
            self._build(plugin)
        self._plugin = plugin
        for name, field in self.fields.items():
            field.show_number(getattr(plugin, name))
        self.setVisible(bool(self.fields))

    def _build(self, plugin: Plugin) -> None:
        while self._row.count():
            item = self._row.takeAt(0)
            widget = item.widget() if item else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.fields = {}
        hints = get_type_hints(type(plugin))
        for each in dataclasses.fields(plugin):  # pyright: ignore[reportArgumentType]
            field = NumberField(hints[each.name])
            title = f"{plugin.title} {each.name}"
            field.setAccessibleName(title)
            field.setToolTip(f"{title}: type a number, or use the up and down keys.")
            field.committed.connect(self._on_committed)
            label = caption(each.name)
            label.setBuddy(field)
            self._row.addWidget(label)
            self._row.addWidget(field, 1)
            self.fields[each.name] = field

    def _on_committed(self) -> None:
        assert self._plugin is not None  # noqa: S101  there are fields only where there is a plugin
        settings: dict[str, Any] = {}
        for name, field in self.fields.items():
            try:
                settings[name] = field.read()
            except ValueError:
                reason = f"“{field.text()}” is not a {'whole ' if field.kind is int else ''}number."
                field.show_wrong(reason)
                self.refused.emit(reason)
                return
        try:
            plugin = dataclasses.replace(self._plugin, **settings)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
        except UserError as error:
            for field in self.fields.values():
                field.show_wrong(str(error))
            self.refused.emit(str(error))
            return
        for field in self.fields.values():
            field.show_wrong("")
        self.refused.emit("")
        if plugin != self._plugin:
            self.edited.emit(plugin)
