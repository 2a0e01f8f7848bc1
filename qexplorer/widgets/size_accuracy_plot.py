"""Top-1 over size: a mark for each model, its interval, and the Pareto front."""

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRect, QRectF, QSizeF, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QPainter
from PySide6.QtWidgets import QWidget

from qexplorer.widgets.axes import LogAxis, PercentAxis, padded, unit_of
from qexplorer.widgets.dots_plot import DotsPlot, step_of
from qexplorer.widgets.labels import Label, place_labels
from qexplorer.widgets.marks import FRONT, Mark, front_pen, paint_names, paint_rings
from qexplorer.widgets.plot_menu import PlotData
from qexplorer.widgets.size_point import SizePoint, front
from qexplorer.widgets.theme import LIGHT, Theme, scaled

DOT = 10.0
LINE = 1.8
NAMES = 8
"""So many models are named in the picture; the others when they are pointed at."""
LONGEST = 170.0
"""Names are cut off where they would be wider than this, in pixels."""
STEP = 8.0
"""The line of the front is known to names by places that are so many pixels apart."""
MARKS = {
    "float": Mark("d", "text", "Float model, on disk"),
    "real": Mark("o", "good", "REAL, on disk"),
    "simulated": Mark("o", "warn", "SIMULATED, theoretical size", full=False),
}
"""Filled is measured as it is, hollow is what it would take."""
NOTHING = "No model has been measured yet"


