"""What every plot has in common: axes with units, one look in both themes, keys, and words for screen readers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QContextMenuEvent, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QToolTip, QWidget

from qexplorer.widgets.axes import BEYOND, FIGURES, FigureAxis
from qexplorer.widgets.plot_menu import PlotMenu
from qexplorer.widgets.theme import LIGHT, Theme, scaled

BELOW_TITLE = 4
"""Pixels between what stands above the axes and them."""
LEAST = QSize(260, 150)
"""No picture is smaller where there is a choice."""
AXIS_WIDTH = 72
"""One width for every left axis, so that plots that stand over one another line up."""


class Plot(pg.PlotWidget):
    """A plot widget in the program's style. Arrow keys pan, + and − zoom, Home or 0 shows everything again.

    `axes` take the place of the usual ones. One that is `low` has the title of its y axis above it, where it needs no
    height.
    """

    def __init__(self, name: str, x_label: str, y_label: str, parent: QWidget | None = None, *,
                 axes: Sequence[FigureAxis] = (), low: bool = False) -> None:  # fmt: skip
        own = {axis.orientation: axis for axis in (FigureAxis("bottom"), FigureAxis("left"), *axes)}
        super().__init__(parent, axisItems=own)
        self.x_axis, self.y_axis = own["bottom"], own["left"]
        self.theme, self.low = LIGHT, low
        self._labels = {"bottom": x_label, "left": y_label}
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(self.Shape.NoFrame)
        item: Any = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setContentsMargins(0, self.title_place.bottom() + BELOW_TITLE if low else 6, 8, 0)
        self.y_axis.setWidth(AXIS_WIDTH)
        self.y_axis.setStyle(hideOverlappingLabels=BEYOND)
        self.getViewBox().setMouseEnabled(x=True, y=False)
        self.menu = PlotMenu(self)
        self.home: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)

    def show_theme(self, theme: Theme) -> None:
        """Repaint everything in a theme; subclasses add their own items."""
        self.theme = theme
        self.setBackground(theme.base)
        for side, axis in (("bottom", self.x_axis), ("left", self.y_axis)):
            axis.setPen(pg.mkPen(theme.hairline))
            axis.setTextPen(pg.mkPen(theme.muted))
            axis.setTickFont(scaled(FIGURES))
            axis.setStyle(tickLength=-4, tickTextOffset=6)
            css: dict[str, Any] = {"color": theme.muted, "font-size": f"{scaled(0.92).pointSizeF():.1f}pt"}
            axis.setLabel(self._labels[side], **css)
        self.y_axis.showLabel(not self.low)

    def minimumSizeHint(self) -> QSize:
        return LEAST

    @property
    def title_place(self) -> QRectF:
        """Where the title of the y axis stands if it is above it."""
        metrics = QFontMetricsF(scaled(0.92))
        return QRectF(8, 2, metrics.horizontalAdvance(self._labels["left"]) + 1, metrics.height() + 2)

    @property
    def height_taken(self) -> float:
        """How much of the height is not the upright axis's."""
        item: Any = self.getPlotItem()
        return item.getContentsMargins()[1] + self.x_axis.minimumHeight()

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        if self.low:
            painter.setFont(scaled(0.92))
            painter.setPen(self.theme.color("muted"))
            painter.drawText(self.title_place, Qt.AlignmentFlag.AlignVCenter, self._labels["left"])

    def show_label(self, side: str, text: str) -> None:
        """Rename an axis (`bottom` or `left`)."""
        if self._labels[side] != text:
            self._labels[side] = text
            self.show_theme(self.theme)

    def show_home(self, left: float, right: float, bottom: float, top: float) -> None:
        """Set the range that Home returns to, and go there."""
        self.home = (left, right, bottom, top)
        self.go_home()

    def go_home(self) -> None:
        """Show the whole range again."""
        left, right, bottom, top = self.home
        self.getViewBox().setRange(xRange=(left, right), yRange=(bottom, top), padding=0)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        (left, right), _ = self.getViewBox().viewRange()
        width = right - left
        moves = {Qt.Key.Key_Left: (-0.1, -0.1), Qt.Key.Key_Right: (0.1, 0.1), Qt.Key.Key_Plus: (0.1, -0.1),
                 Qt.Key.Key_Equal: (0.1, -0.1), Qt.Key.Key_Minus: (-0.125, 0.125)}  # fmt: skip
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_Home, Qt.Key.Key_0):
            self.go_home()
        elif key in moves:
            a, b = moves[key]
            self.getViewBox().setXRange(left + a * width, right + b * width, padding=0)
        else:
            super().keyPressEvent(event)

    def reading(self, at: QPointF) -> str:
        """What is told of a place of the widget when it is pointed at; empty where there is nothing."""
        del at
        return ""

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().mouseMoveEvent(event)
        if event.buttons() == Qt.MouseButton.NoButton:
            text = self.reading(event.position())
            QToolTip.showText(event.globalPosition().toPoint(), text, self) if text else QToolTip.hideText()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu.show_at(event.globalPos())

    def mouseDoubleClickEvent(self, event: QEvent) -> None:
        self.go_home()

    def pen(self, role: str, width: float = 1.0, *, dash: bool = False) -> QPen:
        """A cosmetic pen in a colour of the theme."""
        style = Qt.PenStyle.DashLine if dash else Qt.PenStyle.SolidLine
        return pg.mkPen(self.theme.color(role), width=width, style=style)


def empty_steps(**options: Any) -> pg.PlotCurveItem:
    """A curve of bins, of which there are none yet."""
    return pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", **options)


def stairs(edges: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins whose sides are drawn only where neighbours differ: edges and heights without runs of zero at the ends."""
    used = np.flatnonzero(heights)
    if not used.size:
        return edges[:2], np.zeros(1)
    first, last = used[0], used[-1] + 1
    return edges[first : last + 1], heights[first:last]
