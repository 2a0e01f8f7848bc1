"""Top-1 over size: a mark for each model, its interval, the Pareto front; and what charts of dots have in common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyqtgraph as pg
from pyqtgraph.graphicsItems.ScatterPlotItem import Symbols
from PySide6.QtCore import QPointF, QRect, QRectF, QSizeF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QToolTip, QWidget

from qexplorer.widgets.bits_overlay import Mark, line_pen
from qexplorer.widgets.labels import Label, leader, place_labels
from qexplorer.widgets.numbers import figure, percent, size
from qexplorer.widgets.plot import AXIS_WIDTH, FigureAxis, Plot, nice
from qexplorer.widgets.plot_menu import Table
from qexplorer.widgets.theme import LIGHT, Theme, scaled

REACH = 12.0
"""So near to a dot, in pixels, a click is meant for it."""


class LogAxis(FigureAxis):
    """A logarithmic axis with as many round figures as fit; `unit` is what one of them stands for."""

    unit = 1.0

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802, N803
        low, high = (10.0 ** min(max(end, -30.0), 30.0) / self.unit for end in (minVal, maxVal))
        ticks = log_ticks(low, high, size / (48 if self.orientation == "bottom" else 24))
        return [(1.0, [math.log10(tick * self.unit) for tick in ticks])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [figure(float(f"{10.0**v / self.unit:.6g}"), 6).replace(".00000e", "e") for v in values]


MANTISSAS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


def log_ticks(low: float, high: float, most: float) -> list[float]:
    """Round figures between two; no two of them nearer on a logarithmic axis than a `most`-th of it."""
    if not 0 < low < high:
        return []
    apart = math.log10(high / low) / max(most, 1.0)
    ladders = [_multiples(nice((high - low) / 20) * m, low, high) for m in (1, 2, 5, 10)] if high < 5 * low else []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ladders += [[m * 10.0**decade for decade in decades for m in mantissas] for mantissas in MANTISSAS]
    ladders += [[10.0**decade for decade in decades if decade % step == 0] for step in (2, 5, 10)]
    found: list[float] = []
    for ladder in ladders:
        ticks = [tick for tick in ladder if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        found = ticks or found
        if len(ticks) > 1 and all(math.log10(b / a) >= apart for a, b in pairwise(ticks)):
            return ticks
    return found[:1]


def _multiples(step: float, low: float, high: float) -> list[float]:
    return [i * step for i in range(max(math.ceil(low / step - 1e-9), 1), math.floor(high / step + 1e-9) + 1)]


class PercentAxis(FigureAxis):
    """An axis of percentages, of which there are none beyond 0 and 100."""

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802, N803
        levels = super().tickValues(minVal, maxVal, size)
        return [(spacing, [v for v in values if -1e-9 < v < 100 + 1e-9]) for spacing, values in levels]


def unit_of(largest: float) -> tuple[float, str]:
    """The unit in which sizes up to so many bytes are easily read."""
    return next(((factor, name) for factor, name in ((1e9, "GB"), (1e6, "MB")) if largest >= factor / 10), (1e3, "kB"))


class DotsPlot(Plot):
    """A plot whose dots tell of themselves when they are pointed at, and can be clicked."""

    picked = Signal(int)

    def __init__(self, name: str, x_label: str, y_label: str, axes: dict[str, FigureAxis],
                 parent: QWidget | None = None) -> None:  # fmt: skip
        super().__init__(name, x_label, y_label, parent)
        item: Any = self.getPlotItem()
        item.setAxisItems(axes)
        self.x_axis, self.y_axis = axes.get("bottom", self.x_axis), axes.get("left", self.y_axis)
        self.y_axis.setWidth(AXIS_WIDTH)
        self.x_axis.setStyle(hideOverlappingLabels=8)  # the last figure may stand beyond the end of its axis
        self.places: list[QPointF] = []
        self.readings: list[str] = []
        self.hovered = -1
        scene: Any = self.scene()
        scene.sigMouseClicked.connect(self._on_clicked)

    def show_dots(self, xs: Sequence[float], ys: Sequence[float], readings: Sequence[str]) -> None:
        """Where the dots are, and what each says."""
        self.places = [QPointF(x, y) for x, y in zip(xs, ys, strict=True)]
        self.readings = list(readings)
        self.hovered = -1
        self.viewport().update()

    def place_of(self, at: int) -> QPointF:
        """Where a dot is, in pixels."""
        return self.getViewBox().mapViewToScene(self.places[at])

    def nearest(self, at: QPointF) -> int:
        """The dot under a place of the widget, or −1."""
        if not self.getViewBox().sceneBoundingRect().contains(at):
            return -1
        gaps = [self.place_of(i) - at for i in range(len(self.places))]
        far = {i: math.hypot(gap.x(), gap.y()) for i, gap in enumerate(gaps)}
        near = [i for i, distance in far.items() if distance <= REACH]  # one that has no place is near to nothing
        return min(near, key=far.__getitem__, default=-1)

    def reading(self, at: int) -> str:
        """What a dot says, and those that lie on it."""
        place = self.place_of(at)
        same = [i for i in range(len(self.places)) if (self.place_of(i) - place).manhattanLength() < 3]
        return "\n\n".join(self.readings[i] for i in same[:5]).replace("<", "‹")

    def show_reading(self, at: int) -> None:
        """Let a dot speak that the keyboard came to."""
        if self.isVisible():
            QToolTip.showText(self.mapToGlobal(self.place_of(at).toPoint()), self.reading(at), self)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().mouseMoveEvent(event)
        if event.buttons() != Qt.MouseButton.NoButton:
            return
        at = self.nearest(event.position())
        if at != self.hovered:
            self.hovered = at
            self.setCursor(Qt.CursorShape.PointingHandCursor if at >= 0 else Qt.CursorShape.ArrowCursor)
            self.viewport().update()
        QToolTip.showText(event.globalPosition().toPoint(), self.reading(at), self) if at >= 0 else QToolTip.hideText()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().mousePressEvent(event)
        event.accept()  # it is nobody's below

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().mouseReleaseEvent(event)
        event.accept()

    def _on_clicked(self, event: Any) -> None:
        at = self.nearest(QPointF(event.scenePos()))
        if at >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(at)


def padded(low: float, high: float, share: float, least: float) -> tuple[float, float]:
    """A range with room at both ends; where both are equal, so much on either side."""
    room = share * (high - low) or least
    return low - room, high + room


DOT = 10.0
NAMES = 8
"""So many models are named in the picture; the others when they are pointed at."""
LONGEST = 170.0
"""Names are cut off where they would be wider than this, in pixels."""
MARKS = {
    "float": Mark("d", "text", "Float model, on disk"),
    "real": Mark("o", "good", "REAL, on disk"),
    "simulated": Mark("o", "warn", "SIMULATED, theoretical size"),
}
"""Filled is measured as it is, hollow is what it would take."""
NOTHING = "No model has been measured yet"


@dataclass(frozen=True)
class SizePoint:
    """A model: what it takes, and the share of samples that it gets right (1 for 100 %) with its interval."""

    key: object
    title: str
    bytes_on_disk: int
    bytes_theoretical: int
    top1: float
    top1_ci95: tuple[float, float]
    real: bool
    reference: bool

    @property
    def kind(self) -> str:
        """Which of the marks it has."""
        return "float" if self.reference else "real" if self.real else "simulated"

    @property
    def bytes(self) -> int:
        """Where it stands on the axis of sizes."""
        return self.bytes_theoretical if self.kind == "simulated" else self.bytes_on_disk


class SizeAccuracyPlot(DotsPlot):
    """Value in: models; signal out: the key of the one that a click, an arrow key or Enter chose."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        axes = {"bottom": LogAxis("bottom"), "left": PercentAxis("left")}
        super().__init__("Accuracy of every model over its size", "Size (MB)", "Top-1 (%)", axes, parent)
        self.points: tuple[SizePoint, ...] = ()
        self.selected = -1
        self.labels: list[tuple[Label, QRectF]] = []
        self._log_axis = axes["bottom"]
        self._front, self._bars = pg.PlotCurveItem(antialias=True), pg.PlotCurveItem(connect="pairs")
        self._dots = pg.ScatterPlotItem(pxMode=True)
        for item in (self._front, self._bars, self._dots):
            self.addItem(item)
        self.picked.connect(self._choose)
        self.show_theme(LIGHT)
        self.show_points(())

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        if hasattr(self, "_dots"):
            self._front.setPen(line_pen("front", theme))
            self._bars.setPen(self.pen("edge", 1.5))
            self._dots.setData([self._dot(at) for at in range(len(self.points))])
            self.viewport().update()

    def show_points(self, points: Sequence[SizePoint]) -> None:
        """Draw models; one without a size or an accuracy has no place. The selected one stays so."""
        before = self.points[self.selected].key if self.selected >= 0 else None
        drawn = [p for p in points if p.bytes > 0 and math.isfinite(p.top1)]
        self._left_out = len(points) - len(drawn)
        self.points = tuple(sorted(drawn, key=lambda p: (p.bytes, p.top1)))
        self.selected = next((i for i, p in enumerate(self.points) if before is not None and p.key == before), -1)
        xs, tops = [math.log10(p.bytes) for p in self.points], [100 * p.top1 for p in self.points]
        self.show_dots(xs, tops, [words_of(p) for p in self.points])
        self._front_at = front([(p.bytes, p.top1) for p in self.points])
        self._front.setData([xs[i] for i in self._front_at], [tops[i] for i in self._front_at])
        ends = [100 * end for p in self.points for end in interval(p)]
        self._bars.setData(np.repeat(xs, 2), np.array(ends), connect="pairs")
        self._dots.setData([self._dot(at) for at in range(len(self.points))])
        self._fit(xs, ends + tops)
        self._tabulate()
        self._describe()

    def show_chosen(self, key: object) -> None:
        """Mark the model of that key, without a signal."""
        self.selected = next((i for i, p in enumerate(self.points) if p.key == key), -1)
        self._describe()
        self.viewport().update()

    # -- drawing

    def _dot(self, at: int) -> dict[str, object]:
        kind = self.points[at].kind
        mark = MARKS[kind]
        fill = self.theme.color("base" if kind == "simulated" else mark.role)
        pen = pg.mkPen(self.theme.color(mark.role), width=1.8)
        width = DOT + 3 if kind == "float" else DOT  # a diamond looks smaller than it is
        return {"pos": self.places[at], "size": width, "symbol": mark.symbol, "brush": fill, "pen": pen}

    def _fit(self, xs: Sequence[float], tops: Sequence[float]) -> None:
        item: Any = self.getPlotItem()
        for side in ("bottom", "left"):
            item.showAxis(side, bool(xs))
        if not xs:
            return
        self._log_axis.unit, unit = unit_of(10 ** max(xs))
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
        self.menu.table = Table(f"{len(points)} models", columns) if points else None

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
            text + "On the Pareto front: " + "; ".join(self._brief(i) for i in self._front_at) + "."
        )

    def _brief(self, at: int) -> str:
        return words_of(self.points[at]).replace("\n", ", ")

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        room = self.getViewBox().sceneBoundingRect()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(scaled(0.88))
        painter.setClipRect(room)
        if self.points:
            self._paint_ring(painter)
            self._paint_names(painter, room, self._paint_legend(painter, room))
        else:
            painter.setPen(self.theme.color("muted"))
            painter.setFont(scaled(1.0))
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, NOTHING)
        painter.restore()

    def _paint_ring(self, painter: QPainter) -> None:
        if self.selected >= 0:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self.theme.color("accent"), 2))
            painter.drawEllipse(self.place_of(self.selected), DOT, DOT)
            if self.hasFocus():
                painter.setPen(QPen(self.theme.color("text"), 1.3, Qt.PenStyle.DotLine))
                painter.drawEllipse(self.place_of(self.selected), DOT + 3, DOT + 3)

    def _obstacles(self) -> tuple[list[QRectF], list[QRectF]]:
        """Where the dots are, and where their intervals are."""
        view, extent = self.getViewBox(), QSizeF(9.6, 9.6)
        dots: list[QRectF] = []
        bars: list[QRectF] = []
        for at, point in enumerate(self.points):
            place = self.place_of(at)
            low, high = (view.mapViewToScene(QPointF(0.0, 100 * end)).y() for end in interval(point))
            dots.append(QRectF(place - QPointF(4.8, 4.8), extent))
            bars.append(QRectF(place.x() - 1.5, high, 3, max(low - high, 1.0)))
        return dots, bars

    def _paint_legend(self, painter: QPainter, room: QRectF) -> QRectF:
        """What the marks mean, in the corner where the least is hidden."""
        metrics = QFontMetricsF(painter.font())
        entries = [kind for kind in MARKS if any(p.kind == kind for p in self.points)]
        titles = [MARKS[kind].title for kind in entries] + ["95 % interval"]
        titles += ["Pareto front"] if len(self._front_at) > 1 else []
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
                paint_mark(painter, self.theme, entries[row], at)
            else:
                painter.setPen(self.pen("edge", 1.5) if row == len(entries) else line_pen("front", self.theme))
                reach = QPointF(0, 6) if row == len(entries) else QPointF(9, 0)
                painter.drawLine(at - reach, at + reach)
            painter.setPen(self.theme.color("text"))
            painter.drawText(at + QPointF(16, metrics.ascent() / 2 - 1), title)
        return box

    def _paint_names(self, painter: QPainter, room: QRectF, legend: QRectF) -> None:
        """The models that are pointed at or selected come first, then the float model and those on the front."""
        metrics = QFontMetricsF(painter.font())
        first = [at for at in (self.hovered, self.selected) if at >= 0]
        reference = [at for at, point in enumerate(self.points) if point.reference]
        labels: list[Label] = []
        for at in list(dict.fromkeys([*first, *reference, *reversed(self._front_at), *range(len(self.points))]))[
            :NAMES
        ]:
            text = metrics.elidedText(self.points[at].title, Qt.TextElideMode.ElideRight, LONGEST)
            extent = QSizeF(metrics.horizontalAdvance(text) + 2, metrics.height())
            if room.contains(self.place_of(at)):
                labels.append(Label(text, self.place_of(at), extent, must=at in first))
        dots, bars = self._obstacles()
        ring = [QRectF(self.place_of(at) - QPointF(DOT, DOT), QSizeF(2 * DOT, 2 * DOT)) for at in first[-1:]]
        placed = place_labels(labels, [legend, *dots, *ring], bars, room)
        self.labels = [(label, place) for label, place in placed if label.must or self._own(label, place)]
        painter.setPen(QPen(self.theme.color("edge"), 1))
        for line in (leader(label, place) for label, place in self.labels):
            if line is not None:
                painter.drawLine(line)
        for label, place in self.labels:
            painter.fillRect(place, self.theme.color("base", 0.75))
            painter.setPen(self.theme.color("text"))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, label.text)

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

    def focusInEvent(self, event: QFocusEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().focusOutEvent(event)
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is not None and event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        ):
            at = self.selected + step if self.selected >= 0 else (0 if step > 0 else len(self.points) - 1)
            if 0 <= at < len(self.points):
                if not self.getViewBox().viewRect().contains(self.places[at]):
                    self.go_home()
                self._choose(at)
                self.show_reading(at)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.selected)
        else:
            super().keyPressEvent(event)


