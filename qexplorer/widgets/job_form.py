"""The settings of a job in a grid, built from the fields of its dataclass."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.settings import Setting, schema
from qexplorer.widgets.controls import Button, caption
from qexplorer.widgets.fields import Control, Editor, titled
from qexplorer.widgets.offered import Offered
from qexplorer.widgets.tall_area import SLACK, TallArea
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import thin_scroll_bars

IN_A_ROW = 4
"""So many fields stand beside each other at most, and half as many at least."""
LEAST = 8
"""No field is narrower than so many times the height of its text."""
GAP = 4
"""Pixels between a field and the name of the one below."""
MARKED = "More •"


class JobForm(QWidget):
    """Value in: a job; signal out: a copy with other settings. `offers_opening` names a field whose offers are about to
    be seen. Escape takes back what was typed and is not the job's yet.
    """

    edited = Signal(object)
    offers_opening = Signal(str)

    def __init__(self, job: Plugin, hidden: Collection[str] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fields = tuple(each for each in schema(type(job)) if each.name not in hidden)
        self._minor = [each.name for each in self._fields if each.minor]
        self._editor = Editor(job, self)
        self._editor.edited.connect(self.edited)
        self._editor.refused.connect(self._say)
        self._refusal = caption("")
        self._refusal.setWordWrap(True)
        self._refusal.setForegroundRole(self.palette().ColorRole.BrightText)
        self.more = Button(MARKED)
        self.more.setMinimumWidth(self.more.sizeHint().width())
        self.more.setAccessibleName("Show the job's other settings")
        self.more.setCheckable(True)
        self.more.toggled.connect(self._on_more)
        self._cells: dict[str, QWidget] = {}
        self._area = TallArea(self._grid())
        self._area.least = 2 * self._cells[next(iter(self._cells))].sizeHint().height() + GAP + SLACK
        below = QHBoxLayout()
        below.setSpacing(10)
        below.addWidget(self.more, 0, Qt.AlignmentFlag.AlignTop)
        below.addWidget(self._refusal, 1)
        below.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self._area)
        column.addLayout(below)
        column.addStretch()
        self.show_job(job)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        thin_scroll_bars(self._area, theme)

    @property
    def refusal(self) -> str:
        """Why the job cannot be had so, as it stands below the fields."""
        return "" if self._refusal.isHidden() else self._refusal.text()

    @property
    def job(self) -> Plugin:
        """The job whose settings are shown."""
        return self._editor.value

    @property
    def controls(self) -> dict[str, Control]:
        """The controls, by the names of their settings."""
        return self._editor.controls

    def show_job(self, job: Plugin) -> None:
        """Show the settings of a job of the same kind."""
        self._editor.show_settings(job)
        self._say(None)
        self._show_more()

    def show_offers(self, name: str, offers: Sequence[str], lines: Mapping[str, str] | None = None) -> None:
        """Offer these texts for a field from now on, where it has such; `lines` as in `Offered`."""
        control = self.controls.get(name)
        if isinstance(control, Offered):
            control.show_offers(offers, lines)

    def show_fixed(self, names: Collection[str], reason: str) -> None:
        """Let nobody change these fields, for that reason, and all others be changed."""
        for each in self._fields:
            control = self.controls[each.name]
            control.setEnabled(each.name not in names)
            control.setToolTip(reason if each.name in names else each.help)

    def commit(self) -> bool:
        """Take over what stands in the fields, though the cursor is still in one; whether it is possible so."""
        return self._editor.commit() and not self.refusal

    def show_refusal(self, error: UserError | None) -> None:
        """Say below the fields why the job cannot be had so, and mark the one at fault."""
        self._say(error)
        self.mark(error)

    def mark(self, error: UserError | None) -> None:
        """Mark the field that is at fault, and no other."""
        self._editor.mark(error)
        self._show_fault(error)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self._editor.typed:
            self.show_job(self.job)
        else:
            super().keyPressEvent(event)

    def _say(self, error: UserError | None) -> None:
        self._refusal.setText("" if error is None else str(error))
        self._refusal.setVisible(error is not None)
        self._show_fault(error)

    def _show_fault(self, error: UserError | None) -> None:
        """Bring the field at fault into sight."""
        at_fault = "" if error is None else error.field
        if at_fault in self.controls:
            self.more.setChecked(self.more.isChecked() or at_fault in self._minor)
            self._area.ensureWidgetVisible(self._cells[at_fault])

    def _build(self, each: Setting) -> QWidget:
        control = self._editor.add(each, "job_")
        if isinstance(control, Offered):
            control.opening.connect(partial(self.offers_opening.emit, each.name))
        return titled(each, control)

    def _grid(self) -> QWidget:
        """Fields beside and below each other, in columns of the same width; one that is `wide` takes two of them.

        Those that are folded away come last, in rows of their own.
        """
        content = QWidget()
        grid = QGridLayout(content)
        grid.setContentsMargins(0, 0, 3, SLACK)  # and for the edge of a scroll bar
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(GAP)
        for each in sorted(self._fields, key=lambda each: each.name in self._minor):
            cell = self._cells[each.name] = self._build(each)
            cell.setVisible(each.name not in self._minor)
            cell.setMinimumWidth(LEAST * self.fontMetrics().height())
        self._lay(grid, IN_A_ROW // 2)
        return content

    def _lay(self, grid: QGridLayout, columns: int) -> None:
        """Put the fields into so many columns."""
        self._columns, place = columns, 0
        wide = {each.name for each in self._fields if each.wide}
        for name, cell in self._cells.items():
            span = 2 if name in wide else 1
            if place % columns + span > columns or name in self._minor[:1]:
                place += -place % columns
            grid.addWidget(cell, place // columns, place % columns, 1, span)
            place += span
        for column in range(IN_A_ROW):
            grid.setColumnStretch(column, 5 if column < columns else 0)
        grid.setRowStretch(place // columns + 1, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        columns = IN_A_ROW if self.width() > (LEAST + 2) * IN_A_ROW * self.fontMetrics().height() else IN_A_ROW // 2
        grid = self._area.content.layout()
        if columns != self._columns and isinstance(grid, QGridLayout):
            grid.setRowStretch(grid.rowCount() - 1, 0)
            self._lay(grid, columns)

    def _on_more(self, on: bool) -> None:
        for name in self._minor:
            self._cells[name].setVisible(on)
        self._show_more()

    def _show_more(self) -> None:
        """Say whether there is something behind More that is not as it is by itself."""
        minor = [each for each in self._fields if each.minor]
        changed = [each.title for each in minor if getattr(self.job, each.name) != each.default]
        self.more.setText("Less" if self.more.isChecked() else MARKED if changed else "More")
        self.more.setToolTip("; changed: ".join(filter(None, ["Show the job's other settings", ", ".join(changed)])))
