"""The curves of one unit: each ends in a mark of a form of its own, which the legend explains."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QContextMenuEvent, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from qexplorer.numbers import count, figure
from qexplorer.presentation import Curve
from qexplorer.text import plain
from qexplorer.widgets.axes import FIGURES, PercentAxis, stepped
from qexplorer.widgets.curve import points_of, thinned
from qexplorer.widgets.marks import Mark
from qexplorer.widgets.plot import BELOW_TITLE, Plot
from qexplorer.widgets.plot_menu import PlotData
from qexplorer.widgets.theme import LIGHT, Theme, scaled

FEW = 8
"""So many curves of one unit are told apart by eye; of more, only the whole is seen."""
ROLES = ("original", "dequantized", "good", "clip", "muted", "text", "original", "dequantized")
SYMBOLS = ("o", "s", "t1", "d", "p", "t", "star", "h")
REACH = 24.0
"""So near to a curve, in pixels, the pointer means it."""
LONGEST = (190.0, 120.0, 80.0, 44.0)
"""Names in a legend are no wider than this, in pixels; where the legend takes too much, than the next of these."""
SHARES = ("Top-1 (%)",)
"""Units of which there are none beyond 0 and 100."""


class UnitPlot(Plot):
    """Value in: curves. Its legend stands over the axes, beside the unit."""

    def __init__(self, unit: str, parent: QWidget | None = None) -> None:
        super().__init__(unit, "", unit, parent, axes=(PercentAxis("left"),) if unit in SHARES else (), low=True)
        self.unit = unit
        self.x_title = ""
        self.x_axis.setStyle(hideOverlappingLabels=16)  # the last figure may stand beyond the end of its axis
        self.curves: tuple[Curve, ...] = ()
        self.legend: list[tuple[int, str, QRectF]] = []
        self._data: list[tuple[np.ndarray, np.ndarray]] = []
        self._fitted = False
        self._all = pg.PlotCurveItem()
        self.lines = [pg.PlotCurveItem(antialias=True) for _ in range(FEW)]
        self.dots = [pg.ScatterPlotItem(pxMode=True, symbol=symbol) for symbol in SYMBOLS]
        for item in (self._all, *self.lines, *self.dots):
            self.addItem(item)
        self.sigDeviceRangeChanged.connect(self._lay_legend)  # with every resize
        self.show_theme(LIGHT)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self._all.setPen(pg.mkPen(theme.color("original", 0.6)))
        for i, (line, dots) in enumerate(zip(self.lines, self.dots, strict=True)):
            line.setPen(self._pen(i))
            dots.setPen(pg.mkPen(theme.color(ROLES[i])))
            dots.setBrush(theme.color(ROLES[i]))
        self.viewport().update()

    def _pen(self, at: int) -> QPen:
        kind = self.curves[at].kind if at < len(self.curves) else "line"
        return self.pen(ROLES[at], 1.5, dash=kind == "dashed")

    def show_curves(self, curves: Sequence[Curve], x_title: str) -> None:
        """Draw curves, all of this plot's unit."""
        kinds = [(curve.title, curve.kind) for curve in self.curves]
        self.curves, self.x_title = tuple(curves), x_title
        self._data = [points_of(curve) for curve in curves]
        few = len(curves) <= FEW
        for i, (line, dots) in enumerate(zip(self.lines, self.dots, strict=True)):
            drawn = few and i < len(curves)
            xs, ys = self._data[i] if drawn else (np.zeros(0), np.zeros(0))
            points = drawn and curves[i].kind == "points"
            line.setVisible(drawn and not points)
            line.setData(*((np.zeros(0), np.zeros(0)) if points else thinned(xs, ys, 400)), connect="finite")
            seen = np.flatnonzero(np.isfinite(ys))
            marked = seen if points else seen[-1:]
            dots.setData(xs[marked], ys[marked], size=11 if points else 8)
        self._draw_all(not few)
        if kinds != [(curve.title, curve.kind) for curve in curves]:
            for i, line in enumerate(self.lines):
                line.setPen(self._pen(i))
            self._lay_legend()
        self.x_axis.whole = all(np.array_equal(xs, np.round(xs)) for xs, _ in self._data)
        self._describe()
        self.viewport().update()

    def _draw_all(self, many: bool) -> None:
        """Very many curves are one item: they look alike anyway."""
        self._all.setVisible(many)
        if not many:
            self._all.setData([], [])
            return
        drawn = [thinned(x, y, 250) for x, y in self._data if len(x)]
        xs = np.concatenate([np.zeros(0), *(x for x, _ in drawn)])
        ys = np.concatenate([np.zeros(0), *(y for _, y in drawn)])
        joined = np.isfinite(ys)
        joined[:-1] &= joined[1:]
        joined[np.cumsum([len(x) for x, _ in drawn], dtype=np.intp) - 1] = False
        self._all.setData(xs, np.nan_to_num(ys), connect=joined.astype(np.int32))

    @property
    def reach(self) -> tuple[float, float, float, float] | None:
        """The least and greatest x, and y, of what is drawn."""
        ends: list[tuple[float, float, float, float]] = []
        for xs, ys in self._data:
            finite = np.isfinite(ys)
            if finite.any():
                ends.append((xs[finite].min(), xs[finite].max(), ys[finite].min(), ys[finite].max()))
        if not ends:
            return None
        left, right, bottom, top = zip(*ends, strict=True)
        return float(min(left)), float(max(right)), float(min(bottom)), float(max(top))

    def show_reach(self, left: float, right: float) -> None:
        """Set the axes; they grow in steps, so that they keep still, and stay where the person moved them to."""
        reach = self.reach
        bottom, top = stepped(reach[2], reach[3], 6) if reach else (0.0, 1.0)
        if self.unit in SHARES and reach:
            bottom, top = max(bottom, min(reach[2], 0.0)), min(top, max(reach[3], 100.0))
        room = 0.1 * (top - bottom)  # for marks at the ends
        bottom, top = bottom - room, top + room
        home = (left, right, bottom, top)
        if home == self.home:
            return
        (a, b), _ = self.getViewBox().viewRange()
        moved = abs(a - self.home[0]) + abs(b - self.home[1]) > 1e-6 * (b - a)
        if self._fitted and moved:
            self.home = home
            self.getViewBox().setYRange(bottom, top, padding=0)
        else:
            self.show_home(*home)
        self._fitted = True

    def _describe(self) -> None:
        if len(self.curves) > FEW:
            reach = self.reach
            between = f" between {figure(reach[2])} and {figure(reach[3])}" if reach is not None else ""
            self.setAccessibleDescription(f"{many_of(len(self.curves), self.unit)}{between}")
            return
        told: list[str] = []
        for curve, (xs, ys) in zip(self.curves, self._data, strict=True):
            seen = np.flatnonzero(np.isfinite(ys))
            last = "nothing yet"
            if seen.size:
                last = f"{figure(float(ys[seen[-1]]))} at {figure(float(xs[seen[-1]]))}"
            told.append(f"{curve.title}: {last}")
        self.setAccessibleDescription("The last of each curve: " + "; ".join(told))

    # -- the legend, over the axes

    def _lay_legend(self) -> None:
        """Find a place for each name, and make room for them over the axes."""
        titles = [curve.title for curve in self.curves]
        if len(titles) > FEW:
            titles = [many_of(len(titles), self.unit)]
        elif len(titles) == 1 and self.unit.startswith(titles[0]):
            titles = []  # the unit says it
        row, flows = self.title_place.bottom(), [self._flow(titles, longest) for longest in LONGEST]
        most = max(row, self.height() / 4)
        self.legend = next((flow for flow in flows if _bottom(flow) <= most), flows[-1])
        item: Any = self.getPlotItem()
        item.setContentsMargins(0, max(_bottom(self.legend), row) + BELOW_TITLE, 16, 0)

    def _flow(self, titles: Sequence[str], longest: float) -> list[tuple[int, str, QRectF]]:
        """Names in rows, none wider than `longest`; the first row begins beside the unit."""
        metrics, start, first = QFontMetricsF(scaled(FIGURES)), float(self.y_axis.width()), self.title_place
        x, y = max(start, first.right() + 12), first.top()
        placed: list[tuple[int, str, QRectF]] = []
        for i, title in enumerate(titles):
            text = metrics.elidedText(title, Qt.TextElideMode.ElideRight, longest)
            width = metrics.horizontalAdvance(text) + 28
            if x + width > self.width() - 8 and x > start:
                x, y = start, y + first.height()
            placed.append((i, text, QRectF(x, y, width, first.height())))
            x += width + 12
        return placed

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(scaled(FIGURES))
        for at, text, place in self.legend:
            self._paint_sample(painter, at, QPointF(place.left() + 10, place.center().y()))
            painter.setPen(self.theme.color("text"))
            painter.drawText(place.adjusted(26, 0, 8, 0), Qt.AlignmentFlag.AlignVCenter, text)
        painter.restore()

    def _paint_sample(self, painter: QPainter, at: int, middle: QPointF) -> None:
        if len(self.curves) > FEW:
            painter.setPen(self._all.opts["pen"])
            for off in (-3.0, 0.0, 3.0):
                painter.drawLine(middle + QPointF(-10, off), middle + QPointF(10, off))
            return
        if self.curves[at].kind != "points":
            painter.setPen(self._pen(at))
            painter.drawLine(middle - QPointF(10, 0), middle + QPointF(10, 0))
        Mark(SYMBOLS[at], ROLES[at], "").paint(painter, self.theme, middle, 7, 0)

    # -- hands

    def reading(self, at: QPointF) -> str:
        """The curve that is nearest to a place of the widget, and its value there."""
        view = self.getViewBox()
        if not view.sceneBoundingRect().contains(at):
            return ""
        x = view.mapSceneToView(at).x()
        best, text = REACH, ""
        for curve, (xs, ys) in zip(self.curves, self._data, strict=True):
            finite = np.isfinite(ys)
            if not finite.any():
                continue
            near = int(np.argmin(np.where(finite, np.abs(xs - x), np.inf)))
            gap = view.mapViewToScene(QPointF(xs[near], ys[near])) - at
            if math.hypot(gap.x(), gap.y()) < best:
                best = math.hypot(gap.x(), gap.y())
                text = plain(f"{curve.title}\n{self.x_title} {figure(xs[near])}: {figure(ys[near])}")
        return text

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu.data = self.table()
        super().contextMenuEvent(event)

    def table(self) -> PlotData | None:
        """The numbers behind the curves, made when they are asked for."""
        if not any(len(xs) for xs, _ in self._data):
            return None
        lengths = [len(xs) for xs, _ in self._data]
        columns = {
            "curve": np.repeat(np.array([curve.title for curve in self.curves]), lengths),
            "x": np.concatenate([xs for xs, _ in self._data]),
            "y": np.concatenate([ys for _, ys in self._data]),
        }
        return PlotData(f"{self.unit} over {self.x_title}", columns)


def _bottom(legend: Sequence[tuple[int, str, QRectF]]) -> float:
    return max((place.bottom() for _, _, place in legend), default=0.0)


def many_of(n: int, unit: str) -> str:
    """So many curves of a unit: 53 scales."""
    word = unit.lower() if unit.isalpha() else "curve"
    return f"{count(n)} {word}{'es' if word.endswith('s') else 's'}"
