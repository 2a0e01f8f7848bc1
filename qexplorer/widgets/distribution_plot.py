"""Original values as filled bins and dequantized ones as stems at the levels themselves, on one axis."""

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtWidgets import QWidget

from qexplorer.numbers import count, figure
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.quantize import range_for_end
from qexplorer.widgets.axes import nice
from qexplorer.widgets.plot import Plot, empty_steps, stairs
from qexplorer.widgets.plot_menu import PlotData, about
from qexplorer.widgets.theme import LIGHT, Theme

STEM_PIXELS = 3.0
"""Levels nearer to each other than this are drawn as an outline of bins: their stems would hide everything else."""


class DistributionPlot(Plot):
    """Heights are densities, values per a fixed width of the axis, so that they keep still while bits change.

    A stem's height is the count of its level spread over the step that rounds to it; the tooltip gives the count.
    """

    clip_dragged = Signal(float, float)  # lo, hi, while dragging
    clip_released = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Distribution of original and dequantized values", "Weight", "Values", parent)
        self.original = empty_steps()
        self.outline = empty_steps()
        self.stems = pg.PlotCurveItem(connect="pairs")
        self.clips = tuple(_clip_line(where) for where in ("lower", "upper"))
        for item in (self.original, self.outline, self.stems, *self.clips):
            self.addItem(item)
        self.getViewBox().sigTransformChanged.connect(self._on_scaled)
        for line in self.clips:
            line.sigDragged.connect(self._on_dragged)
            line.sigPositionChangeFinished.connect(self._on_released)
        self._analysis: Analysis | None = None
        self._log = False
        self._subject: object = None
        self.unit = 1.0
        self.floor = 0.5  # where a logarithmic axis begins
        self._dragged: pg.InfiniteLine | None = None
        self.show_theme(LIGHT)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.original.setPen(self.pen("original"))
        self.original.setBrush(theme.color("original", 0.32 if theme is LIGHT else 0.38))
        self.outline.setPen(self.pen("dequantized", 1.5))
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
            for item in (self.original, self.outline, self.stems, *self.clips):
                item.hide()
            self.menu.data = None
            return
        self.original.show()
        reach = (analysis.data_lo, analysis.data_hi)
        if (subject, reach) != self._subject:  # of a sample the reach may be less than that of all values
            self._subject = (subject, reach)
            self.unit = nice(_span(analysis) / 300)
            self._fit()
        elif self._log and _floor(analysis, self.unit) < self.floor:
            self._fit_floor(analysis)
        self._draw()
        self._describe()
        edges = analysis.bins.edges
        columns = {
            "from": edges[:-1],
            "to": edges[1:],
            "original": analysis.original,
            "dequantized": analysis.dequantized,
        }
        self.menu.data = PlotData(about(analysis), columns)

    def show_log(self, log: bool) -> None:
        """Count axis logarithmic or linear."""
        if log != self._log:
            self._log = log
            self.y_axis.powers_of_ten = log
            if self._analysis is not None:
                self._fit()
                self._draw()

    def _heights(self, counts: np.ndarray, width: float | np.ndarray) -> np.ndarray:
        density = counts * (self.unit / width)
        return np.log10(np.maximum(density, self.floor)) if self._log else density

    def _fit(self) -> None:
        a = self._analysis
        assert a is not None  # noqa: S101
        counts, span = a.original, _span(a)
        if not len(a.levels):  # drawn as an outline, which may rise above the original
            counts = np.maximum(counts, np.minimum(a.dequantized, 1.6 * counts.max(initial=0)))
        self.floor = _floor(a, self.unit)
        left, right = min(a.data_lo, a.data_hi - span / 2), max(a.data_hi, a.data_lo + span / 2)
        left, right = left - 0.06 * span, right + 0.06 * span
        if self._log:
            counts = np.maximum(counts, a.dequantized)
        top = max(float(counts.max(initial=0)) * self.unit / a.bins.width, 2 * self.floor)
        if self._log:
            low, high = float(np.log10(self.floor)), float(np.log10(top))
            self.show_home(left, right, low, high + 0.12 * (high - low))
        else:
            self.show_home(left, right, 0.0, top * 1.18)

    def _fit_floor(self, a: Analysis) -> None:
        """Lower the floor, so that the stem of a single value stays above it; all else stays where it is."""
        self.floor = _floor(a, self.unit)
        left, right, _, top = self.home
        self.home = (left, right, float(np.log10(self.floor)), top)
        self.getViewBox().setYRange(*self.home[2:], padding=0)

    def _draw(self) -> None:
        a = self._analysis
        assert a is not None  # noqa: S101
        base = float(np.log10(self.floor)) if self._log else 0.0
        edges = a.bins.edges
        self.original.setData(*_steps(edges, a.original, a.bins.width, self), fillLevel=base)
        step = float(a.level_widths.min(initial=np.inf)) if len(a.levels) else 0.0
        (left, right), _ = self.getViewBox().viewRange()  # not its pixel size, which comes late
        pixels = step / (right - left) * self.getViewBox().width()
        stems = pixels >= STEM_PIXELS
        self.stems.setVisible(stems)
        self.outline.setVisible(not stems)
        if stems:
            heights = self._heights(a.level_counts, a.level_widths)
            self.stems.setData(np.repeat(a.levels, 2), np.column_stack([np.full(len(heights), base), heights]).ravel())
            self.stems.setPen(self.pen("dequantized", float(np.clip(pixels * 0.14, 1.0, 4.0))))
        else:
            self.outline.setData(*_steps(edges, a.dequantized, a.bins.width, self))
        self._draw_clips(a)
        self.show_label("left", f"Values per {figure(self.unit, 3)}")

    def _on_scaled(self) -> None:
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
            f"{a.spec.title} covers {figure(a.lo)} to {figure(a.hi)}; SQNR {figure(a.metrics.sqnr_db)} dB."
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
        x = self.getViewBox().mapSceneToView(at).x()
        place = int((x - a.bins.start) / a.bins.width)
        if not 0 <= place < a.bins.count or not self.getViewBox().sceneBoundingRect().contains(at):
            return ""
        left = a.bins.start + place * a.bins.width
        text = f"{count(int(a.original[place]))} values from {figure(left)} to {figure(left + a.bins.width)}"
        if len(a.levels):
            nearest = int(np.argmin(np.abs(a.levels - x)))
            text += f"\nlevel {figure(float(a.levels[nearest]))}: {count(int(a.level_counts[nearest]))} values"
        return text


def _floor(a: Analysis, unit: float) -> float:
    """Half of what a single value makes in the widest bin, or as a stem."""
    return 0.5 * unit / max(a.bins.width * max(a.bins.per_step, 1), unit)


def _steps(
    edges: np.ndarray, counts: np.ndarray, width: float, plot: DistributionPlot
) -> tuple[np.ndarray, np.ndarray]:
    edges, counts = stairs(edges, counts)
    return edges, plot._heights(counts, width)


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
