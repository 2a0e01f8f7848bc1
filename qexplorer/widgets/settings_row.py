"""The settings of one plugin as small fields in a row."""

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.settings import Setting, schema
from qexplorer.widgets.controls import Field, caption
from qexplorer.widgets.fields import Control, Editor, NumberField

NARROW = 38
"""Pixels that a field has at least: two of them with their names fit beside the names of the form."""


class SettingsRow(QWidget):
    """Value in: a plugin; signal out: a copy with other settings, or the reason why one is not possible."""

    edited = Signal(object)  # Plugin
    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(6)
        self._editor = Editor(None, self)

    @property
    def fields(self) -> dict[str, Control]:
        """The controls, by the names of their settings."""
        return self._editor.controls

    def show_plugin(self, plugin: Plugin) -> None:
        """Show a plugin's settings, minor ones only where they were set; the row hides where there is none."""
        shown = [each for each in schema(type(plugin)) if not each.minor or getattr(plugin, each.name) != each.default]
        if type(plugin) is not type(self._editor.value) or [each.name for each in shown] != list(self.fields):
            self._build(plugin, shown)
        self._editor.show_settings(plugin)
        self.setVisible(bool(self.fields))

    def _build(self, plugin: Plugin, shown: Sequence[Setting]) -> None:
        while (item := self._row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._editor.deleteLater()
        self._editor = Editor(plugin, self)
        self._editor.edited.connect(self.edited)
        self._editor.refused.connect(self._on_refused)
        for each in shown:
            field = self._editor.add(each)
            field.setAccessibleName(f"{plugin.title}: {each.title}")
            field.setMinimumWidth(NARROW)
            if isinstance(field, NumberField):
                field.setToolTip(f"{each.help or each.title}. Type a number, or use the up and down keys.")
            label = caption(each.title)
            label.setBuddy(field)
            label.setToolTip(each.help)
            self._row.addWidget(label)
            self._row.addWidget(field, 1)

    def _on_refused(self, error: UserError | None) -> None:
        if error is not None and error.field not in self.fields:  # it lies in all of them together
            for field in self.fields.values():
                if isinstance(field, Field):
                    field.show_wrong(str(error))
        self.refused.emit("" if error is None else str(error))
