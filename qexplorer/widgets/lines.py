"""What a table shows: columns of callables over lines of any type, as one model for every table."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyleOptionViewItem

from qexplorer.numbers import MINUS
from qexplorer.text import cell, plain
from qexplorer.widgets.theme import LIGHT, Theme, scaled
from qexplorer.widgets.views import RIGHT, Index

T = TypeVar("T")
LINE = Qt.ItemDataRole.UserRole
"""The role under which a model gives the line itself."""
NONE = "–"
"""Stands where there is no figure."""
Role = Qt.ItemDataRole
Paint = Callable[[QPainter, QStyleOptionViewItem, T, Theme], None]
"""Draws something of a line into a cell, which is the option's `rect`."""


@dataclass(frozen=True)
class Column(Generic[T]):
    """What a column is called and what it says of a line; `sample` is as wide as the column.

    `sort` gives the value to sort by: lines whose value is None or NaN come last in either order. Where there is text
    `across`, it stands in place of all columns from this one on. `color` names a colour of the theme, "" for the usual
    one. `paint` draws over the text, `indent` pixels beside which are its own. `rank` says which columns give way where
    there is no room for all: those of rank 0 never do. Columns of one `group` are shown and hidden together. A
    `picture` has nothing to copy. Where it is `tiered`, lines of a lower tier come first in either order. `edit` gives
    the text that the person can change in place, None where they cannot, and `offers` are texts to choose from.
    """

    title: str
    help: str
    sample: str
    text: Callable[[T], str]
    sort: Callable[[T], Any] | None = None
    right: bool = True
    across: Callable[[T], str] | None = None
    tip: Callable[[T], str] | None = None
    spoken: Callable[[T], str] | None = None
    color: Callable[[T], str] | None = None
    bold: Callable[[T], bool] | None = None
    paint: Paint[T] | None = None
    indent: int = 0
    rank: int = 0
    group: str = ""
    picture: bool = False
    tiered: bool = False
    edit: Callable[[T], str | None] | None = None
    offers: tuple[str, ...] = ()


