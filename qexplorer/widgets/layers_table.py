"""The table of all tensors: what quantizing does to each, the ones that it hurts most first."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QModelIndex, QPoint, QPointF, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPalette,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QHeaderView, QMenu, QStyle, QStyleOptionViewItem, QTableView, QWidget

from qexplorer.widgets.layers_model import FIXED, NONE, Column, LayerLine, LayersFilter, LayersModel
from qexplorer.widgets.numbers import MINUS
from qexplorer.widgets.tensor_model import Index
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import RowDelegate, calm, dress

SORT_MS = 500
"""While rows come in, they are put in order no oftener than this."""
CALM = 20
"""And putting them in order takes no more than one part in so many of the time."""
IMPORTANT = ("name", "sqnr", "error", "histogram", "quantized", "rmse", "share", "shape", "size", "values", "dtype")
"""Where there is not width for all columns, the first of these kinds have it."""
ALWAYS = ("name", "sqnr")
LEAST = "features.12.conv"
"""Names have room for so many characters before the table is wider than its place."""
BAR_COLORS = {"share": "original", "error": "dequantized"}


class LayersDelegate(RowDelegate):
    """Draws shares as thin bars with their figures, the histogram as a filled outline, and a line before each spec."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        proxy = index.model()
        if not isinstance(proxy, LayersFilter):
            return
        model, row = proxy.layers, proxy.mapToSource(index).row()
        column = model.columns[index.column()]
        area = QRect(option.rect)
        self._draw_text(painter, option, index)
        option.rect = area
        painter.save()
        if column.kind == "histogram":
            self._draw_histogram(painter, option, model.line(row), model.theme)
        elif column.kind in BAR_COLORS:
            stale = column.spec >= 0 and model.stale(row)
            self._draw_bar(painter, option, model.bar(row, column), model.theme,
                           "edge" if stale else BAR_COLORS[column.kind])  # fmt: skip
        if column.kind == "sqnr":
            painter.setPen(QPen(option.palette.color(QPalette.ColorRole.Mid), 1))
            painter.drawLine(option.rect.topLeft(), option.rect.bottomLeft())
        painter.restore()

    def _draw_text(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """What the row says, as far from the edges as the titles are."""
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, option.palette.color(QPalette.ColorRole.Highlight))
        option.rect = option.rect.adjusted(3, 0, -3, 0)
        super().paint(painter, option, index)

    def _draw_bar(self, painter: QPainter, option: QStyleOptionViewItem, share: float | None, theme: Theme,
                  role: str) -> None:  # fmt: skip
        if share is None or share != share:
            return
        bar = QRectF(option.rect).adjusted(6, 0, -option.fontMetrics.horizontalAdvance("100.00 %") - 10, 0)
        bar.setTop(option.rect.center().y() - 2)
        bar.setHeight(5)
        painter.fillRect(bar, theme.color("hairline"))
        painter.fillRect(QRectF(bar.left(), bar.top(), bar.width() * min(share, 1.0), bar.height()), theme.color(role))

    def _draw_histogram(self, painter: QPainter, option: QStyleOptionViewItem, line: LayerLine, theme: Theme) -> None:
        counts = np.asarray(line.histogram, np.float64)
        if not counts.any():
            return
        area = QRectF(option.rect).adjusted(6, 4, -6, -4)
        heights = counts / counts.max() * area.height()
        width = area.width() / len(counts)
        outline = [QPointF(area.left(), area.bottom())]
        for i, height in enumerate(heights):
            left, top = area.left() + i * width, area.bottom() - height
            outline += [QPointF(left, top), QPointF(left + width, top)]
        outline.append(QPointF(area.right(), area.bottom()))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color("original"), 1))
        painter.setBrush(theme.color("original", 0.35))
        painter.drawPolygon(QPolygonF(outline))