class SizeAccuracyPlot(DotsPlot):
    """Value in: models; signal out: the key of the one that a click, an arrow key or Enter chose."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        sizes, title = LogAxis("bottom", 1e6), "Accuracy of every model over its size"
        super().__init__(title, "Size (MB)", "Top-1 (%)", parent, axes=(sizes, PercentAxis("left")))
        self._sizes = sizes
        self.points: tuple[SizePoint, ...] = ()
        self.selected = -1
        self._also: tuple[object, ...] = ()
        self.labels: list[tuple[Label, QRectF]] = []
        self.front, self.bars = pg.PlotCurveItem(antialias=True), pg.PlotCurveItem(connect="pairs")
        self.dots = pg.ScatterPlotItem(pxMode=True)
        for item in (self.front, self.bars, self.dots):
            self.addItem(item)
        self.picked.connect(self._choose)
        self.show_theme(LIGHT)
        self.show_points(())

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.front.setPen(front_pen(theme))
        self.bars.setPen(self.pen("edge", 1.5))
        self.dots.setData([self.dot(at) for at in range(len(self.points))])
        self.viewport().update()

    def show_points(self, points: Sequence[SizePoint]) -> None:
        """Draw models; one without a size or an accuracy has no place. The selected one stays so."""
        before = self.points[self.selected].key if self.selected >= 0 else None
        drawn = [p for p in points if p.bytes > 0 and math.isfinite(p.top1)]
        self._left_out = len(points) - len(drawn)
        self.points = tuple(sorted(drawn, key=lambda p: (p.bytes, p.top1)))
        self.selected = next((i for i, p in enumerate(self.points) if before is not None and p.key == before), -1)
        xs, tops = [math.log10(p.bytes) for p in self.points], [100 * p.top1 for p in self.points]
        self.show_dots(xs, tops, [p.words for p in self.points])
        self.front_at = front([(p.bytes, p.top1) for p in self.points])
        self.front.setData([xs[i] for i in self.front_at], [tops[i] for i in self.front_at])
        ends = [100 * end for p in self.points for end in p.interval]
        self.bars.setData(np.repeat(xs, 2), np.array(ends), connect="pairs")
        self.dots.setData([self.dot(at) for at in range(len(self.points))])
        self._fit(xs, ends + tops)
        self._tabulate()
        self._describe()

    def show_chosen(self, keys: Sequence[object]) -> None:
        """Mark the model of the first key and name those of all, without a signal."""
        self._also = tuple(keys)
        self.selected = next((i for i, p in enumerate(self.points) if p.key in keys[:1]), -1)
        self._describe()
        self.viewport().update()

    # -- drawing

    def dot(self, at: int) -> dict[str, object]:
        kind = self.points[at].kind
        width = DOT + 3 if kind == "float" else DOT  # a diamond looks smaller than it is
        return MARKS[kind].dot(self.theme, self.places[at], width, LINE)

    def _fit(self, xs: Sequence[float], tops: Sequence[float]) -> None:
        item: Any = self.getPlotItem()
        for side in ("bottom", "left"):
            item.showAxis(side, bool(xs))
        if not xs:
            return
        self._sizes.unit, unit = unit_of(10 ** max(xs))
        kinds = {p.kind == "simulated" for p in self.points}
        meaning = "on disk; theoretical where simulated" if len(kinds) > 1 else (
            "theoretical" if True in kinds else "on disk")  # fmt: skip
        self.show_label("bottom", f"Size, {unit} ({meaning})")
        left, right = padded(min(xs), max(xs), 0.12, 0.2)
        bottom, top = padded(min(tops), max(tops), 0.14, 1.0)
        a, b, c, d = self.home
        keeps = a <= left and right <= b and c <= bottom and top <= d
        if not keeps or b - a > 1.5 * (right - left) or d - c > 1.5 * (top - bottom):
            self.show_home(left, right, bottom, top)

    def _tabulate(self) -> None:
        points = self.points
        columns = {
            "model": np.array([p.title for p in points]),
            "kind": np.array([p.kind for p in points]),
            "bytes_on_disk": np.array([p.bytes_on_disk for p in points]),
            "bytes_theoretical": np.array([p.bytes_theoretical for p in points]),
            "top1": np.array([p.top1 for p in points]),
            "top1_low": np.array([p.top1_ci95[0] for p in points]),
            "top1_high": np.array([p.top1_ci95[1] for p in points]),
        }
        self.menu.data = PlotData(f"{len(points)} models", columns) if points else None

    def _describe(self) -> None:
        if not self.points:
            self.setAccessibleDescription(NOTHING)
            return
        text = f"{len(self.points)} models. "
        if self._left_out:
            text += f"{self._left_out} without a size or an accuracy are left out. "
        if self.selected >= 0:
            text += f"Selected: {self._brief(self.selected)}. "
        self.setAccessibleDescription(
            text + "On the Pareto front: " + "; ".join(self._brief(i) for i in self.front_at) + "."
        )

    def _brief(self, at: int) -> str:
        return self.points[at].words.replace("\n", ", ")

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        room = self.getViewBox().sceneBoundingRect()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(scaled(0.88))
        painter.setClipRect(room)
        if self.points:
            at = self.place_of(self.selected) if self.selected >= 0 else None
            paint_rings(painter, self.theme, at, at if self.hasFocus() else None, DOT)
            self._paint_names(painter, room, self._paint_legend(painter, room))
        else:
            painter.setPen(self.theme.color("muted"))
            painter.setFont(scaled(1.0))
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, NOTHING)
        painter.restore()

    def _obstacles(self) -> tuple[list[QRectF], list[QRectF]]:
        """Where the dots are, and where their intervals are."""
        view, extent = self.getViewBox(), QSizeF(9.6, 9.6)
        dots: list[QRectF] = []
        bars: list[QRectF] = []
        for at, point in enumerate(self.points):
            place = self.place_of(at)
            low, high = (view.mapViewToScene(QPointF(0.0, 100 * end)).y() for end in point.interval)
            dots.append(QRectF(place - QPointF(4.8, 4.8), extent))
            bars.append(QRectF(place.x() - 1.5, high, 3, max(low - high, 1.0)))
        return dots, bars

    def _paint_legend(self, painter: QPainter, room: QRectF) -> QRectF:
        """What the marks mean, in the corner where the least is hidden."""
        metrics = QFontMetricsF(painter.font())
        entries = [kind for kind in MARKS if any(p.kind == kind for p in self.points)]
        titles = [MARKS[kind].title for kind in entries] + ["95 % interval"]
        titles += [FRONT] if len(self.front_at) > 1 else []
        line = metrics.height() + 2
        extent = QSizeF(max(metrics.horizontalAdvance(t) for t in titles) + 36, len(titles) * line + 6)
        lefts = (room.right() - extent.width() - 2, room.left() + 4)
        corners = [QRectF(QPointF(x, y), extent) for y in (room.bottom() - extent.height() - 2, room.top() + 2)
                   for x in lefts]  # fmt: skip
        obstacles = [*chain(*self._obstacles())]
        box = min(corners, key=lambda corner: sum(corner.intersects(other) for other in obstacles))
        painter.fillRect(box, self.theme.color("base", 0.85))
        for row, title in enumerate(titles):
            at = box.topLeft() + QPointF(14, 3 + (row + 0.5) * line)
            if row < len(entries):
                MARKS[entries[row]].paint(painter, self.theme, at, DOT - 1, LINE)
            else:
                painter.setPen(self.pen("edge", 1.5) if row == len(entries) else front_pen(self.theme))
                reach = QPointF(0, 6) if row == len(entries) else QPointF(9, 0)
                painter.drawLine(at - reach, at + reach)
            painter.setPen(self.theme.color("text"))
            painter.drawText(at + QPointF(16, metrics.ascent() / 2 - 1), title)
        return box

    def _paint_names(self, painter: QPainter, room: QRectF, legend: QRectF) -> None:
        metrics = QFontMetricsF(painter.font())
        first = [at for at in (self.hovered, self.selected) if at >= 0]
        labels: list[Label] = []
        for at in self._named(first)[:NAMES]:
            text = metrics.elidedText(self.points[at].title, Qt.TextElideMode.ElideRight, LONGEST)
            extent = QSizeF(metrics.horizontalAdvance(text) + 2, metrics.height())
            if room.contains(self.place_of(at)):
                labels.append(Label(text, self.place_of(at), extent, must=at in first))
        dots, bars = self._obstacles()
        ring = [QRectF(self.place_of(at) - QPointF(DOT, DOT), QSizeF(2 * DOT, 2 * DOT)) for at in first[-1:]]
        placed = place_labels(labels, [legend, *dots, *ring, *self._along_front()], bars, room)
        self.labels = [(label, place) for label, place in placed if label.must or self._own(label, place)]
        paint_names(painter, self.theme, self.labels)

    def _named(self, first: Sequence[int]) -> list[int]:
        """Which models are named sooner: those that are pointed at or selected, the float model, the front, real ones,
        and the smaller ones.
        """
        every = range(len(self.points))
        chosen = [at for at in every if self.points[at].key in self._also]
        rest = sorted(every, key=lambda at: ("float", "real", "simulated").index(self.points[at].kind))
        reference = [at for at in every if self.points[at].reference]
        return list(dict.fromkeys([*first, *chosen, *reference, *reversed(self.front_at), *rest]))

    def _along_front(self) -> list[QRectF]:
        """The line of the front, as small areas: names keep off it."""
        places = [self.place_of(at) for at in self.front_at]
        found: list[QRectF] = []
        for a, b in pairwise(places):
            steps = max(int(math.hypot(b.x() - a.x(), b.y() - a.y()) / STEP), 1)
            found += [QRectF(a + (b - a) * (i / steps) - QPointF(2, 2), QSizeF(4, 4)) for i in range(steps)]
        return found

    def _own(self, label: Label, place: QRectF) -> bool:
        """Whether no other dot is so near to a label that one would take it for that one's."""
        own = _gap(place, label.at)
        return all(_gap(place, self.place_of(at)) >= own - 1e-6 for at in range(len(self.points)))

    # -- hands

    def _choose(self, at: int) -> None:
        if 0 <= at < len(self.points):
            self.selected = at
            self._describe()
            self.viewport().update()
            self.chosen.emit(self.points[at].key)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if step := step_of(event):
            self._walk(step)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.selected)
        else:
            super().keyPressEvent(event)

    def _walk(self, step: int) -> None:
        """Choose the next model in order of size, and bring it into sight."""
        at = self.selected + step if self.selected >= 0 else (0 if step > 0 else len(self.points) - 1)
        if 0 <= at < len(self.points):
            if not self.getViewBox().viewRect().contains(self.places[at]):
                self.go_home()
            self._choose(at)
            self.show_reading(at)


def _gap(place: QRectF, at: QPointF) -> float:
    """How far a point is from an area."""
    dx = max(place.left() - at.x(), at.x() - place.right(), 0.0)
    dy = max(place.top() - at.y(), at.y() - place.bottom(), 0.0)
    return math.hypot(dx, dy)
