"""Size against error along a front, measured accuracies below it, and a slider that goes from point to point."""

import math
from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from qexplorer import numbers
from qexplorer.numbers import percent, size
from qexplorer.presentation import FrontPoint
from qexplorer.widgets.axes import LogAxis, PercentAxis, padded, unit_of
from qexplorer.widgets.controls import caption
from qexplorer.widgets.dots_plot import DotsPlot
from qexplorer.widgets.flat_slider import FlatSlider
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.plot_column import PlotColumn
from qexplorer.widgets.plot_menu import PlotData
from qexplorer.widgets.theme import LIGHT, Theme, scaled

SHARES = (3.0, 2.0)
"""Of the height, for errors and for accuracies."""
NOTHING = ("No front yet", "Sizes and errors appear here as soon as they have been computed.")


class FrontPlot(QWidget):
    """Value in: points and which of them is chosen; signal out: where the slider, or a click, went."""

    moved = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Size and error along the front")
        self.errors = DotsPlot("Output error over size", "", "Output error (%)", axes=[LogAxis("left", 0.01)], low=True)
        self.accuracies = DotsPlot("Top-1 over size", "", "Top-1 (%)", axes=[PercentAxis("left")], low=True)
        self._parts = (self.errors, self.accuracies)
        self._curve, self._bars = pg.PlotCurveItem(antialias=True), pg.PlotCurveItem(connect="pairs")
        self.dots = tuple(pg.ScatterPlotItem(pxMode=True, symbol=symbol) for symbol in ("o", "s"))
        self._lines = tuple(pg.InfiniteLine(angle=90) for _ in self._parts)
        self.marks = tuple(pg.ScatterPlotItem(pxMode=True, symbol="o") for _ in self._parts)
        for item in (self._curve, self.dots[0], self._lines[0], self.marks[0]):
            self.errors.addItem(item)
        for item in (self._bars, self.dots[1], self._lines[1], self.marks[1]):
            self.accuracies.addItem(item)
        self.slider = FlatSlider()
        self.slider.setAccessibleName("Place on the front")
        self.slider.setToolTip("Arrow keys go along the front: to the left smaller, to the right more exact")
        self._words = QLabel()
        self._words.setFont(scaled(1.0, bold=True))
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._points: tuple[FrontPoint, ...] = ()
        self._order: list[int] = []
        self._measured: list[int] = []
        self._lay_out()
        self.slider.valueChanged.connect(self._on_moved)
        self.errors.picked.connect(self.slider.setValue)
        self.accuracies.picked.connect(self._on_measured_picked)
        self.show_theme(LIGHT)
        self.show_front((), 0)

    def _lay_out(self) -> None:
        self._empty, full, self._column = Placeholder(*NOTHING), QWidget(), PlotColumn()
        self._column.show_plots(self._parts, "")
        self._stack = QStackedLayout(self)
        self._full = full
        for page in (self._empty, full):
            self._stack.addWidget(page)
        column, row = QVBoxLayout(full), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 4)
        column.setSpacing(4)
        column.addWidget(self._column, 1)
        row.setContentsMargins(12, 0, 12, 0)
        row.setSpacing(8)
        for widget, stretch in ((caption("Smaller"), 0), (self.slider, 1), (caption("More exact"), 0)):
            row.addWidget(widget, stretch)
        words = QHBoxLayout()
        words.setContentsMargins(12, 0, 12, 4)
        words.addWidget(self._words)
        column.addLayout(row)
        column.addLayout(words)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        for part, line, mark in zip(self._parts, self._lines, self.marks, strict=True):
            part.show_theme(theme)
            pen = part.pen("text")
            pen.setStyle(Qt.PenStyle.DotLine)
            line.setPen(pen)
            mark.setPen(part.pen("text", 2.0))
            mark.setBrush(theme.color("accent", 0.35))
        self._curve.setPen(self.errors.pen("original", 1.5))
        self._bars.setPen(self.accuracies.pen("good", 1.5))
        for dots, role in zip(self.dots, ("original", "good"), strict=True):
            dots.setPen(pg.mkPen(theme.color(role)))
            dots.setBrush(theme.color(role))

    def show_front(self, points: Sequence[FrontPoint], chosen: int) -> None:
        """Draw a front, and stand at one of its points; indices are those of `points`, whatever their order."""
        if tuple(points) != self._points:
            self._points = tuple(points)
            self._order = sorted(range(len(points)), key=lambda i: points[i].bytes)
            self._draw()
        self._stack.setCurrentWidget(self._full if self._points else self._empty)
        if not self._points:
            self.setAccessibleDescription(NOTHING[0])
            return
        self.slider.blockSignals(True)
        self.slider.setEnabled(len(self._points) > 1)
        self.slider.setRange(0, len(self._points) - 1)
        self.slider.setPageStep(max(len(self._points) // 10, 1))
        self.slider.setValue(self._order.index(chosen) if 0 <= chosen < len(self._points) else 0)
        self.slider.blockSignals(False)
        self._mark()

    @property
    def text(self) -> str:
        """What is said of the point that is chosen."""
        return self._words.text()

    # -- drawing

    def _draw(self) -> None:
        points = [self._points[i] for i in self._order]
        self._measured = [i for i, p in enumerate(points) if p.top1 is not None and math.isfinite(p.top1)]
        if not points:
            self.errors.menu.data = self.accuracies.menu.data = None
            return
        self._unit = unit_of(max(p.bytes for p in points))
        xs = np.array([p.bytes / self._unit[0] for p in points])
        floor = self._floor([p.error for p in points])
        heights = np.array([math.log10(max(p.error, floor)) if math.isfinite(p.error) else math.nan for p in points])
        words = [words_of(p, self._unit) for p in points]
        self._curve.setData(xs, heights, connect="finite")
        drawn = np.isfinite(heights)
        self.dots[0].setData(xs[drawn], heights[drawn], size=6 if len(points) < 60 else 3)
        self._xs, self._heights = xs, heights
        self.errors.show_dots(xs.tolist(), heights.tolist(), words)
        self._draw_measured(xs, points, words)
        shown = 2 if self._measured else 1
        self._column.show_plots(self._parts[:shown], f"Size ({self._unit[1]})", SHARES[:shown])
        self._fit(xs, heights[drawn])
        self._tabulate(points)

    def _draw_measured(self, xs: np.ndarray, points: Sequence[FrontPoint], words: Sequence[str]) -> None:
        tops = [100 * float(points[i].top1 or 0.0) for i in self._measured]
        ends = [points[i].top1_ci95 or (top / 100, top / 100) for i, top in zip(self._measured, tops, strict=True)]
        self._tops = dict(zip(self._measured, tops, strict=True))
        self._ends = [100 * end for pair in ends for end in pair if math.isfinite(end)] + tops
        self._bars.setData(np.repeat(xs[self._measured], 2), 100 * np.array(ends, float).ravel(), connect="pairs")
        self.dots[1].setData(xs[self._measured], tops, size=7 if len(tops) < 40 else 4)
        self.accuracies.show_dots(xs[self._measured].tolist(), tops, [words[i] for i in self._measured])

    def _floor(self, errors: Sequence[float]) -> float:
        """Where a point without error stands: a little below all others."""
        positive = [e for e in errors if 0 < e < math.inf]
        return min(positive) / 2 if positive else 1e-3

    def _fit(self, xs: np.ndarray, heights: np.ndarray) -> None:
        left, right = padded(float(xs.min()), float(xs.max()), 0.05, 0.1 * float(xs.max()) or 1.0)
        seen = heights if heights.size else np.zeros(1)
        self.errors.show_home(left, right, *padded(float(seen.min()), float(seen.max()), 0.1, 0.5))
        if self._measured:
            self.accuracies.show_home(left, right, *padded(min(self._ends), max(self._ends), 0.15, 1.0))

    def _tabulate(self, points: Sequence[FrontPoint]) -> None:
        bounds = [p.top1_ci95 or (math.nan, math.nan) for p in points]
        columns = {
            "bytes": np.array([p.bytes for p in points]),
            "average_bits": np.array([p.average_bits for p in points]),
            "relative_error": np.array([p.error for p in points]),
            "top1": np.array([math.nan if p.top1 is None else p.top1 for p in points]),
            "top1_low": np.array([low for low, _ in bounds]),
            "top1_high": np.array([high for _, high in bounds]),
        }
        self.errors.menu.data = self.accuracies.menu.data = PlotData(f"{len(points)} points of a front", columns)

    def _mark(self) -> None:
        at = self.slider.value()
        place = float(self._xs[at])
        for line in self._lines:
            line.setValue(place)
        heights = (float(self._heights[at]), self._tops.get(at, math.nan))
        for mark, height in zip(self.marks, heights, strict=True):
            mark.setData([place], [height], size=13) if math.isfinite(height) else mark.setData([], [])
        self._say()

    def _say(self) -> None:
        point = self._points[self._order[self.slider.value()]]
        whole, brief = words_of(point, self._unit), words_of(point, self._unit, interval=False)
        room = self._full.width() - 24
        self._words.setText(whole if self._words.fontMetrics().horizontalAdvance(whole) <= room else brief)
        self._words.setToolTip(whole)
        self.slider.setAccessibleDescription(whole)
        smallest, largest = (self._points[self._order[i]] for i in (0, -1))
        among = f"{len(self._points)} points from {size(smallest.bytes)} to {size(largest.bytes)}"
        text = f"{among}. Chosen: {whole}."
        for widget in (self, *self._parts):
            widget.setAccessibleDescription(text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._points:
            self._say()

    # -- hands

    def _on_moved(self) -> None:
        self._mark()
        self.moved.emit(self._order[self.slider.value()])

    def _on_measured_picked(self, at: int) -> None:
        self.slider.setValue(self._measured[at])


def words_of(point: FrontPoint, unit: tuple[float, str], *, interval: bool = True) -> str:
    """A point in one line, its size in a unit that is the same for all of them."""
    error = "no error" if point.error == 0 else f"error {percent(point.error)}"
    parts = [f"{point.average_bits:.1f} bits", f"{point.bytes / unit[0]:.2f} {unit[1]}", error]
    if point.top1 is not None:
        top1 = f"top-1 {percent(point.top1)}"
        if interval and point.top1_ci95 is not None:
            top1 += f" ({numbers.interval(point.top1_ci95)})"
        parts.append(top1)
    return " · ".join(parts)
