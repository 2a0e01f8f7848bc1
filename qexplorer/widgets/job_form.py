"""The settings of a job in a row, built from the fields of its dataclass and their metadata."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.widgets.controls import Button, Combo, Field, caption
from qexplorer.widgets.settings_row import NumberField
from qexplorer.widgets.theme import scaled

Control = Combo | NumberField | Field


class JobForm(QWidget):
    """Value in: a job; signal out: a copy with other settings. A field's metadata gives its title, help and choices;
    `browse` (`file` or `folder`) gives it a button that asks for a path, `minor` folds it away.
    """

    edited = Signal(object)

    def __init__(self, job: Plugin, titles: Mapping[str, str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.job = job
        self._titles = titles or {}
        self.controls: dict[str, Control] = {}
        self._refusal = caption("")
        self._refusal.setForegroundRole(self.palette().ColorRole.BrightText)
        self._more = Button("More")
        self._more.setToolTip("Show the job's other settings")
        self._more.setAccessibleName("Show the job's other settings")
        self._more.setCheckable(True)
        self._more.toggled.connect(self._on_more)
        self._rest = QWidget()
        self._rest.hide()
        first, rest = QHBoxLayout(), QHBoxLayout(self._rest)
        for each in dataclasses.fields(job):  # pyright: ignore[reportArgumentType]
            stretch = 3 if "choices" in each.metadata else 2
            (rest if each.metadata.get("minor") else first).addLayout(self._build(each), stretch)
        for row in (first, rest):
            row.setSpacing(10)
            row.setContentsMargins(0, 0, 0, 0)
        rest.addStretch(1)
        head = QHBoxLayout()
        head.addLayout(first, 1)
        beside = QVBoxLayout()
        beside.addStretch()
        beside.addWidget(self._more)
        head.addLayout(beside)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(head)
        column.addWidget(self._rest)
        column.addWidget(self._refusal)
        self.show_job(job)

    def show_job(self, job: Plugin) -> None:
        """Show the settings of a job of the same kind."""
        self.job = job
        for name, control in self.controls.items():
            value = getattr(job, name)
            if isinstance(control, Combo):
                control.setCurrentIndex(control.findData(value))
            elif isinstance(control, NumberField):
                control.show_number(value)
            elif control.text() != value:
                control.setText(value)
        self.show_refusal("")

    def commit(self) -> bool:
        """Take over what stands in the fields, though the cursor is still in one; whether it is possible so."""
        self._on_edited()
        return self._refusal.isHidden()

    def show_refusal(self, reason: str) -> None:
        """Say below the fields why the job cannot be had so."""
        self._refusal.setText(reason)
        self._refusal.setVisible(bool(reason))

    def _build(self, each: Any) -> QGridLayout:
        title, text = each.metadata["title"], each.metadata["help"]
        kind = get_type_hints(type(self.job))[each.name]
        control: Control
        if "choices" in each.metadata:
            control = Combo()
            for choice in each.metadata["choices"]:
                control.addItem(str(self._titles.get(choice, choice)), choice)
            control.activated.connect(self._on_edited)
        elif kind is int:
            control = NumberField(int)
            control.committed.connect(self._on_edited)
        else:
            control = Field()
            control.editingFinished.connect(self._on_edited)
        control.setAccessibleName(title)
        control.setObjectName(f"job_{each.name}")
        control.setToolTip(text)
        texts = [control.itemText(i) for i in range(control.count())] if isinstance(control, Combo) else []
        widest = max((control.fontMetrics().horizontalAdvance(text) + 36 for text in texts), default=56)
        control.setMinimumWidth(widest)
        label = QLabel(title)
        label.setFont(scaled(0.88))
        label.setForegroundRole(self.palette().ColorRole.PlaceholderText)
        label.setBuddy(control)
        label.setToolTip(text)
        cell = QGridLayout()
        cell.setVerticalSpacing(1)
        cell.setHorizontalSpacing(3)
        cell.addWidget(label, 0, 0)
        cell.addWidget(control, 1, 0)
        if "browse" in each.metadata:
            button = Button("…")
            button.setMaximumWidth(28)
            button.setAccessibleName(f"Choose {title}")
            button.setToolTip(f"Choose a {each.metadata['browse']}")
            button.setProperty("field", each.name)
            button.setProperty("kind", each.metadata["browse"])
            button.clicked.connect(self._on_browse)
            cell.addWidget(button, 1, 1)
        self.controls[each.name] = control
        return cell

    def _on_more(self, on: bool) -> None:
        self._rest.setVisible(on)
        self._more.setText("Less" if on else "More")

    def _on_browse(self) -> None:
        button = self.sender()
        assert button is not None  # noqa: S101
        folder = button.property("kind") == "folder"
        dialog = QFileDialog(self, "Choose a folder" if folder else "Choose a file")
        dialog.setFileMode(QFileDialog.FileMode.Directory if folder else QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setProperty("field", button.property("field"))
        dialog.fileSelected.connect(self._on_path)
        dialog.open()

    def _on_path(self, path: str) -> None:
        dialog = self.sender()
        assert dialog is not None  # noqa: S101
        self._edit({dialog.property("field"): path})

    def _on_edited(self) -> None:
        values: dict[str, Any] = {}
        for name, control in self.controls.items():
            try:
                values[name] = (
                    control.currentData()
                    if isinstance(control, Combo)
                    else control.read()
                    if isinstance(control, NumberField)
                    else control.text().strip()
                )
            except ValueError:
                reason = f"{control.accessibleName()}: that is not a whole number."
                if isinstance(control, Field):
                    control.show_wrong(reason)
                self.show_refusal(reason)
                return
            if isinstance(control, Field):
                control.show_wrong("")
        self._edit(values)

    def _edit(self, values: Mapping[str, Any]) -> None:
        try:
            job = dataclasses.replace(self.job, **values)  # pyright: ignore[reportArgumentType]
        except UserError as error:
            self.show_refusal(str(error))
            return
        self.show_refusal("")
        if job != self.job:
            self.edited.emit(job)
