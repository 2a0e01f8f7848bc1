"""Plots over one another on one x axis: only the lowest has its figures and its title."""

from collections.abc import Sequence

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from qexplorer.widgets.plot import Plot

LEAST = 40
"""No plot is lower than this, in pixels; less than Qt would have."""


class PlotColumn(QWidget):
    """Value in: plots, kept when others are shown. What one of them shows of the x axis, all show."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plots: list[Plot] = []
        self._shown: dict[Plot, float] = {}
        self._moving = False
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)

    def show_plots(self, plots: Sequence[Plot], x_title: str, shares: Sequence[float] = ()) -> None:
        """Show these, the highest first, and no others; they share the height equally, or by `shares`."""
        self._shown = dict(zip(plots, shares or [1.0] * len(plots), strict=True))
        for place, plot in enumerate(plots):
            if plot not in self.plots:
                self.plots.append(plot)
                plot.setMinimumHeight(LEAST)
                plot.getViewBox().sigXRangeChanged.connect(self._on_x)
                plot.x_axis.geometryChanged.connect(self._stretch)  # it knows its height once it is drawn
            if self._column.indexOf(plot) != place:
                self._column.insertWidget(place, plot)
            plot.show_label("bottom", x_title if plot is plots[-1] else "")
            plot.x_axis.setStyle(showValues=plot is plots[-1])
        for plot in self.plots:
            plot.setVisible(plot in plots)
        self._stretch()

    def _on_x(self, view: object, between: tuple[float, float]) -> None:
        if not self._moving:
            self._moving = True
            for plot in self.plots:
                if plot.getViewBox() is not view:
                    plot.getViewBox().setXRange(*between, padding=0)
            self._moving = False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._stretch()

    def _stretch(self) -> None:
        """Give each upright axis its share of what the x axes, and what stands above, leave."""
        taken = {plot: round(plot.height_taken) for plot in self._shown}
        one = (self.height() - sum(taken.values())) / max(sum(self._shown.values()), 1.0)
        for place, (plot, share) in enumerate(self._shown.items()):
            stretch = max(round(share * one) + taken[plot], 1)
            if self._column.stretch(place) != stretch:
                self._column.setStretch(place, stretch)
