"""Metrics: the figures of the tensor under the scheme."""

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.distribution import NOTICEABLE_S
from qexplorer.quant import Analysis
from qexplorer.state.runner import Failed, Task
from qexplorer.widgets.metrics_list import MetricsList
from qexplorer.widgets.tall_area import TallArea
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import thin_scroll_bars


@panels.register
class MetricsPanel(Panel):
    """SQNR large, the rest below."""

    name: ClassVar[str] = "metrics"
    title: ClassVar[str] = "Metrics"
    order: ClassVar[int] = 50
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 5, "scheme", height=22, yields=2, onto="scheme"),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.list = MetricsList()
        self._area = TallArea(self.list)
        self._area.least = self.list.least
        self.body.addWidget(self._area)
        self.body.addStretch()
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)
        parts.preview.analyzed.connect(self._on_analyzed)
        parts.preview.progressed.connect(self._on_progressed)
        parts.preview.failed.connect(self._on_failed)
        parts.preview.refused.connect(self._on_refused)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        thin_scroll_bars(self._area, theme)

    def _on_analyzed(self, analysis: Analysis) -> None:
        self.list.setEnabled(True)
        self.list.show_analysis(analysis)

    def _on_progressed(self, task: Task) -> None:
        """Grey the figures out while they are those of the choice before."""
        self.list.setEnabled(not (self.parts.preview.busy and task.seconds > NOTICEABLE_S))

    def _on_failed(self, failed: Failed) -> None:
        self.list.setEnabled(True)
        self.list.show_analysis(None, failed.message)

    def _on_refused(self, failed: Failed) -> None:
        if self.parts.preview.checkpoint is None:
            self._on_failed(failed)
