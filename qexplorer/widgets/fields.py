"""A setting as a control. What stands in the control is its value; what the person did is `committed`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent, QStandardItemModel
from PySide6.QtWidgets import QFileDialog, QGridLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.settings import Setting
from qexplorer.widgets.controls import Button, Combo, field_title
from qexplorer.widgets.offered import Offered
from qexplorer.widgets.segmented import Segmented

FEW = 4
"""So many choices stand in a row; more go into a list."""
WIDEST = 220
"""Pixels that a choice has at most to begin with."""


class NumberField(Offered):
    """A number; the arrow keys step it: whole numbers by one, others by a hundredth of their size. Where it has a word
    for 0, that may be written instead, or nothing.
    """

    def __init__(self, setting: Setting, parent: QWidget | None = None) -> None:
        super().__init__((), parent)
        self.setting = setting
        self.setAlignment(Qt.AlignmentFlag.AlignRight)

    @property
    def value(self) -> Any:
        """The number. Raises `UserError` for text that is none."""
        text = self.text().strip().replace("−", "-")
        return self.setting.parse("0" if self.setting.empty and text in ("", self.setting.empty) else text)

    def show_value(self, value: Any) -> None:
        """Show a number, unless it is the one that is written there already."""
        try:
            same = self.value == value
        except UserError:
            same = False
        if self.setting.empty and value == 0:
            self.clear()
        elif not same:
            self._write(value)
        self.show_wrong("")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
            return
        try:
            value = self.value
        except UserError:
            return
        self._write(value + step * (1 if self.setting.kind is int else max(abs(value), 1e-6) / 100))
        self.committed.emit()

    def _write(self, value: Any) -> None:
        self.setText(str(value) if self.setting.kind is int else f"{value:.6g}")


class Listed(Combo):
    """One of `options` (value, label), in a list: what `Segmented` is in a row."""

    chosen = Signal(object)  # the value, when the person chose it

    def __init__(self, options: Sequence[tuple[object, str]], name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.show_options(options)
        self.setAccessibleName(name)
        self.activated.connect(self._on_activated)

    @property
    def value(self) -> Any:
        """The value that is shown as chosen."""
        return self.currentData()

    def show_value(self, value: object) -> None:
        """Show a value as chosen, without a signal."""
        self.setCurrentIndex(self.findData(value))

    def show_options(self, options: Sequence[tuple[object, str]]) -> None:
        """Offer these, as many as there were before; the one that is chosen stays so."""
        for i, (value, label) in enumerate(options):
            if i == self.count():
                self.addItem(label, value)
            self.setItemText(i, label)

    def show_refusals(self, refusals: Mapping[object, str], helps: Mapping[object, str]) -> None:
        """Grey the options out that have a reason here; `helps` explain the others."""
        model = self.model()
        if isinstance(model, QStandardItemModel):  # what a QComboBox makes for itself
            for i in range(self.count()):
                value = self.itemData(i)
                model.item(i).setEnabled(not refusals.get(value))
                text = refusals.get(value) or helps.get(value, "")
                self.setItemData(i, wrapped(text) if text else "", Qt.ItemDataRole.ToolTipRole)

    def _on_activated(self) -> None:
        self.chosen.emit(self.value)


Chooser = Listed | Segmented
Control = Listed | Offered


def chooser(setting: Setting) -> Chooser:
    """The control of a choice, of a value or of a plugin: few stand in a row."""
    options = _options(setting)
    return (Segmented if len(options) <= FEW else Listed)(options, setting.title)


def control(setting: Setting) -> Control:
    """The control of a setting in a form where each has a column's width."""
    made = _field(setting) if not setting.choices else _listed(setting)
    made.setAccessibleName(setting.title)
    made.setToolTip(setting.help)
    return made


def _listed(setting: Setting) -> Listed:
    made = Listed(_options(setting), setting.title)
    widest = max(made.fontMetrics().horizontalAdvance(label) for _, label in _options(setting))
    made.setMinimumWidth(min(widest + 36, WIDEST))
    return made