class LayersTable(QTableView):
    """Value in: lines as they come; signal out: the tensor that a double click or Enter chose.

    Ctrl+C copies the selected rows with the titles of their columns.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layers = LayersModel(self)
        self.filter = LayersFilter(self)
        self.filter.setSourceModel(self.layers)
        self.setModel(self.filter)
        calm(self, "Layers")
        self.setSelectionMode(self.SelectionMode.ExtendedSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setVerticalScrollMode(self.ScrollMode.ScrollPerItem)
        self.setItemDelegate(LayersDelegate(self))
        self.setTabKeyNavigation(False)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 7)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(24)
        header.setSortIndicatorClearable(True)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._on_header_menu)
        self._asked: dict[str, bool] = {}
        self._soon = QTimer(self, singleShot=True, interval=SORT_MS)
        self._soon.timeout.connect(self.put_in_order)
        self.layers.modelReset.connect(self._on_reset)
        self.doubleClicked.connect(self._on_double_clicked)
        self._on_reset()

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.layers.theme = theme
        dress(self, theme)
        self.viewport().update()

    def restart(self, titles: Sequence[str]) -> None:
        """Expect the lines of another scan under the specs of these titles; first sorted by what it hurts most."""
        sort = not any(column.spec >= 0 for column in self.layers.columns)
        self.layers.restart(titles)
        if sort:
            self.setSortingEnabled(True)
            self.sortByColumn(len(FIXED) + 1, Qt.SortOrder.DescendingOrder)

    def take(self, lines: Sequence[LayerLine]) -> None:
        """Take in the next lines; they find their places a little later."""
        self.layers.take(lines)
        if not self._soon.isActive():
            self._soon.start()

    def put_in_order(self) -> None:
        """Put lines that came in into their places now."""
        self._soon.stop()
        start = time.perf_counter()
        self.layers.sort_again()
        self._soon.setInterval(max(SORT_MS, round(CALM * 1000 * (time.perf_counter() - start))))

    def show_totals(self, e2: Sequence[float]) -> None:
        """Know Σe² under each spec."""
        self.layers.show_totals(e2)
        self.viewport().update()

    def show_outdated(self, outdated: bool) -> None:
        """Grey all figures out, as those of other specs."""
        self.layers.outdated = outdated
        self.viewport().update()

    def show_current(self, name: str) -> None:
        """Mark the tensor that the other panels show."""
        self.layers.current = name
        self.viewport().update()

    def show_filter(self, text: str) -> None:
        """Show only tensors that fit."""
        self.filter.show_filter(text)

    # -- columns

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _on_reset(self) -> None:
        for i, column in enumerate(self.layers.columns):
            self.horizontalHeader().resizeSection(i, self._width(column))
        self._fit()

    def _width(self, column: Column) -> int:
        return self.fontMetrics().horizontalAdvance(column.sample) + 12

    def _fit(self) -> None:
        """Show the columns that there is width for, the important ones first; those that were asked for anyway."""
        columns, header = self.layers.columns, self.horizontalHeader()
        wanted = {i for i, column in enumerate(columns) if self._asked.get(column.kind, column.kind in ALWAYS)}
        room = self.viewport().width() - sum(self._width(columns[i]) for i in wanted)
        for kind in IMPORTANT:
            same = [i for i, column in enumerate(columns) if column.kind == kind]
            needed = sum(self._width(columns[i]) for i in same)
            if kind in ALWAYS or kind in self._asked or needed > room:
                continue
            room -= needed
            wanted.update(same)
        for i in range(len(columns)):
            header.setSectionHidden(i, i not in wanted)
        header.resizeSection(0, max(self.fontMetrics().horizontalAdvance(LEAST) + 12, self._width(columns[0]) + room))

    def _on_header_menu(self, at: QPoint) -> None:
        self._show_menu(self.horizontalHeader().mapToGlobal(at))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self._show_menu(event.globalPos())

    def _show_menu(self, at: QPoint) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        kinds = dict.fromkeys(column.kind for column in self.layers.columns[1:])
        titles = {column.kind: column.title for column in reversed(self.layers.columns)}
        for kind in kinds:
            action = menu.addAction(titles[kind].removeprefix("A "))
            action.setCheckable(True)
            action.setChecked(not self.isColumnHidden([column.kind for column in self.layers.columns].index(kind)))
            action.setData(kind)
        menu.triggered.connect(self._on_column)
        menu.popup(at)

    def _on_column(self, action: Any) -> None:
        self._asked[action.data()] = action.isChecked()
        self._fit()

    # -- hands

    def _on_double_clicked(self, index: QModelIndex) -> None:
        self._choose(index)

    def _choose(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(self.layers.line(self.filter.mapToSource(index).row()).name)

    def as_text(self) -> str:
        """The selected rows as tab-separated text, under the titles of the columns that are shown."""
        columns = [(i, column) for i, column in enumerate(self.layers.columns)
                   if not self.isColumnHidden(i) and column.kind != "histogram"]  # fmt: skip
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        lines = [[column.title for _, column in columns]]
        for row in rows:
            at = self.filter.mapToSource(self.filter.index(row, 0)).row()
            lines.append([self.layers.text(at, column) for _, column in columns])
        cells = [["" if cell == NONE else cell.replace(MINUS, "-") for cell in line] for line in lines]
        return "\n".join("\t".join(line) for line in cells)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.currentIndex())
        elif event.matches(QKeySequence.StandardKey.Copy):
            if self.selectionModel().hasSelection():
                QGuiApplication.clipboard().setText(self.as_text())
        else:
            super().keyPressEvent(event)
