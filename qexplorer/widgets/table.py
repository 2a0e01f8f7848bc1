"""The view of every table: its look, its keys, and what it hands to the clipboard."""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from PySide6.QtCore import (
    QAbstractItemModel,
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QPainter, QPalette, QPen
from PySide6.QtWidgets import QComboBox, QHeaderView, QLineEdit, QStyle, QStyleOptionViewItem, QTableView, QWidget

from qexplorer.widgets.lines import LINE, Column, LineFilter, Lines, as_tsv
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import Index, RowDelegate, apply_theme, configure_view

T = TypeVar("T")
TAKEN = "taken"
LEAST_ROWS = 6


class LineDelegate(RowDelegate):
    """Draws what a column says, and what it paints over that."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        table = self.parent()
        if not isinstance(table, Table):
            return
        column, area = table.lines.columns[index.column()], QRect(option.rect)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, option.palette.color(QPalette.ColorRole.Highlight))
        option.rect = area.adjusted(table.margin + column.indent, 0, -table.margin, 0)
        super().paint(painter, option, index)
        option.rect = area
        if column.paint is not None:
            painter.save()
            column.paint(painter, option, index.data(LINE), table.lines.theme)
            painter.restore()
        if table.grouped and index.row() and table.starts(index.data(LINE)):
            painter.setPen(QPen(option.palette.color(QPalette.ColorRole.Mid), 1))
            painter.drawLine(area.topLeft(), area.topRight())

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: Index) -> QWidget:
        table = self.parent()
        offers = table.lines.columns[index.column()].offers if isinstance(table, Table) else ()
        if not offers:
            return super().createEditor(parent, option, index)
        editor = QComboBox(parent)
        editor.setEditable(True)
        editor.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        field = QLineEdit()
        editor.setLineEdit(field)
        field.setCompleter(None)  # pyright: ignore[reportArgumentType]  it would go on with what is typed
        editor.addItems(list(offers))
        editor.setMinimumWidth(editor.sizeHint().width())
        editor.activated.connect(lambda: self._take(editor))
        return editor

    def setEditorData(self, editor: QWidget, index: Index) -> None:
        if isinstance(editor, QComboBox):
            editor.setEditText(str(index.data(Qt.ItemDataRole.EditRole)))
            if (field := editor.lineEdit()) is not None:
                field.selectAll()
        else:
            super().setEditorData(editor, index)

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: Index) -> None:
        if isinstance(editor, QComboBox):
            model.setData(index, editor.currentText())
        else:
            super().setModelData(editor, model, index)

    def eventFilter(self, editor: QObject, event: QEvent) -> bool:
        entered = isinstance(event, QKeyEvent) and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if isinstance(editor, QComboBox) and entered and event.type() == QEvent.Type.KeyPress:
            self._take(editor)
            return True
        return super().eventFilter(editor, event)

    def _take(self, editor: QComboBox) -> None:
        """What was written, or chosen from the list, is taken at once, and once."""
        if not editor.property(TAKEN):
            editor.setProperty(TAKEN, True)
            self.commitData.emit(editor)
            self.closeEditor.emit(editor)


class Table(QTableView, Generic[T]):
    """Value in: lines; signals out: the one that a double click, or a single one where `one_click`, or Enter chose,
    and that others were selected.

    The selected lines stay selected when others come. Ctrl+C copies all lines, or the selected ones where
    `copy_selected`. A hairline stands above each line that `starts` a group, as long as the order is that of the first
    column.
    """

    opened = Signal(object)  # the line
    lines_selected = Signal()

    def __init__(self, name: str, columns: Sequence[Column[T]], key: Callable[[T], Hashable],
                 parent: QWidget | None = None, *, enabled: Callable[[T], bool] | None = None,
                 tier: Callable[[T], int] | None = None,
                 starts: Callable[[T], bool] = lambda line: False, filtered: bool = False, one_click: bool = False,
                 copy_selected: bool = False, height: int = 9, slack: int = 12, margin: int = 0) -> None:  # fmt: skip
        """Rows are `height` pixels higher than their text, columns `slack` wider than their samples, and text stands
        `margin` farther from the edges than Qt would put it.
        """
        super().__init__(parent)
        self.lines = Lines(columns, key, self, enabled=enabled, tier=tier)
        self.filter = LineFilter(self.lines) if filtered else None
        self.starts = starts
        self.margin, self._slack, self._copy_selected = margin, slack, copy_selected
        self.copied: tuple[Column[T], ...] = ()
        self._kept: tuple[tuple[Hashable, ...], Hashable | None] = ((), None)
        self.setModel(self.filter or self.lines)
        configure_view(self, name)
        self.setItemDelegate(LineDelegate(self))
        self.setTabKeyNavigation(False)
        self.setEditTriggers(self.EditTrigger.EditKeyPressed | self.EditTrigger.SelectedClicked)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        rows.setDefaultSectionSize(self.fontMetrics().height() + height)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        (self.clicked if one_click else self.doubleClicked).connect(self._on_opened)
        self.model().modelAboutToBeReset.connect(self._on_resetting)
        self.model().modelReset.connect(self._on_reset)
        self.lines.layoutChanged.connect(self._show_spans)
        self.selectionModel().selectionChanged.connect(self.lines_selected)
        Table.show_widths(self)  # what a subclass adds to it is not there yet

    def minimumSizeHint(self) -> QSize:
        """Room for six rows."""
        rows = LEAST_ROWS * self.verticalHeader().defaultSectionSize()
        return QSize(super().minimumSizeHint().width(), self.horizontalHeader().sizeHint().height() + rows)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.lines.theme = theme
        apply_theme(self, theme)
        self.viewport().update()

    def show_columns(self, columns: Sequence[Column[T]], copied: Sequence[Column[T]] = ()) -> None:
        """Show the lines under other columns; `copied` are handed to the clipboard instead, where there are any."""
        self.copied = tuple(copied)
        self.lines.show_columns(columns)
        self.viewport().update()

    def show_widths(self) -> None:
        """Make each column as wide as its sample."""
        for i, column in enumerate(self.lines.columns):
            self.horizontalHeader().resizeSection(i, self.width_of(column))

    def width_of(self, column: Column[T]) -> int:
        """How wide a column is, in pixels."""
        return self.fontMetrics().horizontalAdvance(column.sample) + column.indent + self._slack

    # -- selection

    def line_at(self, index: Index) -> T | None:
        """What the row of an index shows; `None` where there is no such row, or it cannot be selected."""
        return index.data(LINE) if index.isValid() and index.flags() & Qt.ItemFlag.ItemIsEnabled else None

    @property
    def selected_lines(self) -> tuple[T, ...]:
        """The selected lines, from top to bottom."""
        indexes = sorted(self.selectionModel().selectedRows(), key=lambda index: index.row())
        return tuple(line for index in indexes if (line := self.line_at(index)) is not None)

    def index_of(self, key: Hashable) -> QModelIndex:
        """The first cell of a line; invalid where there is no such line, or it is filtered out."""
        index = self.lines.index(self.lines.row_of(key), 0)
        return index if self.filter is None else self.filter.mapFromSource(index)

    @property
    def selected_keys(self) -> tuple[Hashable, ...]:
        """The keys of the selected lines, from top to bottom."""
        return tuple(map(self.lines.key, self.selected_lines))

    def show_selected(self, keys: Sequence[Hashable]) -> None:
        """Select the lines of these keys alone, without a signal, and bring the first into sight."""
        there = {key for key in keys if self.index_of(key).isValid()}
        if there == set(self.selected_keys):
            return
        blocked = self.blockSignals(True)
        self.select_keys(keys)
        if lines := self.selected_lines:
            first = self.index_of(self.lines.key(lines[0]))
            self.selectionModel().setCurrentIndex(first, QItemSelectionModel.SelectionFlag.NoUpdate)
            self.scrollTo(first)
        self.blockSignals(blocked)

    def select_keys(self, keys: Sequence[Hashable]) -> None:
        """Select the lines of these keys alone; the others are passed over."""
        self.clearSelection()
        for index in filter(QModelIndex.isValid, map(self.index_of, keys)):
            flag = QItemSelectionModel.SelectionFlag
            self.selectionModel().select(index, flag.Select | flag.Rows)

    def _on_resetting(self) -> None:
        current = self.line_at(self.currentIndex())
        self._kept = (self.selected_keys, None if current is None else self.lines.key(current))

    def _on_reset(self) -> None:
        """The view forgets its selection with every reset of the model."""
        keys, current = self._kept
        blocked = self.blockSignals(True)
        index = QModelIndex() if current is None else self.index_of(current)
        if index.isValid():
            self.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
        self.select_keys(keys)
        self.blockSignals(blocked)
        self._show_spans()

    def _show_spans(self) -> None:
        if not any(column.across for column in self.lines.columns):
            return
        self.clearSpans()
        for at, column in enumerate(self.lines.columns):
            for row, line in enumerate(self.lines.shown if column.across else ()):
                if self.lines.across(column, line):
                    self.setSpan(row, at, 1, len(self.lines.columns) - at)

    @property
    def grouped(self) -> bool:
        """Whether the lines of a group stand together."""
        return self.horizontalHeader().sortIndicatorSection() == 0

    # -- hands

    def _on_opened(self, index: QModelIndex) -> None:
        line = self.line_at(index)
        if line is not None:
            self.opened.emit(line)

    def as_text(self) -> str:
        """What Ctrl+C copies: tab-separated text under titles; empty where there is nothing to copy."""
        lines = self.selected_lines if self._copy_selected else self.lines.shown
        shown = [column for i, column in enumerate(self.lines.columns) if not self.isColumnHidden(i)]
        return as_tsv(self.copied or shown, lines) if lines else ""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._on_opened(self.currentIndex())
        elif event.matches(QKeySequence.StandardKey.Copy):
            if text := self.as_text():
                QGuiApplication.clipboard().setText(text)
        else:
            super().keyPressEvent(event)
