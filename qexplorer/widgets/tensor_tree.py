"""The tree of tensors: filter, sort, select."""

from collections.abc import Iterable

from PySide6.QtCore import QModelIndex, QPoint, QRectF, Qt, Signal
from PySide6.QtGui import QAction, QFocusEvent, QPainter, QPalette, QResizeEvent
from PySide6.QtWidgets import QHeaderView, QStyleOptionViewItem, QTreeView, QWidget

from qexplorer import numbers
from qexplorer.collector import collector_paused
from qexplorer.widgets.bands import band_of
from qexplorer.widgets.tensor_model import (
    COLUMNS,
    LOST,
    MARK,
    NAME,
    SHAPE,
    SORT,
    SQNR,
    TYPE,
    VALUES,
    WEIGHS,
    TensorFilter,
    TensorModel,
    TensorRow,
)
from qexplorer.widgets.theme import LIGHT, Theme
from qexplorer.widgets.views import RIGHT, Index, RowDelegate, apply_theme, column_menu, configure_view

NARROW = 17
"""A tree that is not so many times as wide as its text is high has no room for shapes."""
UNFOLDED = 200
"""A filter that leaves at most so many layers unfolds them."""
FULL_SCALE_DB = 60.0
"""A bar that fills its cell."""


class TensorDelegate(RowDelegate):
    """Draws SQNR as a bar with its figure, in red what spoils it, and paler what is no weight."""

    theme = LIGHT

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:
        super().initStyleOption(option, index)
        marked = index.column() == SQNR and index.data(MARK)
        if marked or not index.data(WEIGHS):
            color = self.theme.color("clip" if marked else "muted")
            for role in (QPalette.ColorRole.Text, QPalette.ColorRole.HighlightedText):
                option.palette.setColor(role, color)
        if index.column() == SQNR:
            option.displayAlignment = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        text = index.data()
        if index.column() != SQNR or not text or index.data(MARK) or not index.data(WEIGHS):
            super().paint(painter, option, index)
            return
        self.initStyleOption(option, index)
        option.text = ""
        option.widget.style().drawControl(
            option.widget.style().ControlElement.CE_ItemViewItem, option, painter, option.widget
        )
        figures = option.fontMetrics.horizontalAdvance("000.0") + 8
        bar = QRectF(option.rect).adjusted(6, 0, -figures - 4, 0)
        bar.setTop(option.rect.center().y() - 3)
        bar.setHeight(7)
        db = float(index.data(SORT)[-1])
        painter.fillRect(bar, self.theme.color("hairline"))
        share = max(0.0, min(db / FULL_SCALE_DB, 1.0))
        color = self.theme.color("clip" if index.data(LOST) else band_of(db).role)
        painter.fillRect(QRectF(bar.left(), bar.top(), bar.width() * share, bar.height()), color)
        painter.setPen(option.palette.color(QPalette.ColorRole.Text))
        painter.drawText(option.rect.adjusted(0, 0, -6, 0), RIGHT, text)


class TensorTree(QTreeView):
    """Value in: rows; signal out: the name of the tensor that the person selected."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tensors = TensorModel(self)
        self.filter = TensorFilter(self)
        self.filter.setSourceModel(self.tensors)
        self.filter.rowsAboutToBeRemoved.connect(self._on_hiding)  # before the view's own, which moves the current row
        self.setModel(self.filter)
        configure_view(self, "Tensors")
        self.setVerticalScrollMode(self.ScrollMode.ScrollPerItem)  # no half row under the header
        self.setUniformRowHeights(True)
        self.setIndentation(10)
        self._delegate = TensorDelegate(self)
        self.setItemDelegate(self._delegate)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column, sample in (
            (TYPE, "bfloat16 "),
            (VALUES, "409.6 k"),
            (SQNR, "bar 000.0 "),
        ):
            header.resizeSection(column, self.fontMetrics().horizontalAdvance(sample) + 10)
        for column in (TYPE, VALUES):
            header.hideSection(column)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._on_header_menu)
        header.setSortIndicatorClearable(True)
        header.setSortIndicator(NAME, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self.selectionModel().currentChanged.connect(self._on_current)
        self.filter.rowsRemoved.connect(self._on_hidden)
        self._quiet = self._moved = False
        self._narrow = self._gave_way = False
        self._chosen = ""

    def show_theme(self, theme: Theme) -> None:
        """Bars in the colours of a theme."""
        self._delegate.theme = theme
        apply_theme(self, theme)
        self.viewport().update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = self.width() < NARROW * self.fontMetrics().height()
        if narrow == self._narrow:
            return
        self._narrow = narrow
        if narrow:
            self._gave_way = not self.isColumnHidden(SHAPE)
        if self._gave_way:  # names need the room more
            self.setColumnHidden(SHAPE, narrow)

    def show_tensors(self, rows: Iterable[TensorRow]) -> None:
        """Show other tensors; short lists are unfolded."""
        self._quiet = True
        with collector_paused():
            rows = list(rows)
            self.tensors.show_tensors(rows)
        self._quiet = False
        longest = max((numbers.shape(row.shape) for row in rows[:10_000]), key=len, default="")
        self.header().resizeSection(SHAPE, self.fontMetrics().horizontalAdvance(longest[:12]) + 10)
        if self.tensors.rowCount() <= 3:
            self.expandToDepth(0)

    def show_filter(self, text: str) -> None:
        """Show only tensors that fit, unfolded."""
        self.collapseAll()  # rows that are folded away cost nothing while the filter changes
        self.filter.show_filter(text)
        if text.strip() and self.matches <= UNFOLDED:
            self.expandAll()
        if not self.currentIndex().isValid():
            self.show_chosen(self._chosen)

    @property
    def matches(self) -> int:
        """How many rows the filter lets through, layers counted as one."""
        return self.filter.rowCount()

    def show_chosen(self, name: str) -> None:
        """Select a tensor and bring it into view, without a signal."""
        self._chosen = name
        index = self.filter.mapFromSource(self.tensors.index_of(name))
        if (
            index.isValid() and index.row() != self.currentIndex().row()
        ) or self.currentIndex().parent() != index.parent():
            self._quiet = True
            self.setCurrentIndex(index)
            self.scrollTo(index, self.ScrollHint.PositionAtCenter)
            self._quiet = False

    def _on_current(self, current: QModelIndex) -> None:
        row = self.tensors.node(self.filter.mapToSource(current)).row if current.isValid() else None
        self._moved = self._quiet
        if row and not self._quiet:
            self._chosen = row.name
            self.chosen.emit(row.name)

    def focusInEvent(self, event: QFocusEvent) -> None:
        # Qt makes the first row the current one where there is none; to pass by is not to choose.
        none, self._quiet = not self.currentIndex().isValid(), True
        super().focusInEvent(event)
        if none:
            self.setCurrentIndex(QModelIndex())
        self._quiet = False

    def _on_hiding(self) -> None:
        self._quiet, self._moved = True, False

    def _on_hidden(self) -> None:
        if self._moved:  # the chosen tensor is filtered out: no other one shall look or count as chosen
            self.setCurrentIndex(QModelIndex())
        self._quiet = False

    def _on_header_menu(self, at: QPoint) -> None:
        shown = {title: not self.isColumnHidden(i) for i, title in enumerate(COLUMNS) if i}
        column_menu(self, shown, self._on_column).popup(self.header().mapToGlobal(at))

    def _on_column(self, action: QAction) -> None:
        self.setColumnHidden(COLUMNS.index(action.text()), not action.isChecked())