class Lines(QAbstractTableModel, Generic[T]):
    """Lines under columns, in the order they were given in or in that of a column; `key` tells lines apart.

    `enabled` says which lines can be selected; `tier` is that of a line, for columns that are tiered. `written` has a
    line, the title of one of its columns, and the text that the person wrote there.
    """

    written = Signal(object, str, str)

    def __init__(self, columns: Sequence[Column[T]], key: Callable[[T], Hashable], parent: QObject | None = None, *,
                 enabled: Callable[[T], bool] | None = None, tier: Callable[[T], int] | None = None,
                 ) -> None:  # fmt: skip
        super().__init__(parent)
        self._tier = tier
        self.columns = tuple(columns)
        self.theme = LIGHT
        self.key = key
        self._enabled = enabled
        self._lines: list[T] = []
        self._at: dict[Hashable, int] = {}
        self._order: list[int] = []
        self._place: list[int] = []
        self._sorted = (-1, False)

    def show_columns(self, columns: Sequence[Column[T]]) -> None:
        """Show the lines under other columns. As many as before take the places of those; the view is to repaint."""
        if len(columns) != len(self.columns):
            self.beginResetModel()
            self.columns = tuple(columns)
            self.endResetModel()
            return
        self.columns = tuple(columns)
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(columns) - 1)

    def show_lines(self, lines: Sequence[T]) -> None:
        """Show other lines. If their keys are those of the lines before, nothing but their text changes."""
        keys = [self.key(line) for line in lines]
        if keys == [self.key(line) for line in self._lines]:
            self._lines = list(lines)
            if lines:
                self.dataChanged.emit(self.index(0, 0), self.index(len(lines) - 1, len(self.columns) - 1))
            self.sort_again()
            return
        self.beginResetModel()
        self._lines, self._at = list(lines), {key: i for i, key in enumerate(keys)}
        self._arrange(self._in_order())
        self.endResetModel()

    def put(self, lines: Sequence[T]) -> None:
        """Replace the lines that have the same keys and add the others at the end, until the lines are sorted again."""
        added: list[T] = []
        for line in lines:
            at = self._at.get(self.key(line))
            if at is None:
                added.append(line)
                continue
            self._lines[at] = line
            row = self._place[at]
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(self.columns) - 1))
        if added:
            first, after = len(self._lines), len(self._lines) + len(added)
            self.beginInsertRows(QModelIndex(), first, after - 1)
            self._lines += added
            self._at.update((self.key(line), first + i) for i, line in enumerate(added))
            self._order += range(first, after)
            self._place += range(first, after)
            self.endInsertRows()

    def line(self, row: int) -> T:
        """What a row shows."""
        return self._lines[self._order[row]]

    @property
    def shown(self) -> tuple[T, ...]:
        """All lines in their order on screen."""
        return tuple(self._lines[at] for at in self._order)

    def row_of(self, key: Hashable) -> int:
        """The row of a key, −1 where there is none."""
        at = self._at.get(key)
        return -1 if at is None else self._place[at]

    # -- order

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sorted = (column, order == Qt.SortOrder.DescendingOrder)
        self.sort_again()

    def sort_again(self) -> None:
        """Put the lines that came or changed since the last time into their places too."""
        order = self._in_order()
        if order == self._order:
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        at = [self._order[index.row()] for index in before]
        self._arrange(order)
        after = [self.index(self._place[i], index.column()) for i, index in zip(at, before, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _arrange(self, order: list[int]) -> None:
        self._order, self._place = order, np.argsort(np.array(order, np.intp)).tolist()

    def _in_order(self) -> list[int]:
        """The lines' places in the order they were given in, as they follow on screen."""
        column, descending = self._sorted
        chosen = self.columns[column] if 0 <= column < len(self.columns) else None
        if chosen is None or chosen.sort is None:
            return list(range(len(self._lines)))
        order = self._by(list(map(chosen.sort, self._lines)), descending=descending)
        if chosen.tiered and self._tier is not None:
            tiers = [self._tier(line) for line in self._lines]
            order.sort(key=tiers.__getitem__)
        return order

    @staticmethod
    def _by(values: list[Any], *, descending: bool) -> list[int]:
        if all(isinstance(value, float | int | None) for value in values):
            figures = np.array(values, np.float64)  # where None is NaN, which stays last
            return np.argsort(-figures if descending else figures, kind="stable").tolist()
        known = [i for i, value in enumerate(values) if value is not None]
        known.sort(key=values.__getitem__, reverse=descending)
        return known + [i for i, value in enumerate(values) if value is None]

    # -- what Qt asks

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.columns)

    def flags(self, index: Index) -> Qt.ItemFlag:
        if index.isValid() and self._enabled is not None and not self._enabled(self.line(index.row())):
            return Qt.ItemFlag.ItemNeverHasChildren
        edited = index.isValid() and self._edited(self.columns[index.column()], self.line(index.row())) is not None
        return super().flags(index) | (Qt.ItemFlag.ItemIsEditable if edited else Qt.ItemFlag.NoItemFlags)

    def setData(self, index: Index, value: Any, role: int = Role.EditRole) -> bool:
        if role != Role.EditRole or not index.isValid() or str(value) == self.data(index, role):
            return False
        self.written.emit(self.line(index.row()), self.columns[index.column()].title, str(value))
        return True

    @staticmethod
    def _edited(column: Column[T], line: T) -> str | None:
        return column.edit(line) if column.edit is not None else None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Role.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical or not 0 <= section < len(self.columns):
            return None
        column = self.columns[section]
        if role == Role.DisplayRole:
            return column.title
        if role == Role.ToolTipRole:
            return plain(column.help)
        return RIGHT if role == Role.TextAlignmentRole and column.right else None

    def data(self, index: Index, role: int = Role.DisplayRole) -> Any:
        answer = self._ANSWERS.get(role)
        return answer(self, self.columns[index.column()], self.line(index.row())) if answer else None

    def across(self, column: Column[T], line: T) -> str:
        """What stands in place of a line's columns from this one on."""
        return column.across(line) if column.across is not None else ""

    def _color(self, column: Column[T], line: T) -> Any:
        role = column.color(line) if column.color is not None else ""
        return self.theme.color(role) if role else None

    _ANSWERS: ClassVar[dict[int, Callable[["Lines[Any]", Column[Any], Any], Any]]] = {
        Role.DisplayRole: lambda model, column, line: model.across(column, line) or column.text(line),
        Role.EditRole: lambda model, column, line: model._edited(column, line),
        Role.ToolTipRole: lambda model, column, line: plain((column.tip or column.text)(line)),
        Role.AccessibleTextRole: lambda model, column, line: column.spoken(line) if column.spoken else None,
        Role.TextAlignmentRole: lambda model, column, line: (
            RIGHT if column.right and not model.across(column, line) else None
        ),
        Role.ForegroundRole: lambda model, column, line: model._color(column, line),
        Role.FontRole: lambda model, column, line: scaled(1, bold=True) if column.bold and column.bold(line) else None,
        LINE: lambda model, column, line: line,
    }  # fmt: skip


class LineFilter(QSortFilterProxyModel, Generic[T]):
    """The lines that fit. Their order is that of the lines, which sort 300,000 rows in a moment."""

    def __init__(self, lines: Lines[T]) -> None:
        super().__init__(lines)
        self.setSourceModel(lines)
        self._fits: Callable[[T], bool] | None = None

    def show_fitting(self, fits: Callable[[T], bool] | None) -> None:
        """Show only the lines that fit; all of them without a test."""
        self.beginFilterChange()
        self._fits = fits
        self.endFilterChange(QSortFilterProxyModel.Direction.Rows)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self.sourceModel().sort(column, order)

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:
        source = self.sourceModel()
        return self._fits is None or (isinstance(source, Lines) and self._fits(source.line(row)))


def as_tsv(columns: Sequence[Column[T]], lines: Sequence[T]) -> str:
    """Tab-separated text under titles, for a spreadsheet: empty where there is no figure, with plain minus signs."""
    columns = [column for column in columns if not column.picture]
    rows = [[column.title for column in columns], *([column.text(line) for column in columns] for line in lines)]
    cells = [["" if text == NONE else cell(text.replace(MINUS, "-")) for text in row] for row in rows]
    return "\n".join("\t".join(row) for row in cells)
