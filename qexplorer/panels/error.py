"""Error: what quantizing costs, over all values and channel by channel."""

from typing import ClassVar

from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedLayout, QWidget

from qexplorer.numbers import count, figure
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.quant import Analysis
from qexplorer.quant.windows import ErrorWindow
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Failed
from qexplorer.widgets.controls import caption
from qexplorer.widgets.error_plot import ChannelPlot, ErrorPlot
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.theme import Theme

LEAST_LINES = 16
"""With less height than so many lines of text it had better be folded than stand below the values."""
ONE_CHANNEL = "This tensor has no channels to compare: it has one dimension, or only one channel."


@panels.register
class ErrorPanel(Panel):
    """Two pictures in one place: the histogram of errors, and SQNR of each channel."""

    name: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    order: ClassVar[int] = 30
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 4, "distribution", height=14, folds=True, yields=1),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.histogram, self.channels = ErrorPlot(), ChannelPlot()
        self._channels_of = ("", "")
        self._empty = Placeholder("No error yet", "The error of each value appears here once a tensor is selected.")
        content = QWidget()
        self._stack = QStackedLayout(content)
        for widget in (self._empty, self.histogram, self.channels):
            self._stack.addWidget(widget)
        content.setMinimumHeight(LEAST_LINES * self.fontMetrics().height())
        self.body.addWidget(content, 1)
        self._view = Segmented([("histogram", "Histogram"), ("channels", "Channels")], "Error view")
        self._view.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._view.setToolTip("The error of all values together, or the SQNR of each channel")
        self._view.chosen.connect(self._on_view)
        self._remark = caption("")
        for plot in (self.histogram, self.channels):
            plot.menu.failed.connect(self.banner.show_message)
        self._view.show_value(parts.store.state.error_view)
        self.histogram.looked_at.connect(self._on_looked)
        parts.closer.errors_seen.connect(self._on_seen)
        parts.store.changed.connect(self._on_changed)
        parts.preview.analyzed.connect(self.show_analysis)
        parts.preview.failed.connect(self._on_failed)
        parts.preview.refused.connect(self._on_refused)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        row.addWidget(self._remark)
        row.addWidget(self._view)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.histogram.show_theme(theme)
        self.channels.show_theme(theme)

    def show_analysis(self, analysis: Analysis) -> None:
        """Draw a result."""
        self.histogram.show_analysis(analysis)
        self.histogram.menu.subject = self.subject_text
        state = self.parts.store.state
        if analysis.coverage != "exact" and self._channels_of != (state.path, state.tensor):
            self.channels.show_analysis(None)
        elif analysis.coverage == "exact":  # until then the channels are those of the spec before
            self._channels_of = (state.path, state.tensor)
            self.channels.show_analysis(analysis)
            self.channels.menu.subject = self.subject_text
            single = len(analysis.channel_sqnr_db) < 2
            self._view.show_refusals({"channels": ONE_CHANNEL if single else ""})
            self._view.show_value("histogram" if single else self.parts.store.state.error_view)
        self._on_looked()
        self._show_view()

    def _on_looked(self) -> None:
        """Count anew where only a part of the axis is seen."""
        self.parts.closer.look_at_errors(self.histogram.view if self.histogram.zoomed else None)
        self._show_remark()

    def _on_seen(self, window: ErrorWindow) -> None:
        self.histogram.show_window(window)
        self._show_remark()

    def _show_remark(self) -> None:
        """How many errors lie beyond what is seen, and how far."""
        plot, analysis = self.histogram, self.parts.preview.analysis
        beyond = plot.beyond if self._view.value == "histogram" and analysis is not None else 0
        roughly = "" if plot.exact else "about "
        self._remark.setText(f"{roughly}{count(beyond)} beyond the axis" if beyond else "")
        if analysis is not None:
            farthest = figure(analysis.metrics.max_abs_error, 3)
            self._remark.setToolTip(f"Errors that are not between the ends of the axis; the largest is {farthest}")

    def _show_view(self) -> None:
        self._show_remark()
        self._stack.setCurrentWidget(self.channels if self._view.value == "channels" else self.histogram)

    def _on_view(self, view: object) -> None:
        self.parts.store.update(error_view=view)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.error_view != old.error_view:
            self._view.show_value(new.error_view)
            if self.parts.preview.analysis is not None:
                self._show_view()

    def _on_failed(self, failed: Failed) -> None:
        self._empty.show_text("No error to show", failed.message)
        self._remark.clear()
        self._stack.setCurrentWidget(self._empty)

    def _on_refused(self, failed: Failed) -> None:
        if self.parts.preview.checkpoint is None:
            self._on_failed(failed)
