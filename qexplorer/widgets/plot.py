"""What every plot has in common: axes with units, one look in both themes, keys, and words for screen readers."""

import math
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QPen
from PySide6.QtWidgets import QWidget

from qexplorer.widgets.numbers import figure
from qexplorer.widgets.plot_menu import PlotMenu
from qexplorer.widgets.theme import LIGHT, Theme, scaled

AXIS_WIDTH = 72
"""One width for every left axis, so that plots that stand over one another line up."""


class FigureAxis(pg.AxisItem):
    """An axis whose ticks are plain numbers: no SI prefixes, a true minus sign, and counts where it is logarithmic."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.enableAutoSIPrefix(False)
        self.powers_of_ten = False
        self._places = 0

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802, N803
        if not self.powers_of_ten:
            levels: list[tuple[float, list[float]]] = super().tickValues(minVal, maxVal, size)
            finest = min((spacing for spacing, values in levels[:2] if values), default=1.0)
            self._places = max(0, -math.floor(math.log10(finest) + 1e-9)) if finest > 0 else 0
            return levels
        decades = range(math.ceil(minVal), math.floor(maxVal) + 1)
        return [(1.0, [float(d) for d in decades])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if self.powers_of_ten:
            return [figure(10.0**v, 3) for v in values]
        places = self._places
        if places > 4 or (values and max(abs(v) for v in values) >= 1e6):
            return [figure(0.0 if abs(v) < spacing / 10 else v, 3) for v in values]
        return [f"{0.0 if abs(v) < spacing / 10 else v:.{places}f}".replace("-", "−") for v in values]


class Plot(pg.PlotWidget):
    """A plot widget in the program's style. Arrow keys pan, + and − zoom, Home shows everything again."""

    def __init__(self, name: str, x_label: str, y_label: str, parent: QWidget | None = None) -> None:
        axes = {"left": FigureAxis("left"), "bottom": FigureAxis("bottom")}
        super().__init__(parent, axisItems=axes)
        self.theme = LIGHT
        self.x_axis, self.y_axis = axes["bottom"], axes["left"]
        self._labels = {"bottom": x_label, "left": y_label}
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(self.Shape.NoFrame)
        item: Any = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setContentsMargins(0, 6, 8, 0)
        self.y_axis.setWidth(AXIS_WIDTH)
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
            axis.setTickFont(scaled(0.88))
            axis.setStyle(tickLength=-4, tickTextOffset=6)
            css: dict[str, Any] = {"color": theme.muted, "font-size": f"{scaled(0.92).pointSizeF():.1f}pt"}
            axis.setLabel(self._labels[side], **css)

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
        if key == Qt.Key.Key_Home:
            self.go_home()
        elif key in moves:
            a, b = moves[key]
            self.getViewBox().setXRange(left + a * width, right + b * width, padding=0)
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu.show_at(event.globalPos())

    def mouseDoubleClickEvent(self, event: QEvent) -> None:
        self.go_home()

    def pen(self, role: str, width: float = 1.0, *, dash: bool = False) -> QPen:
        """A cosmetic pen in a colour of the theme."""
        style = Qt.PenStyle.DashLine if dash else Qt.PenStyle.SolidLine
        return pg.mkPen(self.theme.color(role), width=width, style=style)


def nice(x: float, *, up: bool = True) -> float:
    """The nearest of 1, 2, 5 · 10ᵏ at or above `x` (or at or below), so that axes change in few steps."""
    if x <= 0 or not math.isfinite(x):
        return 1.0
    power = 10.0 ** math.floor(math.log10(x))
    ladder = [m * power for m in (1, 2, 5, 10)]
    if up:
        return next(v for v in ladder if v >= x * (1 - 1e-9))
    return next(v for v in reversed(ladder) if v <= x * (1 + 1e-9))


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
