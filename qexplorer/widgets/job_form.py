"""The settings of a job in a row, built from the fields of its dataclass and their metadata."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, get_type_hints

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.widgets.controls import Button, Combo, Field, LinkButton, caption
from qexplorer.widgets.offered import Offered
from qexplorer.widgets.settings_row import NumberField
from qexplorer.widgets.theme import scaled

Control = Combo | NumberField | Field
IN_A_ROW = 4
"""So many fields stand beside each other."""


class JobForm(QWidget):
    """Value in: a job; signal out: a copy with other settings. A field's metadata gives its title, help and choices;
    `offers` are texts that it offers, `browse` (`file` or `folder`) gives it a button that asks for a path, `minor`
    folds it away, `wide` gives it the room of two. `offers_opening` names a field whose offers are about to be seen,
    `tried` the job (`trial`) that shows first what a field does.
    """

    edited = Signal(object)
    offers_opening = Signal(str)
    tried = Signal(str)

    def __init__(self, job: Plugin, titles: Mapping[str, str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.job = job
        self._titles = titles or {}
        self.controls: dict[str, Control] = {}
        self._refusal = caption("")
        self._refusal.setWordWrap(True)
        self._refusal.setForegroundRole(self.palette().ColorRole.BrightText)
        self._more = Button("More")
        self._more.setToolTip("Show the job's other settings")
        self._more.setAccessibleName("Show the job's other settings")
        self._more.setCheckable(True)
        self._more.toggled.connect(self._on_more)
        self._rest = QWidget()
        self._rest.hide()
        fields = dataclasses.fields(job)  # pyright: ignore[reportArgumentType]
        first = self._rows([each for each in fields if not each.metadata.get("minor")])
        rest = self._rows([each for each in fields if each.metadata.get("minor")])
        self._rest.setLayout(rest)
        beside = QVBoxLayout()
        beside.addStretch()
        beside.addWidget(self._more)
        head = QHBoxLayout()
        head.addLayout(first, 1)
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
                control.setCursorPosition(0)  # the beginning says what it is
        self.show_refusal("")

    def show_offers(self, name: str, offers: Sequence[str], lines: Mapping[str, str] | None = None) -> None:
        """Offer these texts for a field from now on, where it has such; `lines` as in `Offered`."""
        control = self.controls.get(name)
        if isinstance(control, Offered):
            control.show_offers(offers, lines)

    def show_fixed(self, names: Collection[str], reason: str) -> None:
        """Let nobody change these fields, for that reason, and all others be changed."""
        for each in dataclasses.fields(self.job):  # pyright: ignore[reportArgumentType]
            control = self.controls[each.name]
            control.setEnabled(each.name not in names)
            control.setToolTip(reason if each.name in names else each.metadata["help"])

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
        elif kind in (int, float):
            control = NumberField(kind)
            control.committed.connect(self._on_edited)
        elif "offers" in each.metadata:
            control = Offered(each.metadata["offers"])
            control.editingFinished.connect(self._on_edited)
            control.picked.connect(self._on_edited)
            control.opening.connect(partial(self.offers_opening.emit, each.name))
        else:
            control = Field()
            control.editingFinished.connect(self._on_edited)
        if isinstance(control, Field):
            control.setPlaceholderText(each.metadata.get("empty", ""))
        control.setAccessibleName(title)
        control.setObjectName(f"job_{each.name}")
        control.setToolTip(text)
        texts = [control.itemText(i) for i in range(control.count())] if isinstance(control, Combo) else []
        least = 96 if isinstance(control, Offered) else 56
        widest = min(max((control.fontMetrics().horizontalAdvance(text) + 36 for text in texts), default=least), 220)
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
        trial = each.metadata.get("trial", self.job.name)
        if trial != self.job.name:
            link = LinkButton("Preview")
            link.setFont(scaled(0.88))
            link.setObjectName(f"preview_{each.name}")
            link.setAccessibleName(f"Preview {title.lower()}")
            link.setToolTip(f"Show what the {title.lower()} do to one layer, before they are applied to all")
            link.clicked.connect(partial(self._on_trial, trial))
            cell.addWidget(link, 0, 0, Qt.AlignmentFlag.AlignRight)
        self.controls[each.name] = control
        return cell

    def _on_trial(self, trial: str) -> None:
        if self.commit():
            self.tried.emit(trial)

    def _rows(self, fields: Sequence[Any]) -> QGridLayout:
        """Fields beside and below each other, in columns of the same width; one that is `wide` takes two of them."""
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(4)
        place = 0
        for each in fields:
            span = 2 if each.metadata.get("wide") else 1
            if place % IN_A_ROW + span > IN_A_ROW:
                place += IN_A_ROW - place % IN_A_ROW
            grid.addLayout(self._build(each), place // IN_A_ROW, place % IN_A_ROW, 1, span)
            place += span
        for column in range(min(IN_A_ROW, max(place, 1))):
            grid.setColumnStretch(column, 5 if column else 6)  # the first has the longest texts
        return grid

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
                whole = "whole " if isinstance(control, NumberField) and control.kind is int else ""
                reason = f"{control.accessibleName()}: that is not a {whole}number."
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
