"""The tensor's values, and over them where each observer would clip."""

import weakref

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSizeF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from qexplorer.numbers import count, figure
from qexplorer.quant.observers import observers
from qexplorer.quant.survey import ObserverPoint, ObserverSurvey
from qexplorer.widgets.plot import Plot, empty_steps, stairs
from qexplorer.widgets.plot_menu import PlotData
from qexplorer.widgets.theme import LIGHT, Theme, scaled

ROLES = ("dequantized", "good", "clip", "text", "muted")
DASHES = ([], [3.0, 2.0], [1.0, 2.0], [5.0, 1.5, 1.0, 1.5])


def line_of(name: str, theme: Theme, width: float = 1.4, alpha: float = 1.0) -> QPen:
    """How an observer's lines are drawn: no two alike."""
    at = [cls.name for cls in observers].index(name)
    pen = QPen(theme.color(ROLES[at % len(ROLES)], alpha), width)
    dashes = DASHES[at // len(ROLES) % len(DASHES)]
    if dashes:
        pen.setDashPattern(dashes)
    pen.setCosmetic(True)
    return pen


class ObserverPlot(Plot):
    """One histogram and a pair of lines for each observer; the one that is pointed at stands out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Values, and where each observer clips them", "Weight", "Values", parent)
        self.curve = empty_steps()
        self.addItem(self.curve)
        self.survey: ObserverSurvey | None = None
        self.pointed = ""
        self._subject: object = None
        self._log = False
        self.overlay = ClipLines(self)
        self.show_theme(LIGHT)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.curve.setPen(self.pen("original"))
        self.curve.setBrush(theme.color("original", 0.32 if theme is LIGHT else 0.38))
        self.viewport().update()

    def show_survey(self, survey: ObserverSurvey | None, subject: object = None) -> None:
        """Draw a result; a new `subject` (another tensor) sets the axes afresh."""
        self.survey = survey
        self.curve.setVisible(survey is not None)
        self.menu.data = None
        self.viewport().update()
        if survey is None:
            return
        if subject != self._subject:
            self._subject = subject
            self._fit(survey)
        self._draw(survey)
        edges = survey.bins.edges
        columns = {"from": edges[:-1], "to": edges[1:], "values": survey.counts}
        known = [p for p in survey.points if p.lo <= p.hi]
        lines = [f"{p.spec.observer.text} {p.lo} {p.hi}" for p in known]
        self.menu.data = PlotData("\n".join([f"{count(survey.n)} values ({survey.coverage})", *lines]), columns)
        self.setAccessibleDescription(
            f"{count(survey.n)} values from {figure(survey.bins.start)} to {figure(survey.bins.stop)}. "
            + "; ".join(f"{p.spec.observer.title} clips at {figure(p.lo)} and {figure(p.hi)}" for p in known)
        )

    def show_log(self, log: bool) -> None:
        """Count axis logarithmic or linear."""
        if log != self._log:
            self._log = log
            self.y_axis.powers_of_ten = log
            if self.survey is not None:
                self._fit(self.survey)
                self._draw(self.survey)

    def show_pointed(self, name: str) -> None:
        """Make the lines of one observer stand out; of none if the name is empty."""
        self.pointed = name
        self.viewport().update()

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        painter.save()
        painter.setClipRect(self.overlay.room)
        self.overlay.paint(painter)
        painter.restore()

    def _heights(self, counts: np.ndarray) -> np.ndarray:
        return np.log10(np.maximum(counts, 0.5)) if self._log else counts.astype(float)

    def _draw(self, survey: ObserverSurvey) -> None:
        edges, counts = stairs(survey.bins.edges, survey.counts)
        self.curve.setData(edges, self._heights(counts), fillLevel=self.home[2])

    def _fit(self, survey: ObserverSurvey) -> None:
        low, high = survey.bins.start, survey.bins.stop
        room = 0.08 * (high - low)
        most = int(survey.counts.max(initial=1))
        bottom, top = 0.0, most * 1.4
        if self._log:
            bottom, top = float(np.log10(0.5)), float(np.log10(most)) * 1.25 + 0.3
        self.show_home(low - room, high + room, bottom, top)


class ClipLines:
    """The lines in pixels, each upper one with its observer's name where there is room for it."""

    def __init__(self, plot: ObserverPlot) -> None:
        self._weak = weakref.ref(plot)  # two that hold each other outlive their window
        self.labels: list[tuple[str, QRectF]] = []

    @property
    def _plot(self) -> ObserverPlot:
        plot = self._weak()
        assert plot is not None  # noqa: S101  it is painted by its plot
        return plot

    @property
    def room(self) -> QRectF:
        """The area within the axes."""
        return self._plot.getViewBox().sceneBoundingRect()

    def paint(self, painter: QPainter) -> None:
        """Draw it all."""
        survey, pointed = self._plot.survey, self._plot.pointed
        self.labels = []
        if survey is None:
            return
        painter.setFont(scaled(0.88))
        known = [p for p in survey.points if p.lo <= p.hi]  # the others are not measured yet
        points = sorted(known, key=lambda p: p.spec.observer.name != pointed)
        for point in reversed(points):  # the one that stands out comes last, over the others
            self._paint_lines(painter, point)
        for point in points:
            self._paint_name(painter, point)

    def _pen(self, point: ObserverPoint) -> QPen:
        name, pointed = point.spec.observer.name, self._plot.pointed
        if pointed and name != pointed:
            return line_of(name, self._plot.theme, 1.0, 0.3)
        return line_of(name, self._plot.theme, 2.4 if pointed else 1.4)

    def _x(self, at: float) -> float:
        return self._plot.getViewBox().mapViewToScene(QPointF(at, 0.0)).x()

    def _paint_lines(self, painter: QPainter, point: ObserverPoint) -> None:
        painter.setPen(self._pen(point))
        room = self.room
        for at in (point.lo, point.hi):
            x = self._x(at)
            if room.left() <= x <= room.right():
                painter.drawLine(QPointF(x, room.top()), QPointF(x, room.bottom()))

    def _paint_name(self, painter: QPainter, point: ObserverPoint) -> None:
        metrics, room, title = QFontMetricsF(painter.font()), self.room, str(point.spec.observer.title)
        x, size = self._x(point.hi), QSizeF(metrics.horizontalAdvance(title) + 4, metrics.height())
        if not room.left() <= x <= room.right():
            return
        rows = max(int(room.height() * 0.75 / (size.height() + 1)), 1)
        places = [QRectF(QPointF(left, room.top() + 2 + row * (size.height() + 1)), size)
                  for row in range(rows) for left in (x + 3, x - size.width() - 3)]  # fmt: skip
        taken = [place for _, place in self.labels]
        free = [p for p in places if room.contains(p) and not any(p.intersects(other) for other in taken)]
        if free:
            painter.fillRect(free[0], self._plot.theme.color("base", 0.8))
            painter.setPen(self._pen(point).color())
            painter.drawText(free[0], Qt.AlignmentFlag.AlignCenter, title)
            self.labels.append((title, free[0]))
