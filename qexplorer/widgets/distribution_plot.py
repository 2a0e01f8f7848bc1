"""Original values as filled bins and dequantized ones as stems at the levels themselves, on one axis."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtWidgets import QWidget

from qexplorer.numbers import count, figure
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.bins import Bins
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.quantize import range_for_end
from qexplorer.quant.windows import Beyond, Window
from qexplorer.widgets.axes import nice
from qexplorer.widgets.histogram_plot import SAME, HistogramPlot
from qexplorer.widgets.plot import empty_steps, stairs
from qexplorer.widgets.plot_menu import PlotData, about
from qexplorer.widgets.theme import LIGHT, Theme

STEM_PIXELS = 3.0
"""Levels nearer to each other than this are drawn as an outline of bins: their stems would hide everything else."""

MOST_FAR = 64
"""So many outliers are marked where they are."""
MOST_OUT = 20
"""Clip limits are looked for at most so many times as far out as values reach."""


class DistributionPlot(HistogramPlot):
    """Heights are densities, values per a fixed width of the axis, so that they keep still while bits change.

    A stem's height is the count of its level spread over the step that rounds to it; the tooltip gives the count. What
    is zoomed is drawn from a window that was counted for it, and heights follow what is seen.
    """

    clip_dragged = Signal(float, float)  # lo, hi, while dragging
    clip_released = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Distribution of original and dequantized values", "Weight", "Values", parent)
        self.original = empty_steps()
        self.outline = empty_steps()
        self.stems = pg.PlotCurveItem(connect="pairs")
        self.clips = tuple(_clip_line(where) for where in ("lower", "upper"))
        self.far = pg.ScatterPlotItem(symbol="t1", size=7, pxMode=True)
        for item in (self.original, self.outline, self.stems, self.far, *self.clips):
            self.addItem(item)
        self.getViewBox().sigTransformChanged.connect(self.draw_seen)
        for line in self.clips:
            line.sigDragged.connect(self._on_dragged)
            line.sigPositionChangeFinished.connect(self._on_released)
        self._analysis: Analysis | None = None
        self._window: Window | None = None
        self._sides = (Beyond(), Beyond())
        self._log = False
        self._fitted = (0.0, 0.0, False)
        self._subject: tuple[object, tuple[float, float]] = (None, (0.0, 0.0))
        self.unit = 1.0
        self.floor = 0.5  # where a logarithmic axis begins
        self._dragged: pg.InfiniteLine | None = None
        self.show_theme(LIGHT)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.original.setPen(self.pen("original"))
        self.original.setBrush(theme.color("original", 0.32 if theme is LIGHT else 0.38))
        self.outline.setPen(self.pen("dequantized", 1.5))
        self.far.setPen(self.pen("original"))
        self.far.setBrush(theme.color("original"))
        for line in self.clips:
            line.setPen(self.pen("clip", 2, dash=True))
            line.setHoverPen(self.pen("clip", 3))
            line.label.setColor(theme.color("clip"))
        if self._analysis is not None:
            self._draw()

    def show_analysis(self, analysis: Analysis | None, subject: object = None) -> None:
        """Draw a result; a new `subject` (another tensor) sets the axes afresh, the same one leaves them alone."""
        self._analysis = analysis
        if analysis is None:
            for item in (self.original, self.outline, self.stems, self.far, *self.clips):
                item.hide()
            self.menu.data = self._window = None
            self.show_notes("", "")
            return
        self.original.show()
        if self._window is not None:  # its dequantized values are those of another choice
            self._window = replace(self._window, dequantized=None)
        reach, before = (analysis.data_lo, analysis.data_hi), self._subject
        if (subject, reach) != before:  # of a sample the reach may be less than that of all values
            self._subject = (subject, reach)
            self.unit = nice(_span(analysis) / 300)
            if subject != before[0]:
                self._window = None
                self.show_outliers(None, (Beyond(), Beyond()), np.zeros(0))
            self._fit(stay=subject == before[0] and self.zoomed)
        elif self._log and not self.zoomed and _floor(analysis.bins, self.unit) < self.floor:
            self._fit_floor(analysis)
        self._allow(analysis)
        self._draw()
        self._describe()

    def show_window(self, window: Window) -> None:
        """Draw what was counted for a part of the axis, if that is still what is seen."""
        left, right = self.view
        if self._analysis is None or abs(window.left - left) + abs(window.right - right) > SAME * (right - left):
            return
        self._window = window
        self._draw()
        self._describe()

    def show_outliers(self, bulk: tuple[float, float] | None, sides: tuple[Beyond, Beyond], places: np.ndarray) -> None:
        """Mark what lies beyond the bulk: how many on either side, and where."""
        self.show_bulk(bulk)
        self._sides = sides
        self.far.setData(places[:MOST_FAR], np.zeros(len(places[:MOST_FAR])))
        if self._analysis is not None:
            self._draw()
            self._describe()

    def _allow(self, a: Analysis) -> None:
        """Let nobody look farther than home and the clip limits, where there are any."""
        left, right, _, _ = self.home
        reach = MOST_OUT * (right - left)
        if a.spec.format.scaled and a.params.levels is None:
            left, right = max(min(left, 1.1 * a.lo), left - reach), min(max(right, 1.1 * a.hi), right + reach)
        self.show_limits(left, right)

    def _plot_data(self, a: Analysis, bins: Bins, original: np.ndarray, dequantized: np.ndarray | None) -> PlotData:
        columns = {"from": bins.edges[:-1], "to": bins.edges[1:], "original": original}
        if dequantized is not None:
            columns["dequantized"] = dequantized
        return PlotData(about(a), columns)

    def show_log(self, log: bool) -> None:
        """Count axis logarithmic or linear."""
        if log != self._log:
            self._log = log
            self.y_axis.powers_of_ten = log
            if self._analysis is not None:
                self._fit()
                self._draw()

    def _heights(self, counts: np.ndarray, width: float | np.ndarray, scale: tuple[float, float]) -> np.ndarray:
        unit, floor = scale
        density = counts * (unit / width)
        return np.log10(np.maximum(density, floor)) if self._log else density

    def _fit(self, *, stay: bool = False) -> None:
        """Make room for all values, and go there unless what is seen is to `stay`."""
        a = self._analysis
        assert a is not None  # noqa: S101
        counts, span = a.original, _span(a)
        if not len(a.levels):
            counts = _outlined(counts, a.dequantized)
        self.floor = _floor(a.bins, self.unit)
        left, right = min(a.data_lo, a.data_hi - span / 2), max(a.data_hi, a.data_lo + span / 2)
        left, right = left - 0.06 * span, right + 0.06 * span
        if self._log:
            counts = np.maximum(counts, a.dequantized)
        top = max(float(counts.max(initial=0)) * self.unit / a.bins.width, 2 * self.floor)
        low, high = self._upright(top, self.floor)
        if stay:
            self.home = (left, right, low, high)
        else:
            self.show_home(left, right, low, high)

    def _upright(self, top: float, floor: float) -> tuple[float, float]:
        """The upright axis for densities up to `top`."""
        if not self._log:
            return 0.0, top * 1.18
        low, high = float(np.log10(floor)), float(np.log10(top))
        return low, high + 0.12 * (high - low)

    def _fit_floor(self, a: Analysis) -> None:
        """Lower the floor, so that the stem of a single value stays above it; all else stays where it is."""
        self.floor = _floor(a.bins, self.unit)
        left, right, _, top = self.home
        self.home = (left, right, float(np.log10(self.floor)), top)
        self.getViewBox().setYRange(*self.home[2:], padding=0)

    def _draw(self) -> None:
        a = self._analysis
        assert a is not None  # noqa: S101
        w = self._window if self.zoomed else None
        seen = (a.bins, a.original) if w is None else (w.bins, w.original)
        become = (a.bins, a.dequantized) if w is None or w.dequantized is None else (w.bins, w.dequantized)
        scale = self._scale(seen[0])
        base = float(np.log10(scale[1])) if self._log else 0.0
        self.original.setData(*self._steps(*seen, scale), fillLevel=base)
        step = float(a.level_widths.min(initial=np.inf)) if len(a.levels) else 0.0
        left, right = self.view  # not its pixel size, which comes late
        pixels = step / (right - left) * self.getViewBox().width()
        stems = pixels >= STEM_PIXELS
        self.stems.setVisible(stems)
        self.outline.setVisible(not stems)
        if stems:
            heights = self._heights(a.level_counts, a.level_widths, scale)
            self.stems.setData(np.repeat(a.levels, 2), np.column_stack([np.full(len(heights), base), heights]).ravel())
            self.stems.setPen(self.pen("dequantized", float(np.clip(pixels * 0.14, 1.0, 4.0))))
        else:
            self.outline.setData(*self._steps(*become, scale))
        self._draw_clips(a)
        self.show_label("left", f"Values per {figure(scale[0], 3)}")
        outlined = not stems and become[0] is seen[0]
        self._fit_upright(seen[0], _outlined(seen[1], become[1]) if outlined else seen[1], scale)
        self._note(a, w)
        self.menu.data = self._plot_data(a, *seen, become[1] if become[0] is seen[0] else None)

    def _scale(self, bins: Bins) -> tuple[float, float]:
        """The width that densities are per, and the least of them that is seen on a logarithmic axis."""
        if not self.zoomed:
            return self.unit, self.floor
        left, right = self.view
        unit = nice((right - left) / 300)
        return unit, _floor(bins, unit)

    def _steps(self, bins: Bins, counts: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        edges, counts = stairs(bins.edges, counts)
        return edges, self._heights(counts, bins.width, scale)

    def _fit_upright(self, bins: Bins, counts: np.ndarray, scale: tuple[float, float]) -> None:
        """Where the plot is zoomed its height follows the counts that are seen; at home it keeps still, and so it does
        where the same part is seen under another choice, unless that needs other room.
        """
        low, high = self.home[2:]
        _, now = self.getViewBox().viewRange()
        if self.zoomed:
            left, right = self.view
            edges = bins.edges
            inside = counts[(edges[1:] > left) & (edges[:-1] < right)]
            top = float(inside.max(initial=0.0)) * scale[0] / bins.width
            low, high = self._upright(max(top, 2 * scale[1]), scale[1])
            if self._fitted == (left, right, self._log) and now[0] <= low and high <= now[1] <= 2 * high:
                low, high = now
            self._fitted = (left, right, self._log)
        if abs(now[0] - low) + abs(now[1] - high) > SAME * (high - low):
            self.getViewBox().setYRange(low, high, padding=0)
        self.far.setVisible(self.bulk is not None)
        xs = self.far.getData()[0]
        self.far.setData(xs, np.full(len(xs), low + 0.03 * (high - low)))

    def _note(self, a: Analysis, w: Window | None) -> None:
        """Say what lies beyond what is seen or, where all is, beyond the bulk."""
        if not self.zoomed:
            notes = [_noted("beyond the bulk", side) for side in self._sides]
        elif w is not None:
            notes = [_noted("beyond", side, "" if w.exact else "about ") for side in (w.below, w.above)]
        else:
            left, right = self.view
            known = ((a.data_lo < left, a.data_lo), (a.data_hi > right, a.data_hi))
            notes = [f"more beyond, farthest {figure(end)}" if more else "" for more, end in known]
        self.show_notes(*notes)

    def draw_seen(self) -> None:
        if self._analysis is not None:
            self._draw()

    def _draw_clips(self, a: Analysis) -> None:
        alone = len(a.params.scale) == 1 or isinstance(a.spec.observer, Fixed)
        movable = alone and "observer" in a.spec.format.applies
        (left, right), _ = self.getViewBox().viewRange()
        room = (a.hi - a.lo) / (right - left) * self.getViewBox().width()
        inside = room > 2 * self.fontMetrics().horizontalAdvance("clip −0.0000 ")
        for line, side in zip(self.clips, (0, 1), strict=True):
            anchor = (side if inside else 1 - side, 0.5)  # outside where two labels would meet
            line.label.anchors = [anchor, anchor]
            line.label.updatePosition()
        for line, at in zip(self.clips, (a.lo, a.hi), strict=True):
            line.setVisible(a.spec.format.scaled and a.params.levels is None)  # a learned table clips nothing
            line.setMovable(movable)  # where each group has a range of its own, one pair of lines cannot set them
            line.setPen(self.pen("clip", 2 if movable else 1, dash=True))
            line.setCursor(Qt.CursorShape.SizeHorCursor if movable else Qt.CursorShape.ArrowCursor)
            if a.spec.format.scaled and line is not self._dragged:
                _place(line, at)
            line.label.setFormat(f"clip {'+' if at > 0 else ''}{figure(at, 3)}")

    def _describe(self) -> None:
        a = self._analysis
        assert a is not None  # noqa: S101
        self.setAccessibleDescription(
            f"{count(a.metrics.n)} values from {figure(a.data_lo)} to {figure(a.data_hi)}; "
            f"{a.spec.title} covers {figure(a.lo)} to {figure(a.hi)}; SQNR {figure(a.metrics.sqnr_db)} dB. "
            + " ".join(f"{note}." for note in self.notes if note)
        )

    def _on_dragged(self, line: pg.InfiniteLine) -> None:
        """Emit the range that puts the end of the grid where the line is; the range always holds zero."""
        a = self._analysis
        if a is None:
            return
        self._dragged = line
        upper, least = line is self.clips[1], 1e-3 * _span(a)
        at = max(position(line), least) if upper else min(position(line), -least)
        _place(line, at)
        if a.spec.scheme == "symmetric":
            reach = range_for_end(a.spec, at)
            self.clip_dragged.emit(-reach, reach)
            return
        observer = a.spec.observer
        lo, hi = (observer.lo, observer.hi) if isinstance(observer, Fixed) else (a.lo, a.hi)
        self.clip_dragged.emit(*((min(lo, 0.0), at) if upper else (at, max(hi, 0.0))))

    def _on_released(self) -> None:
        self._dragged = None
        if self._analysis is not None:
            self._draw_clips(self._analysis)
        self.clip_released.emit()

    def reading(self, at: QPointF) -> str:
        """What lies under the pointer: the bin's count, and the level that its values become."""
        a = self._analysis
        if a is None:
            return ""
        w = self._window if self.zoomed else None
        bins, counts = (a.bins, a.original) if w is None else (w.bins, w.original)
        x = self.getViewBox().mapSceneToView(at).x()
        place = math.floor((x - bins.start) / bins.width)
        if not 0 <= place < bins.count or not self.getViewBox().sceneBoundingRect().contains(at):
            return ""
        left = bins.start + place * bins.width
        n = count(round(float(counts[place])))
        text = f"{n} values from {figure(left, 6)} to {figure(left + bins.width, 6)}"
        if len(a.levels):
            nearest = int(np.argmin(np.abs(a.levels - x)))
            text += f"\nlevel {figure(float(a.levels[nearest]))}: {count(int(a.level_counts[nearest]))} values"
        return text


