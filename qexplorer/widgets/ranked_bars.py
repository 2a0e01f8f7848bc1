"""A list of bars in order: what each layer costs, the worst first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import QHeaderView, QStyle, QStyleOptionViewItem, QTableView, QWidget

from qexplorer.widgets.numbers import MINUS, figure
from qexplorer.widgets.tensor_model import Index, natural
from qexplorer.widgets.theme import LIGHT, Theme
from qexplorer.widgets.views import RowDelegate, calm, dress

NAME, BAR, FIGURE = range(3)
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
NOTHING = "Nothing has been measured yet"
NONE = "–"
LEAST = "features.12.conv"
"""Names have room for so many characters before bars have any."""


@dataclass(frozen=True)
class Bar:
    """One row: what is measured, how much it is, and between which bounds where they are known."""

    key: str
    title: str
    value: float
    detail: str
    low: float | None
    high: float | None


class BarsModel(QAbstractTableModel):
    """Three columns: the name, the bar, the figure."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bars: list[Bar] = []
        self.unit = ""
        self.title = ""
        self.what = "Layer"
        self.theme = LIGHT
        self.reach = (0.0, 1.0)
        self._places = 0
        self._sorted = (FIGURE, Qt.SortOrder.DescendingOrder)

    def show_bars(self, bars: Sequence[Bar], unit: str, title: str) -> None:
        """Show other bars, in the order that is in force."""
        self.beginResetModel()
        self.bars, self.unit, self.title = list(bars), unit, title
        ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None and math.isfinite(end)]
        low, high = min([0.0, *ends]), max([0.0, *ends])
        self.reach = (low, high) if high > low else (0.0, 1.0)
        self._places = places_of([bar.value for bar in bars if math.isfinite(bar.value)])
        self._arrange()
        self.endResetModel()

    def row_of(self, key: str) -> int:
        """The row of a key, −1 where there is none."""
        return next((row for row, bar in enumerate(self.bars) if bar.key == key), -1)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sorted = (column, order)
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        keys = [self.bars[index.row()].key for index in before]
        self._arrange()
        place = {bar.key: row for row, bar in enumerate(self.bars)}
        after = [self.index(place[key], index.column()) for key, index in zip(keys, before, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        column, order = self._sorted
        descending = order == Qt.SortOrder.DescendingOrder
        if column == NAME:
            self.bars.sort(key=lambda bar: natural(bar.title), reverse=descending)
        else:  # what is not known comes last
            self.bars.sort(key=lambda bar: bar.value if not descending else -bar.value)
            self.bars.sort(key=lambda bar: math.isnan(bar.value))

    def written(self, value: float) -> str:
        """A value, with as many places as all others, so that they can be compared down the column."""
        if math.isnan(value):
            return NONE
        value += 0.0  # zero has no minus sign
        text = f"{value:.{self._places}f}".replace("-", MINUS)
        lost = value != 0 and not any(digit in text for digit in "123456789")
        return figure(value, 2) if lost or (not 1e-3 <= abs(value) < 1e6 and value != 0) else text

    def told(self, value: float) -> str:
        """A value with its unit."""
        return f"{self.written(value)} {self.unit}".rstrip()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.bars)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 3

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (self.what, self.title, self.unit or "Value")[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            what = "name" if section == NAME else self.title or "value"
            return f"Sort by {what}".replace("<", "‹")
        return RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and section == FIGURE else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        bar, column = self.bars[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return (bar.title, "", self.written(bar.value))[column]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT if column == FIGURE else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(bar)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return bar.title if column == NAME else self.told(bar.value) + self._between(bar)
        return None

    def _tip(self, bar: Bar) -> str:
        return "\n".join(filter(None, [bar.title, self.told(bar.value) + self._between(bar), bar.detail])).replace(
            "<", "‹"
        )

    def _between(self, bar: Bar) -> str:
        if bar.low is None or bar.high is None:
            return ""
        return f", between {self.told(bar.low)} and {self.told(bar.high)}"


def places_of(values: Sequence[float]) -> int:
    """How many decimal places write all of them, and the greatest with no more than four digits that count."""
    greatest = max(map(abs, values), default=0.0)
    most = min(max(3 - math.floor(math.log10(greatest)), 0), 6) if greatest else 0
    return next(n for n in range(most + 1) if n == most or all(round(v, n) == round(v, most) for v in values))


class BarDelegate(RowDelegate):
    """Draws the bar from zero, and over it a line from the lower bound to the upper."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, option.palette.color(QPalette.ColorRole.Highlight))
        if index.column() != BAR or not isinstance(model, BarsModel):
            option.rect = option.rect.adjusted(3, 0, -3, 0)
            super().paint(painter, option, index)
            return
        bar, theme, area = model.bars[index.row()], model.theme, QRectF(option.rect).adjusted(6, 0, -6, 0)
        middle, (low, high) = area.center().y(), model.reach
        scale = area.width() / (high - low)
        zero = area.left() - low * scale
        painter.save()
        painter.setPen(QPen(theme.color("hairline"), 1))
        painter.drawLine(QPointF(zero, option.rect.top()), QPointF(zero, option.rect.bottom() + 1))
        if not math.isnan(bar.value):
            end = zero + min(max(bar.value, low), high) * scale
            painter.fillRect(QRectF(min(zero, end), middle - 4, max(abs(end - zero), 1.0), 8), theme.color("original"))
        if bar.low is not None and bar.high is not None and math.isfinite(bar.low + bar.high):
            painter.setPen(QPen(theme.color("text"), 1.2))
            a, b = zero + bar.low * scale, zero + bar.high * scale
            painter.drawLine(QPointF(a, middle), QPointF(b, middle))
            for x in (a, b):
                painter.drawLine(QPointF(x, middle - 3), QPointF(x, middle + 3))
        painter.restore()


class RankedBars(QTableView):
    """Value in: bars; signal out: the key of the one that a click or Enter chose. Ctrl+C copies them all."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.ranked = BarsModel(self)
        self.setModel(self.ranked)
        calm(self, "Ranked bars")
        self.setItemDelegate(BarDelegate(self))
        self.setTabKeyNavigation(False)
        self.setVerticalScrollMode(self.ScrollMode.ScrollPerItem)  # no half row under the header
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 7)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumSectionSize(24)
        header.setSortIndicator(FIGURE, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.clicked.connect(self._on_clicked)
        self._low_is_worst = False
        self.show_bars((), "", "")

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.ranked.theme = theme
        dress(self, theme)
        self.viewport().update()

    @property
    def selected(self) -> str:
        """The key of the row that is selected; empty where none is."""
        row = self.currentIndex().row()
        return self.ranked.bars[row].key if 0 <= row < len(self.ranked.bars) else ""

    def show_bars(self, bars: Sequence[Bar], unit: str, title: str, *, low_is_worst: bool = False,
                  what: str = "Layer") -> None:  # fmt: skip
        """Show bars of another measurement, each of `what`; the selected row and the order that was asked for stay."""
        key = self.selected
        self.ranked.what = what
        self.ranked.show_bars(bars, unit, title)
        if low_is_worst != self._low_is_worst:
            self._low_is_worst = low_is_worst
            self.sortByColumn(FIGURE, Qt.SortOrder.AscendingOrder if low_is_worst else Qt.SortOrder.DescendingOrder)
        if self.ranked.row_of(key) >= 0:
            self.selectRow(self.ranked.row_of(key))
        self._fit()
        self._describe()

    def _describe(self) -> None:
        model = self.ranked
        self.setAccessibleName(model.title or "Ranked bars")
        known = [bar for bar in model.bars if not math.isnan(bar.value)]
        if not known:
            self.setAccessibleDescription(NOTHING)
            return
        worst = sorted(known, key=lambda bar: bar.value if self._low_is_worst else -bar.value)[:3]
        told = "; ".join(f"{bar.title}: {model.told(bar.value)}" for bar in worst)
        self.setAccessibleDescription(f"{len(model.bars)} rows. The worst: {told}.")

    def _fit(self) -> None:
        """The figures have the room they need; names have what they need, up to a little more than half of the rest."""
        metrics, header = self.fontMetrics(), self.horizontalHeader()
        figures = [str(self.ranked.index(row, FIGURE).data()) for row in range(len(self.ranked.bars))]
        widest = max(map(metrics.horizontalAdvance, [f"{self.ranked.unit or 'Value'} ↓", *figures])) + 18
        names = max((metrics.horizontalAdvance(bar.title) for bar in self.ranked.bars), default=0) + 18
        room = self.viewport().width() - widest
        name = min(max(names, metrics.horizontalAdvance(LEAST)), max(round(0.55 * room), 24))
        for column, width in ((NAME, name), (BAR, max(room - name, 24)), (FIGURE, widest)):
            header.resizeSection(column, width)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.ranked.bars:
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, NOTHING)

    # -- hands

    def _on_clicked(self, index: QModelIndex) -> None:
        self._choose(index.row())

    def _choose(self, row: int) -> None:
        if 0 <= row < len(self.ranked.bars):
            self.chosen.emit(self.ranked.bars[row].key)

    def as_text(self) -> str:
        """All rows as tab-separated text with their titles, in the order on screen."""
        model = self.ranked
        value = f"{model.title} ({model.unit})" if model.unit else model.title
        rows = [[model.what, value, "Low", "High", "Detail"]]
        for bar in model.bars:
            cells = [bar.value, bar.low, bar.high]
            figures = ["" if cell is None or math.isnan(cell) else f"{cell:.8g}" for cell in cells]
            rows.append([bar.title, *figures, " ".join(bar.detail.split())])
        return "\n".join("\t".join(row) for row in rows).replace(MINUS, "-")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.currentIndex().row())
        elif event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.as_text())
        else:
            super().keyPressEvent(event)
