"""A list of bars in order: what each layer costs, the worst first."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import QHeaderView, QStyleOptionViewItem, QWidget

from qexplorer.numbers import MINUS, figure
from qexplorer.presentation import Bar
from qexplorer.text import natural
from qexplorer.widgets.lines import NONE, Column
from qexplorer.widgets.table import Table
from qexplorer.widgets.theme import Theme

NAME, BAR, FIGURE = range(3)
NOTHING = "Nothing has been measured yet"
LEAST = "features.12.conv"
"""Names have room for so many characters before bars have any."""


@dataclass(frozen=True)
class Scale:
    """How the values are written, in their unit and with so many decimal places, and between which ends bars lie."""

    unit: str = ""
    places: int = 0
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, bars: Sequence[Bar], unit: str) -> "Scale":
        """A scale with room for all of them and for zero."""
        ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None and math.isfinite(end)]
        low, high = min([0.0, *ends]), max([0.0, *ends])
        places = places_of([bar.value for bar in bars if math.isfinite(bar.value)])
        return cls(unit, places, *((low, high) if high > low else (0.0, 1.0)))

    def written(self, value: float) -> str:
        """A value, with as many places as all others, so that they can be compared down the column."""
        if math.isnan(value):
            return NONE
        value += 0.0  # zero has no minus sign
        text = f"{value:.{self.places}f}".replace("-", MINUS)
        lost = value != 0 and not any(digit in text for digit in "123456789")
        return figure(value, 2) if lost or (not 1e-3 <= abs(value) < 1e6 and value != 0) else text

    def told(self, bar: Bar) -> str:
        """The value of a bar with its unit and its bounds."""
        value, *ends = (f"{self.written(x or 0.0)} {self.unit}".rstrip() for x in (bar.value, bar.low, bar.high))
        known = bar.low is not None and bar.high is not None
        return f"{value}, between {ends[0]} and {ends[1]}" if known else value

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, bar: Bar, theme: Theme) -> None:
        """Draw a bar from zero, and over it a line from the lower bound to the upper."""
        area = QRectF(option.rect).adjusted(6, 0, -6, 0)
        middle, scale = area.center().y(), area.width() / (self.high - self.low)
        zero = area.left() - self.low * scale
        painter.setPen(QPen(theme.color("hairline"), 1))
        painter.drawLine(QPointF(zero, option.rect.top()), QPointF(zero, option.rect.bottom() + 1))
        if not math.isnan(bar.value):
            end = zero + min(max(bar.value, self.low), self.high) * scale
            painter.fillRect(QRectF(min(zero, end), middle - 4, max(abs(end - zero), 1.0), 8), theme.color("original"))
        if bar.low is not None and bar.high is not None and math.isfinite(bar.low + bar.high):
            painter.setPen(QPen(theme.color("text"), 1.2))
            a, b = zero + bar.low * scale, zero + bar.high * scale
            painter.drawLine(QPointF(a, middle), QPointF(b, middle))
            for x in (a, b):
                painter.drawLine(QPointF(x, middle - 3), QPointF(x, middle + 3))


def places_of(values: Sequence[float]) -> int:
    """How many decimal places write all of them, and the greatest with no more than four digits that count."""
    greatest = max(map(abs, values), default=0.0)
    most = min(max(3 - math.floor(math.log10(greatest)), 0), 6) if greatest else 0
    return next(n for n in range(most + 1) if n == most or all(round(v, n) == round(v, most) for v in values))


def columns_of(scale: Scale, what: str, title: str) -> tuple[Column[Bar], ...]:
    """The name of `what` is measured, the bar, and the figure."""

    def tip(bar: Bar) -> str:
        return "\n".join(filter(None, [bar.title, scale.told(bar), bar.detail]))

    by_value = f"Sort by {title or 'value'}"
    return (
        Column(what, "Sort by name", "", lambda bar: bar.title, lambda bar: natural(bar.title), right=False, tip=tip),
        Column(title, by_value, "", lambda bar: "", lambda bar: bar.value, right=False, tip=tip, spoken=scale.told,
               paint=scale.paint),
        Column(scale.unit or "Value", by_value, "", lambda bar: scale.written(bar.value), lambda bar: bar.value,
               tip=tip, spoken=scale.told),
    )  # fmt: skip


def copied(unit: str, what: str, title: str) -> tuple[Column[Bar], ...]:
    """What a spreadsheet gets: figures in full, with their bounds."""

    def full(value_of: Callable[[Bar], float | None]) -> Callable[[Bar], str]:
        def text(bar: Bar) -> str:
            value = value_of(bar)
            return "" if value is None or math.isnan(value) else f"{value:.8g}"

        return text

    return (
        Column(what, "", "", lambda bar: bar.title),
        Column(f"{title} ({unit})" if unit else title, "", "", full(lambda bar: bar.value)),
        Column("Low", "", "", full(lambda bar: bar.low)),
        Column("High", "", "", full(lambda bar: bar.high)),
        Column("Detail", "", "", lambda bar: " ".join(bar.detail.split())),
    )


class RankedBars(Table[Bar]):
    """Value in: bars; signal out: the key of the one that a click or Enter chose. Ctrl+C copies them all."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Ranked bars", columns_of(Scale(), "Layer", ""), lambda bar: bar.key, parent, one_click=True,
                         height=7, margin=3)  # fmt: skip
        self._low_is_worst = False
        self.setVerticalScrollMode(self.ScrollMode.ScrollPerItem)  # no half row under the header
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumSectionSize(24)
        header.setSortIndicator(FIGURE, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.opened.connect(self._on_bar)
        self.show_bars((), "", "")

    @property
    def selected(self) -> str:
        """The key of the row that is selected; empty where none is."""
        return next((bar.key for bar in self.selected_lines), "")

    def show_bars(self, bars: Sequence[Bar], unit: str, title: str, *, low_is_worst: bool = False,
                  what: str = "Layer") -> None:  # fmt: skip
        """Show bars of another measurement, each of `what`; the selected row and the order that was asked for stay."""
        scale = Scale.of(bars, unit)
        self.show_columns(columns_of(scale, what, title), copied(unit, what, title))
        self.lines.show_lines(bars)
        if low_is_worst != self._low_is_worst:
            self._low_is_worst = low_is_worst
            self.sortByColumn(FIGURE, Qt.SortOrder.AscendingOrder if low_is_worst else Qt.SortOrder.DescendingOrder)
        self.show_widths()
        self.setAccessibleName(title or "Ranked bars")
        self.setAccessibleDescription(self._described(bars, scale))

    def _described(self, bars: Sequence[Bar], scale: Scale) -> str:
        known = [bar for bar in bars if not math.isnan(bar.value)]
        if not known:
            return NOTHING
        worst = sorted(known, key=lambda bar: bar.value if self._low_is_worst else -bar.value)[:3]
        told = "; ".join(f"{bar.title}: {scale.written(bar.value)} {scale.unit}".rstrip() for bar in worst)
        return f"{len(bars)} rows. The worst: {told}."

    def show_widths(self) -> None:
        """The figures have the room they need; names have what they need, up to a little more than half of the rest."""
        metrics, columns, bars = self.fontMetrics(), self.lines.columns, self.lines.shown
        figures = [f"{columns[FIGURE].title} ↓", *map(columns[FIGURE].text, bars)]
        widest = max(map(metrics.horizontalAdvance, figures)) + 18
        names = max((metrics.horizontalAdvance(bar.title) for bar in bars), default=0) + 18
        room = self.viewport().width() - widest
        name = min(max(names, metrics.horizontalAdvance(LEAST)), max(round(0.55 * room), 24))
        for column, width in ((NAME, name), (BAR, max(room - name, 24)), (FIGURE, widest)):
            self.horizontalHeader().resizeSection(column, width)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.show_widths()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.lines.rowCount():
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, NOTHING)

    def _on_bar(self, bar: Bar) -> None:
        self.chosen.emit(bar.key)