def _gap(place: QRectF, at: QPointF) -> float:
    """How far a point is from an area."""
    dx = max(place.left() - at.x(), at.x() - place.right(), 0.0)
    dy = max(place.top() - at.y(), at.y() - place.bottom(), 0.0)
    return math.hypot(dx, dy)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Of points in order of size, those that no other of their size or less is as good as."""
    found: list[int] = []
    for at, (size_, top1) in enumerate(points):
        if found and points[found[-1]][0] == size_ and points[found[-1]][1] < top1:
            found.pop()
        if not found or top1 > points[found[-1]][1]:
            found.append(at)
    return found


def interval(point: SizePoint) -> tuple[float, float]:
    """Its interval; the point itself where there is none."""
    low, high = point.top1_ci95
    return (low, high) if math.isfinite(low + high) else (point.top1, point.top1)


def words_of(point: SizePoint) -> str:
    """A model and its figures, in lines."""
    low, high = interval(point)
    disk, packed = size(point.bytes_on_disk), size(point.bytes_theoretical)
    takes = f"{packed} in theory" if point.kind == "simulated" else f"{disk} on disk, {packed} in theory"
    kind = {"float": "Float model", "real": "REAL", "simulated": "SIMULATED"}[point.kind]
    top1 = f"top-1 {percent(point.top1)}, with 95 % confidence {low * 100:.1f} – {high * 100:.1f} %"
    return f"{point.title}\n{kind}: {takes}\n{top1}"


def paint_mark(painter: QPainter, theme: Theme, kind: str, at: QPointF) -> None:
    """The mark of a kind of model, as it is in the picture."""
    mark = MARKS[kind]
    painter.save()
    painter.translate(at)
    painter.scale(DOT - 1, DOT - 1)
    painter.setPen(QPen(theme.color(mark.role), 1.8 / (DOT - 1)))
    painter.setBrush(theme.color("base" if kind == "simulated" else mark.role))
    painter.drawPath(Symbols[mark.symbol])
    painter.restore()