def _field(setting: Setting) -> Offered:
    made = NumberField(setting) if setting.kind in (int, float) else Offered(setting.offers)
    made.setPlaceholderText(setting.empty)
    made.setMinimumWidth(96 if setting.offers else 56)
    return made


def _options(setting: Setting) -> list[tuple[object, str]]:
    if setting.registry is not None:
        return [(plugin.name, plugin.title) for plugin in setting.registry]
    return [(choice.value, choice.title or choice.value) for choice in setting.choices]


class Editor(QObject):
    """The controls of a dataclass's settings. Value in; signals out: a copy with other settings, and why there can be
    none (a `UserError`; `None` once it can be had).
    """

    edited = Signal(object)
    refused = Signal(object)

    def __init__(self, value: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.value = value
        self.controls: dict[str, Control] = {}

    def add(self, setting: Setting, prefix: str = "") -> Control:
        """Make the control of a setting; `prefix` begins its object name."""
        made = self.controls[setting.name] = control(setting)
        made.setObjectName(prefix + setting.name)
        (made.chosen if isinstance(made, Listed) else made.committed).connect(self._on_committed)
        return made

    def show_settings(self, value: Any) -> None:
        """Show the settings of a value of the same kind."""
        self.value = value
        for name, each in self.controls.items():
            each.show_value(getattr(value, name))
        self.mark(None)

    def read(self) -> Any:
        """The value with what stands in the controls. Raises `UserError` where that cannot be."""
        return replace(self.value, **{name: each.value for name, each in self.controls.items()})

    def commit(self) -> bool:
        """Take over what stands in the controls; whether that is possible."""
        try:
            new = self.read()
        except UserError as error:
            self.refuse(error)
            return False
        self.refuse(None)
        if new != self.value:
            self.edited.emit(new)
        return True

    def refuse(self, error: UserError | None) -> None:
        """Mark the control at fault, and say why."""
        self.mark(error)
        self.refused.emit(error)

    def mark(self, error: UserError | None) -> None:
        """Mark the control at fault, and no other."""
        for name, each in self.controls.items():
            if isinstance(each, Offered):
                each.show_wrong(str(error) if error is not None and error.field == name else "")

    def _on_committed(self) -> None:
        self.commit()

    @property
    def typed(self) -> bool:
        """Whether something stands in the controls that is not the value's."""
        try:
            return self.read() != self.value
        except UserError:
            return True


class BrowseButton(Button):
    """Asks for the path of a setting and writes it into the setting's field."""

    def __init__(self, setting: Setting, field: Offered, parent: QWidget | None = None) -> None:
        super().__init__("…", parent)
        self._setting, self._field = setting, field
        self.setMaximumWidth(28)
        self.setAccessibleName(f"Choose {setting.title}")
        self.setToolTip(f"Choose a {setting.browse}")
        self.clicked.connect(self._on_clicked)

    def _on_clicked(self) -> None:
        every = f"{self._setting.files};;All files (*)" if self._setting.files else ""
        dialog = QFileDialog(self, self.toolTip(), filter=every)
        mode = QFileDialog.FileMode
        dialog.setFileMode(mode.Directory if self._setting.browse == "folder" else mode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self._on_chosen)
        dialog.open()

    def _on_chosen(self, path: str) -> None:
        self._field.setText(path)
        self._field.committed.emit()


def titled(setting: Setting, made: Control) -> QWidget:
    """A control with its title above it, and a button where it is a path."""
    whole = QWidget()
    grid = QGridLayout(whole)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setVerticalSpacing(1)
    grid.setHorizontalSpacing(3)
    grid.setRowStretch(3, 1)  # a neighbour may be taller
    label = field_title(setting.title, made)
    label.setToolTip(setting.help)
    grid.addWidget(label, 0, 0)
    grid.addWidget(made, 1, 0)
    if setting.browse and isinstance(made, Offered):
        grid.addWidget(BrowseButton(setting, made), 1, 1)
    return whole


def wrapped(text: str) -> str:
    """A tooltip that wraps at a readable width."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<div style='max-width: 320px'>{safe}</div>"