def _floor(bins: Bins, unit: float) -> float:
    """Half of what a single value makes in the widest bin, or as a stem."""
    return 0.5 * unit / max(bins.width * max(bins.per_step, 1), unit)


def _outlined(original: np.ndarray, dequantized: np.ndarray) -> np.ndarray:
    """The counts that there has to be room for where an outline may rise above the original, but not far."""
    return np.maximum(original, np.minimum(dequantized, 1.6 * original.max(initial=0)))


def _noted(where: str, beyond: Beyond, about: str = "") -> str:
    """A note of what lies beyond one side; empty where that is nothing."""
    if not beyond.n:
        return ""
    return f"{about}{count(beyond.n)} {where}, {'farthest ' if beyond.n > 1 else ''}{figure(beyond.farthest)}"


def _span(a: Analysis) -> float:
    """How much of the axis the data takes; that of the bins where all values are equal."""
    return a.data_hi - a.data_lo if a.data_hi > a.data_lo else a.bins.width * a.bins.count


def _place(line: pg.InfiniteLine, at: float) -> None:
    """Move a line without a signal."""
    line.blockSignals(True)
    line.setValue(at)
    line.blockSignals(False)


def position(line: pg.InfiniteLine) -> float:
    """Where an upright line stands on the x axis."""
    at: Any = line.value()
    return float(at)


def _clip_line(where: str) -> pg.InfiniteLine:
    line = pg.InfiniteLine(angle=90, movable=True, label="clip", labelOpts={"position": 0.95})
    line.label.setAnchor((0, 0.5) if where == "lower" else (1, 0.5))
    line.label.orthoPos = 0.95
    line.setZValue(10)
    line.setCursor(Qt.CursorShape.SizeHorCursor)
    return line
