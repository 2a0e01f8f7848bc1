"""The error, dequantized − original: a histogram with ±S/2 marked, and SQNR channel by channel."""

import math

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QWidget

from qexplorer.numbers import count, figure
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.windows import BINS, ErrorWindow
from qexplorer.widgets.axes import nice
from qexplorer.widgets.histogram_plot import SAME, HistogramPlot
from qexplorer.widgets.plot import Plot, empty_steps, stairs
from qexplorer.widgets.plot_menu import PlotData, about
from qexplorer.widgets.theme import LIGHT, Theme


class ErrorPlot(HistogramPlot):
    """Rounding stays between −S/2 and +S/2, clipping lies outside; the eye tells them apart.

    What is zoomed is drawn from a window that was counted for it, and the height follows what is seen.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Histogram of the quantization error", "Error (dequantized − original)", "Values", parent)
        self.curve = empty_steps(fillLevel=0)
        self.halves = tuple(
            pg.InfiniteLine(angle=90, label=text, labelOpts={"position": 0.9}) for text in ("−S/2", "+S/2")
        )
        self.halves[0].label.setAnchor((1, 0.5))
        self.halves[1].label.setAnchor((0, 0.5))
        for item in (self.curve, *self.halves):
            self.addItem(item)
        self._reach = 0.0
        self._top = 0.0
        self._analysis: Analysis | None = None
        self._window: ErrorWindow | None = None
        self.beyond = 0
        self.exact = True
        self.show_theme(LIGHT)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.curve.setPen(self.pen("dequantized"))
        self.curve.setBrush(theme.color("dequantized", 0.3))
        for line in self.halves:
            pen = self.pen("muted")
            pen.setStyle(Qt.PenStyle.DotLine)
            line.setPen(pen)
            line.label.setColor(theme.color("muted"))

    def show_analysis(self, analysis: Analysis | None) -> None:
        """Draw a result. The axes follow it in steps of 1, 2, 5, so that they keep still under small changes."""
        self._analysis = a = analysis
        self._window = None
        if a is None:
            for item in (self.curve, *self.halves):
                item.hide()
            self.menu.data = None
            return
        self.curve.show()
        half = a.spec.format.half_step(a.params, max(-a.data_lo, a.data_hi))
        single = a.spec.format.uniform and len(a.params.scale) == 1
        for line, at in zip(self.halves, (-half, half), strict=True):
            line.setVisible(single)
            line.setValue(at)
            whole = a.spec.rounding.name == "toward_zero"
            line.label.setFormat(("−" if at < 0 else "+") + ("S" if whole else "S/2"))
        self._fit(-float(a.error_bins.start), float(a.errors.max(initial=1)))
        room = 2 * half / max(self.getViewBox().viewPixelSize()[0], 1e-30) > 3 * self.fontMetrics().horizontalAdvance(
            "−S/2"
        )
        for line in self.halves:
            line.label.setVisible(room)  # nearer to each other they would be one blot
        self.draw_seen()

    def show_window(self, window: ErrorWindow) -> None:
        """Draw what was counted for a part of the axis, if that is still what is seen."""
        left, right = self.view
        if self._analysis is not None and abs(window.left - left) + abs(window.right - right) <= SAME * (right - left):
            self._window = window
            self.draw_seen()

    def draw_seen(self) -> None:
        a = self._analysis
        if a is None:
            return
        w = self._window if self.zoomed else None
        bins, errors = (a.error_bins, a.errors) if w is None else (w.bins, w.errors)
        counted = a.coverage != "sampled"  # of a part one cannot say how many lie beyond
        self.beyond = (a.metrics.n - a.metrics.nonfinite - int(a.errors.sum())) * counted if w is None else w.beyond
        self.exact = w is None or w.exact
        (left, right), heights = self.view, errors.astype(np.float64)
        if self.zoomed and w is None:  # in as many bins as will be counted
            heights *= (right - left) / BINS / bins.width
        self.curve.setData(*stairs(bins.edges, heights))
        low, high = self.home[2:]
        if self.zoomed:
            inside = heights[(bins.edges[1:] > left) & (bins.edges[:-1] < right)]
            high = nice(1.15 * float(inside.max(initial=0.0)))
        if self.getViewBox().viewRange()[1] != [low, high]:
            self.getViewBox().setYRange(low, high, padding=0)
        columns = {"from": bins.edges[:-1], "to": bins.edges[1:], "values": errors}
        self.menu.data = PlotData(f"{about(a)}\n{self.beyond} values lie beyond", columns)
        self.setAccessibleDescription(
            f"Largest error {figure(a.metrics.max_abs_error)}, root mean square {figure(a.metrics.rmse)}; "
            f"{count(self.beyond)} values lie beyond the axis."
        )

    def _fit(self, reach: float, top: float) -> None:
        if not reach <= self._reach <= 3 * reach:
            self._reach = nice(reach)
        if not top <= self._top <= 3 * top:
            self._top = nice(top * 1.15)
        home = (-self._reach, self._reach, 0.0, self._top)
        if home != self.home and self.zoomed and self._reach == self.home[1]:
            self.home = home
        elif home != self.home:
            self.show_home(*home)
        self.show_limits(-self._reach, self._reach)


class ChannelPlot(Plot):
    """One bar for each channel: its SQNR in dB."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("SQNR of each channel", "Channel", "SQNR (dB)", parent)
        self.bars = empty_steps(fillLevel=0)
        self.mean = pg.InfiniteLine(angle=0, label="whole tensor", labelOpts={"position": 0.08})
        self.mean.label.setAnchor((0, 1))
        self.mean.setZValue(5)
        self.addItem(self.bars)
        self.addItem(self.mean)
        self._sqnr = np.zeros(0)
        self.show_theme(LIGHT)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.bars.setPen(self.pen("original"))
        self.bars.setBrush(theme.color("original", 0.32))
        self.mean.setPen(self.pen("text", 1.5, dash=True))
        self.mean.label.setColor(theme.color("text"))

    def show_analysis(self, analysis: Analysis | None) -> None:
        """Draw a result; a channel without error reaches the top, one of zeros has no bar."""
        self._sqnr = np.zeros(0) if analysis is None else analysis.channel_sqnr_db
        if not self._sqnr.size or analysis is None:
            self.bars.setData([0, 1], [0])
            self.menu.data = None
            return
        columns = {"channel": np.arange(self._sqnr.size), "sqnr_db": self._sqnr}
        self.menu.data = PlotData(about(analysis), columns)
        finite = self._sqnr[np.isfinite(self._sqnr)]
        top = float(finite.max(initial=1.0)) * 1.15
        heights = np.clip(np.nan_to_num(self._sqnr, nan=0.0, posinf=top, neginf=0.0), 0.0, top)
        self.bars.setData(np.arange(len(heights) + 1) - 0.5, heights)
        mean = analysis.metrics.sqnr_db
        self.mean.setVisible(bool(np.isfinite(mean)))
        self.mean.setValue(mean if np.isfinite(mean) else 0.0)
        home = (-0.5, len(heights) - 0.5, 0.0, nice(top))
        if home != self.home:
            self.show_home(*home)
        worst = int(np.argmin(np.nan_to_num(self._sqnr, nan=np.inf, posinf=np.inf)))
        self.setAccessibleDescription(f"{len(heights)} channels; the worst is {worst}, {figure(self._sqnr[worst])} dB.")

    def reading(self, at: QPointF) -> str:
        channel = round(self.getViewBox().mapSceneToView(at).x())
        if not 0 <= channel < len(self._sqnr):
            return ""
        db = float(self._sqnr[channel])
        return f"channel {channel}: " + ("all its values are zero" if math.isnan(db) else f"{figure(db)} dB")
