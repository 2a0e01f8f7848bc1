"""The settings of a job in a row, built from the fields of its dataclass and their metadata."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.settings import Setting, schema
from qexplorer.widgets.controls import Button, Combo, Field, LinkButton, caption, field_title
from qexplorer.widgets.offered import Offered
from qexplorer.widgets.settings_row import NumberField
from qexplorer.widgets.tall_area import SLACK, TallArea
from qexplorer.widgets.theme import Theme, scaled
from qexplorer.widgets.views import thin_scroll_bars

Control = Combo | NumberField | Field
IN_A_ROW = 4
"""So many fields stand beside each other."""
GAP = 4
"""Pixels between a field and the name of the one below."""
MARKED = "More •"


class JobForm(QWidget):
    """Value in: a job; signal out: a copy with other settings. A field's metadata gives its title, help and choices;
    `offers` are texts that it offers, `browse` (`file` or `folder`) gives it a button that asks for a path, `empty` is
    the word for an empty text or a 0, `minor` folds it away, `wide` gives it the room of two. `offers_opening` names a
    field whose offers are about to be seen, `tried` the job (`trial`) that shows first what a field does. Escape takes
    back what was typed and is not the job's yet.
    """

    edited = Signal(object)
    offers_opening = Signal(str)
    tried = Signal(str)

    def __init__(self, job: Plugin, titles: Mapping[str, str] | None = None, parent: QWidget | None = None) -> None:
        """`titles` are the names of choices on screen, by the choice or by `FIELD=CHOICE`."""
        super().__init__(parent)
        self.job = job
        self._titles = titles or {}
        self.controls: dict[str, Control] = {}
        self._refusal = caption("")
        self._refusal.setWordWrap(True)
        self._refusal.setForegroundRole(self.palette().ColorRole.BrightText)
        self._more = Button(MARKED)
        self._more.setMinimumWidth(self._more.sizeHint().width())
        self._more.setAccessibleName("Show the job's other settings")
        self._more.setCheckable(True)
        self._more.toggled.connect(self._on_more)
        self._cells: dict[str, QWidget] = {}
        self._area = TallArea(self._grid())
        self._area.least = 2 * self._cells[next(iter(self._cells))].sizeHint().height() + GAP + SLACK
        beside = QVBoxLayout()
        beside.setSpacing(1)
        beside.addWidget(field_title(""))
        beside.addWidget(self._more)
        beside.addStretch()
        head = QHBoxLayout()
        head.addWidget(self._area, 1)
        head.addLayout(beside)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(head)
        column.addWidget(self._refusal)
        self.show_job(job)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        thin_scroll_bars(self._area, theme)

    @property
    def spare(self) -> int:
        """The pixels in height that it can do without."""
        return self._area.sizeHint().height() - self._area.minimumSizeHint().height()

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
        self.show_refusal(None)
        self._show_more()

    def show_offers(self, name: str, offers: Sequence[str], lines: Mapping[str, str] | None = None) -> None:
        """Offer these texts for a field from now on, where it has such; `lines` as in `Offered`."""
        control = self.controls.get(name)
        if isinstance(control, Offered):
            control.show_offers(offers, lines)

    def show_fixed(self, names: Collection[str], reason: str) -> None:
        """Let nobody change these fields, for that reason, and all others be changed."""
        for each in schema(type(self.job)):
            control = self.controls[each.name]
            control.setEnabled(each.name not in names)
            control.setToolTip(reason if each.name in names else each.help)

    def commit(self) -> bool:
        """Take over what stands in the fields, though the cursor is still in one; whether it is possible so."""
        self._on_edited()
        return self._refusal.isHidden()

    def show_refusal(self, error: UserError | None) -> None:
        """Say below the fields why the job cannot be had so, and mark the one at fault."""
        self._refusal.setText("" if error is None else str(error))
        self._refusal.setVisible(error is not None)
        self.mark(error)

    def mark(self, error: UserError | None) -> None:
        """Mark the field that is at fault, and no other."""
        at_fault = "" if error is None else error.field
        for name, control in self.controls.items():
            if isinstance(control, Field):
                control.show_wrong(str(error) if name == at_fault else "")
        if at_fault in self.controls:
            self._more.setChecked(self._more.isChecked() or at_fault in self._minor)
            self._area.ensureWidgetVisible(self._cells[at_fault])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self._typed:
            self.show_job(self.job)
        else:
            super().keyPressEvent(event)

    @property
    def _typed(self) -> bool:
        """Whether something stands in the fields that is not the job's."""
        try:
            return any(_read(control) != getattr(self.job, name) for name, control in self.controls.items())
        except ValueError:
            return True

    def _build(self, each: Setting) -> QWidget:
        title, text = each.title, each.help
        control: Control
        if each.choices:
            control = Combo()
            for choice in each.values:
                title_of = self._titles.get(f"{each.name}={choice}", self._titles.get(choice, choice))
                control.addItem(str(title_of), choice)
            control.activated.connect(self._on_edited)
        elif each.kind in (int, float):
            control = NumberField(each.kind, zero=each.empty)
            control.committed.connect(self._on_edited)
        elif each.offers:
            control = Offered(each.offers)
            control.editingFinished.connect(self._on_edited)
            control.picked.connect(self._on_edited)
            control.opening.connect(partial(self.offers_opening.emit, each.name))
        else:
            control = Field()
            control.editingFinished.connect(self._on_edited)
        if isinstance(control, Field):
            control.setPlaceholderText(each.empty)
        control.setAccessibleName(title)
        control.setObjectName(f"job_{each.name}")
        control.setToolTip(text)
        texts = [control.itemText(i) for i in range(control.count())] if isinstance(control, Combo) else []
        least = 96 if isinstance(control, Offered) else 56
        widest = min(max((control.fontMetrics().horizontalAdvance(text) + 36 for text in texts), default=least), 220)
        control.setMinimumWidth(widest)
        label = field_title(title, control)
        label.setToolTip(text)
        whole = QWidget()
        cell = QGridLayout(whole)
        cell.setContentsMargins(0, 0, 0, 0)
        cell.setVerticalSpacing(1)
        cell.setHorizontalSpacing(3)
        cell.addWidget(label, 0, 0)
        cell.addWidget(control, 1, 0)
        if each.browse:
            button = Button("…")
            button.setMaximumWidth(28)
            button.setAccessibleName(f"Choose {title}")
            button.setToolTip(f"Choose a {each.browse}")
            button.setProperty("field", each.name)
            button.setProperty("kind", each.browse)
            button.clicked.connect(self._on_browse)
            cell.addWidget(button, 1, 1)
        if each.trial not in ("", self.job.name):
            link = LinkButton("Preview")
            link.setFont(scaled(0.88))
            link.setObjectName(f"preview_{each.name}")
            link.setAccessibleName(f"Preview {title.lower()}")
            link.setToolTip(f"Show what the {title.lower()} do to one layer, before they are applied to all")
            link.clicked.connect(partial(self._on_trial, each.trial))
            cell.addWidget(link, 0, 0, Qt.AlignmentFlag.AlignRight)
        self.controls[each.name] = control
        return whole

    def _on_trial(self, trial: str) -> None:
        if self.commit():
            self.tried.emit(trial)

    def _grid(self) -> QWidget:
        """Fields beside and below each other, in columns of the same width; one that is `wide` takes two of them.

        Those that are folded away come last, in rows of their own.
        """
        content = QWidget()
        grid = QGridLayout(content)
        grid.setContentsMargins(0, 0, 3, SLACK)  # and for the edge of a scroll bar
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(GAP)
        fields = schema(type(self.job))
        self._minor = [each.name for each in fields if each.minor]
        place = 0
        for each in sorted(fields, key=lambda each: each.name in self._minor):
            span = 2 if each.wide else 1
            if place % IN_A_ROW + span > IN_A_ROW or each.name in self._minor[:1]:
                place += -place % IN_A_ROW
            cell = self._cells[each.name] = self._build(each)
            cell.setVisible(each.name not in self._minor)
            grid.addWidget(cell, place // IN_A_ROW, place % IN_A_ROW, 1, span)
            place += span
        for column in range(min(IN_A_ROW, max(place, 1))):
            grid.setColumnStretch(column, 5 if column else 6)  # the first has the longest texts
        grid.setRowStretch(place // IN_A_ROW + 1, 1)
        return content

    def _on_more(self, on: bool) -> None:
        for name in self._minor:
            self._cells[name].setVisible(on)
        self._show_more()

    def _show_more(self) -> None:
        """Say whether there is something behind More that is not as it is by itself."""
        minor = [each for each in schema(type(self.job)) if each.name in self._minor]
        changed = [each.title for each in minor if getattr(self.job, each.name) != each.default]
        self._more.setText("Less" if self._more.isChecked() else MARKED if changed else "More")
        self._more.setToolTip("; changed: ".join(filter(None, ["Show the job's other settings", ", ".join(changed)])))

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
                values[name] = _read(control)
            except ValueError:
                whole = "whole " if isinstance(control, NumberField) and control.kind is int else ""
                reason = f"{control.accessibleName()}: that is not a {whole}number."
                self.show_refusal(UserError(reason, field=name))
                return
        self._edit(values)

    def _edit(self, values: Mapping[str, Any]) -> None:
        try:
            job = dataclasses.replace(self.job, **values)  # pyright: ignore[reportArgumentType]
        except UserError as error:
            self.show_refusal(error)
            return
        self.show_refusal(None)
        if job != self.job:
            self.edited.emit(job)


def _read(control: Control) -> Any:
    """What stands there. Raises `ValueError` for text that is no number where there has to be one."""
    if isinstance(control, Combo):
        return control.currentData()
    return control.read() if isinstance(control, NumberField) else control.text().strip()
