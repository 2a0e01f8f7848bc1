"""SQNR over bits per weight: a dot for each format, the Pareto front, and what theory allows."""

import math

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QPainter
from PySide6.QtWidgets import QWidget

from qexplorer.numbers import bounded_decibels, count
from qexplorer.quant.survey import FormatPoint, FormatSurvey
from qexplorer.widgets.bits_overlay import DASHES, DOT, Dot, Overlay, Picture, line_pen, marks
from qexplorer.widgets.dots_plot import DotsPlot, step_of
from qexplorer.widgets.plot_menu import PlotData
from qexplorer.widgets.theme import LIGHT, Theme

NARROW = 9.6
"""Where the axis ends as long as wide formats are left out."""


class BitsChart(DotsPlot):
    """A click on a dot, or Enter, chooses its format; the arrow keys go from dot to dot along the bits."""

    chosen = Signal(object)  # QuantSpec

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("SQNR of every format over its bits per weight", "Bits per weight", "SQNR (dB)", parent)
        self.points: tuple[FormatPoint, ...] = ()
        self.current = ""
        self.selected = -1
        self.marks = marks()
        self._survey: FormatSurvey | None = None
        self._subject: object = None
        self._wide = False
        self.curves = {name: pg.PlotCurveItem() for name in DASHES}
        self.front = pg.PlotCurveItem()
        self.doubts = pg.PlotCurveItem(connect="pairs")
        self.dots = pg.ScatterPlotItem(pxMode=True)
        for item in (*self.curves.values(), self.front, self.doubts, self.dots):
            self.addItem(item)
        self.overlay = Overlay()
        self.picked.connect(self._choose)
        self.show_theme(LIGHT)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        for name, curve in self.curves.items():
            curve.setPen(line_pen(name, theme))
        self.front.setPen(line_pen("front", theme))
        self.doubts.setPen(pg.mkPen(theme.color("text", 0.55), width=1.3))
        self._draw()

    def show_survey(self, survey: FormatSurvey | None, subject: object = None) -> None:
        """Draw a result; a new `subject` (another tensor) sets the axes afresh, the same one leaves them alone."""
        chosen = self.points[self.selected].spec.format.name if 0 <= self.selected < len(self.points) else ""
        self._survey = survey
        self.points = survey.points if survey else ()
        self.selected = self._place(chosen or (self.current if self.hasFocus() else ""))
        if survey is None:
            self.menu.data = None
        elif subject != self._subject or self._top() > self.home[3]:
            self._subject = subject
            self._fit()
        self._draw()
        self._describe()

    def show_current(self, name: str) -> None:
        """Mark the format of that name as the one in use."""
        self.current = name
        self._describe()
        self.viewport().update()

    def show_wide(self, wide: bool) -> None:
        """Whether the axis reaches as far as the widest format."""
        if wide != self._wide:
            self._wide = wide
            self._fit()
            self._draw()

    @property
    def needs_wide(self) -> bool:
        """Whether the format in use lies beyond the narrow axis."""
        at = self._place(self.current)
        return at >= 0 and self.points[at].bits_per_weight > NARROW

    def height_of(self, point: FormatPoint) -> float:
        """Where a point stands on the y axis; one without error stands at the top, one without a figure yet at the
        bottom.
        """
        _, _, bottom, top = self.home
        room = 0.03 * (top - bottom)
        if math.isnan(point.sqnr_db):
            return bottom + room
        return min(max(point.sqnr_db, bottom + room), top - room) if math.isinf(point.sqnr_db) else point.sqnr_db

    def _position(self, at: int) -> QPointF:
        return QPointF(self.points[at].bits_per_weight, self.height_of(self.points[at]))

    def _place(self, name: str) -> int:
        return next((i for i, point in enumerate(self.points) if point.spec.format.name == name), -1)

    def _right(self) -> float:
        widest = max((p.bits_per_weight for p in self.points), default=NARROW)
        return max(NARROW, widest * 1.04) if self._wide else NARROW

    def _top(self) -> float:
        right = self._right()
        seen = [p.sqnr_db for p in self.points if p.bits_per_weight <= right and math.isfinite(p.sqnr_db)]
        return max(seen, default=40.0) * 1.08 + 1

    def _fit(self) -> None:
        right = self._right()
        seen = [p.sqnr_db for p in self.points if p.bits_per_weight <= right and math.isfinite(p.sqnr_db)]
        bottom = min([0.0, *seen])
        self.show_home(0.4, right, bottom - 0.03 * (self._top() - bottom), max(self._top(), 53.0))

    def _draw(self) -> None:
        survey = self._survey
        for item in (*self.curves.values(), self.front, self.doubts, self.dots):
            item.setVisible(survey is not None)
        places = [self._position(i) for i in range(len(self.points))]
        self.show_dots(
            [p.x() for p in places],
            [p.y() for p in places],
            [f"{words(p)}\n{p.spec.format.family}" for p in self.points],
        )
        if survey is None:
            return
        for curve in survey.curves:
            self.curves[curve.name].setData(np.array(curve.bits), np.array(curve.sqnr_db))
        front = [place for place, point in zip(places, self.points, strict=True) if point.on_front]
        self.front.setData([p.x() for p in front], [p.y() for p in front])
        bars = [(p.bits_per_weight, end) for p in self.points if p.bounds for end in p.bounds]
        self.doubts.setData([x for x, _ in bars], [y for _, y in bars])
        kinds = list(self.marks)
        order = sorted(range(len(self.points)), key=lambda i: -kinds.index(self.points[i].spec.format.family))
        self.dots.setData([self._dot(i) for i in order])  # of two in one place the family that comes first is on top
        names = np.array([p.spec.format.name for p in self.points])
        bits, sqnr = (np.array([getattr(p, field) for p in self.points]) for field in ("bits_per_weight", "sqnr_db"))
        ends = np.array([p.bounds or (p.sqnr_db, p.sqnr_db) for p in self.points]).reshape(-1, 2)
        columns = {"format": names, "bits_per_weight": bits, "sqnr_db": sqnr, "sqnr_db_low": ends[:, 0],
                   "sqnr_db_high": ends[:, 1], "coverage": np.array([p.coverage for p in self.points])}  # fmt: skip
        self.menu.data = PlotData(f"{count(survey.n)} values ({survey.coverage})", columns)

    def _dot(self, at: int) -> dict[str, object]:
        point, mark = self.points[at], self.marks[self.points[at].spec.format.family]
        known = point.coverage != "pending"
        return mark.dot(self.theme, self.places[at], DOT, 1.3, 0.9 if point.on_front else 0.25, known)

    def _describe(self) -> None:
        if not self.points:
            self.setAccessibleDescription("No formats yet")
            return
        front = "; ".join(words(p) for p in self.points if p.on_front)
        at, chosen = self._place(self.current), self.selected
        text = f"{len(self.points)} formats. In use: {words(self.points[at]) if at >= 0 else 'none of them'}. "
        if chosen >= 0:
            text += f"Selected: {words(self.points[chosen])}. "
        self.setAccessibleDescription(text + f"Fewest bits for their SQNR: {front}.")

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        if self.points:
            self.overlay.paint(painter, self._picture())

    def _picture(self) -> Picture:
        view = self.getViewBox()
        dots = tuple(
            Dot(self.place_of(i), p.spec.format.title, p.spec.format.family, p.on_front)
            for i, p in enumerate(self.points)
        )
        selected = self.selected if self.hasFocus() else -1
        return Picture(view.sceneBoundingRect(), self.theme, dots, self._place(self.current), selected, self.hovered)

    # -- hands

    def reading_of(self, at: int) -> str:
        return f"{super().reading_of(at)}\nClick, or Enter: quantize so"

    def _choose(self, at: int) -> None:
        if at >= 0:
            self.selected = at
            self.chosen.emit(self.points[at].spec)
            self.viewport().update()

    def focusInEvent(self, event: QFocusEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().focusInEvent(event)
        if self.selected < 0:
            self.selected = self._place(self.current)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if step := step_of(event):
            self._select(step)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.selected)
        else:
            super().keyPressEvent(event)

    def _select(self, step: int) -> None:
        """Go to the next dot that the axes show."""
        (left, right), _ = self.getViewBox().viewRange()
        at = self.selected if self.selected >= 0 else self._place(self.current)
        at += step
        while 0 <= at < len(self.points) and not left <= self.points[at].bits_per_weight <= right:
            at += step
        if 0 <= at < len(self.points):
            self.selected = at
            self._describe()
            self.viewport().update()
            self.show_reading(at)


def words(point: FormatPoint) -> str:
    """A format and its figures."""
    bits = f"{point.bits_per_weight:.3f}".rstrip("0").rstrip(".")
    if point.coverage == "pending":
        return f"{point.spec.format.title}: {bits} bits per weight, SQNR not measured yet"
    sqnr = "no error" if point.sqnr_db == math.inf else f"{bounded_decibels(point.sqnr_db, point.bounds)} dB"
    return f"{point.spec.format.title}: {bits} bits per weight, {sqnr}"
