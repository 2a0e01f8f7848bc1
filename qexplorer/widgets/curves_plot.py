"""Curves over time: one plot for each unit, over one another on the same x axis, cheap enough to be drawn live."""

from collections.abc import Sequence

from PySide6.QtWidgets import QStackedLayout, QWidget

from qexplorer.presentation import Curve
from qexplorer.widgets.axes import stepped
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.plot_column import PlotColumn
from qexplorer.widgets.theme import LIGHT, Theme
from qexplorer.widgets.unit_plot import UnitPlot

NOTHING = ("No curves yet", "They are drawn here while something is being measured.")


class CurvesPlot(QWidget):
    """Value in: curves. Plots are kept as long as their units come again."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Curves")
        self.plots: dict[str, UnitPlot] = {}
        self._theme = LIGHT
        self._stack = QStackedLayout(self)
        self._empty, self._column = Placeholder(*NOTHING), PlotColumn()
        for page in (self._empty, self._column):
            self._stack.addWidget(page)
        self.show_curves((), "")

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self._theme = theme
        for plot in self.plots.values():
            plot.show_theme(theme)

    def show_curves(self, curves: Sequence[Curve], x_title: str) -> None:
        """Draw curves: those of one unit in one plot, the units in the order in which they come."""
        units = list(dict.fromkeys(curve.unit for curve in curves))
        plots = [self._plot(unit) for unit in units]
        for unit, plot in zip(units, plots, strict=True):
            plot.show_curves([curve for curve in curves if curve.unit == unit], x_title)
        self._column.show_plots(plots, x_title)
        self._stack.setCurrentWidget(self._column if units else self._empty)
        self._fit(plots)
        told = [f"{plot.unit}: {plot.accessibleDescription()}" for plot in plots]
        self.setAccessibleDescription(". ".join(told) if told else NOTHING[0])

    def _plot(self, unit: str) -> UnitPlot:
        if unit not in self.plots:
            self.plots[unit] = UnitPlot(unit)
            self.plots[unit].show_theme(self._theme)
        return self.plots[unit]

    def _fit(self, plots: Sequence[UnitPlot]) -> None:
        ends = [plot.reach for plot in plots]
        known = [end for end in ends if end is not None]
        left = min((end[0] for end in known), default=0.0)
        right = max((end[1] for end in known), default=1.0)
        right = stepped(left, right, 10)[1] if right > left else left + 1.0
        room = 0.02 * (right - left)  # for the marks at the ends
        for plot in plots:
            plot.show_reach(left - room, right + room)
