"""What is drawn over the dots of the chart of formats: the legend, names that do not meet, rings around two dots."""

from dataclasses import dataclass

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen

from qexplorer.quant.formats import formats
from qexplorer.quant.survey import CURVES
from qexplorer.widgets.labels import Label, place_labels
from qexplorer.widgets.marks import FRONT, Mark, front_pen, paint_names, paint_rings
from qexplorer.widgets.theme import Theme, scaled

DOT = 9.0
"""The width of a dot in pixels."""
SYMBOLS = ("o", "s", "t1", "d", "p", "h", "t", "star", "t2", "t3", "+", "x")
ROLES = ("original", "dequantized", "good", "clip", "muted", "text")
DASHES = {
    "bound": Qt.PenStyle.SolidLine,
    "lloyd_gauss": Qt.PenStyle.DashLine,
    "lloyd_laplace": Qt.PenStyle.DotLine,
    "uniform_gauss": Qt.PenStyle.DashDotLine,
}


def marks() -> dict[str, Mark]:
    """A form of its own for each family of formats; colours come again, forms do not."""
    families = list(dict.fromkeys(form.family for form in formats))
    first = [family.partition(" — ")[0] for family in families]
    return {
        family: Mark(
            SYMBOLS[i % len(SYMBOLS)],
            ROLES[i % len(ROLES)],
            first[i] if first.count(first[i]) == 1 else family.replace(" — ", ", "),
        )
        for i, family in enumerate(families)
    }


def line_pen(name: str, theme: Theme) -> QPen:
    """How a line of theory is drawn, or the Pareto front (`front`)."""
    return front_pen(theme) if name == "front" else pg.mkPen(theme.muted, width=1.3, style=DASHES[name])


@dataclass(frozen=True)
class Dot:
    """A format's dot, in pixels."""

    at: QPointF
    title: str
    family: str
    on_front: bool


@dataclass(frozen=True)
class Picture:
    """What is on screen: the area within the axes, the dots, and which of them is in use, selected or pointed at."""

    room: QRectF
    theme: Theme
    dots: tuple[Dot, ...]
    current: int
    selected: int
    hovered: int


class Overlay:
    """Draws a picture, and remembers where the names are."""

    def __init__(self) -> None:
        self.marks = marks()
        self.labels: list[tuple[Label, QRectF]] = []

    def paint(self, painter: QPainter, picture: Picture) -> None:
        """Draw it all, in pixels."""
        painter.save()
        painter.setClipRect(picture.room)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(scaled(0.88))
        legend = self._paint_legend(painter, picture)
        current, walked = (picture.dots[i].at if i >= 0 else None for i in (picture.current, picture.selected))
        paint_rings(painter, picture.theme, current, walked, DOT)
        self._paint_names(painter, picture, legend)
        painter.restore()

    def _paint_legend(self, painter: QPainter, picture: Picture) -> list[QRectF]:
        """Lines above on the left, families below on the right: no format is so good, or so poor, there."""
        metrics, room = QFontMetricsF(painter.font()), picture.room
        families = [f for f in self.marks if any(dot.family == f for dot in picture.dots)]
        rows = -(-len(families) // 2)
        line = metrics.height() + 1
        boxes: list[QRectF] = []
        right = room.right() - 4
        for entries in (families[rows:], families[:rows], ["front", *DASHES]):
            width = max((metrics.horizontalAdvance(self._title(e)) for e in entries), default=0) + 36
            lines = entries[:1] == ["front"]
            left = room.left() + 8 if lines else right - width
            top = room.top() + 2 if lines else room.bottom() - rows * line - 6
            right -= width
            boxes.append(QRectF(left, top, width, len(entries) * line + 4))
            painter.fillRect(boxes[-1], picture.theme.color("base", 0.85))
            for r, entry in enumerate(entries):
                self._paint_entry(painter, picture.theme, entry, QPointF(left + 2, top + 2 + (r + 0.5) * line))
        return boxes

    def _title(self, entry: str) -> str:
        if entry in self.marks:
            return self.marks[entry].title
        return FRONT if entry == "front" else CURVES[entry]

    def _paint_entry(self, painter: QPainter, theme: Theme, entry: str, at: QPointF) -> None:
        if entry in self.marks:
            self.marks[entry].paint(painter, theme, at + QPointF(14, 0), DOT - 1, 1.3)
        else:
            painter.setPen(line_pen(entry, theme))
            painter.drawLine(at, at + QPointF(20, 0))
        painter.setPen(theme.color("text"))
        ascent = QFontMetricsF(painter.font()).ascent()
        painter.drawText(at + QPointF(25, ascent / 2 - 1), self._title(entry))

    def _paint_names(self, painter: QPainter, picture: Picture, legend: list[QRectF]) -> None:
        """The dots that are pointed at, selected or in use come first, then those on the front."""
        metrics, theme = QFontMetricsF(painter.font()), picture.theme
        first = [at for at in (picture.hovered, picture.selected, picture.current) if at >= 0]
        front = [at for at, dot in enumerate(picture.dots) if dot.on_front]
        labels: list[Label] = []
        for at in dict.fromkeys([*first, *front]):
            dot = picture.dots[at]
            size = QSizeF(metrics.horizontalAdvance(dot.title) + 2, metrics.height())
            if picture.room.contains(dot.at):
                labels.append(Label(dot.title, dot.at, size, must=at in first))
        dots = [QRectF(dot.at - QPointF(5, 5), QSizeF(10, 10)) for dot in picture.dots]
        self.labels = place_labels(labels, legend, dots, picture.room)
        paint_names(painter, theme, self.labels)
