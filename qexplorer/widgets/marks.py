"""How dots are drawn, and the names beside them: no two kinds look alike, no name lies on another."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyqtgraph as pg
from pyqtgraph.graphicsItems.ScatterPlotItem import Symbols
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen

from qexplorer.widgets.labels import Label, leader
from qexplorer.widgets.theme import Theme

FRONT = "Pareto front"


@dataclass(frozen=True)
class Mark:
    """How the dots of a kind are drawn, and what the legend calls it. One that is not `full` is hollow."""

    symbol: str
    role: str
    title: str
    full: bool = True

    def dot(
        self, theme: Theme, at: QPointF, width: float, line: float, alpha: float = 1.0, known: bool = True
    ) -> dict[str, object]:
        """A dot for a plot, as wide as that in pixels; hollow and faint where its place is not `known` yet."""
        fill = theme.color(self.role, alpha) if self.full and known else theme.color("base")
        pen = pg.mkPen(theme.color(self.role if known else "muted", 1.0 if known else 0.45), width=line)
        return {"pos": (at.x(), at.y()), "size": width, "symbol": self.symbol, "brush": fill, "pen": pen}

    def paint(self, painter: QPainter, theme: Theme, at: QPointF, width: float, line: float) -> None:
        """Draw one for a legend."""
        painter.save()
        painter.translate(at)
        painter.scale(width, width)
        painter.setPen(QPen(theme.color(self.role), line / width))
        painter.setBrush(theme.color(self.role) if self.full else theme.color("base"))
        painter.drawPath(Symbols[self.symbol])
        painter.restore()


def front_pen(theme: Theme) -> QPen:
    """How a Pareto front is drawn."""
    return pg.mkPen(theme.color("accent", 0.55), width=2)


def paint_rings(painter: QPainter, theme: Theme, current: QPointF | None, walked: QPointF | None, width: float) -> None:
    """A ring around the dot that is in use, and a dotted one around that to which the keys have come."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if current is not None:
        painter.setPen(QPen(theme.color("accent"), 2))
        painter.drawEllipse(current, width, width)
    if walked is not None:
        painter.setPen(QPen(theme.color("text"), 1.3, Qt.PenStyle.DotLine))
        painter.drawEllipse(walked, width + 3, width + 3)


def paint_names(painter: QPainter, theme: Theme, placed: Sequence[tuple[Label, QRectF]]) -> None:
    """Draw names where they were placed, with a line to the dot where one is far from it."""
    painter.setPen(QPen(theme.color("edge"), 1))
    for line in (leader(label, place) for label, place in placed):
        if line is not None:
            painter.drawLine(line)
    for label, place in placed:
        painter.fillRect(place, theme.color("base", 0.75))
        painter.setPen(theme.color("text"))
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, label.text)
