"""Metrics: the figures of the tensor under the scheme."""

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.distribution import NOTICEABLE_S
from qexplorer.quant import Analysis
from qexplorer.state.runner import Failed, Task
from qexplorer.widgets.metrics_list import MetricsList


@panels.register
class MetricsPanel(Panel):
    """SQNR large, the rest below."""

    name: ClassVar[str] = "metrics"
    title: ClassVar[str] = "Metrics"
    order: ClassVar[int] = 50
    place: ClassVar[Place] = Place(5, "scheme")

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.list = MetricsList()
        self.body.addWidget(self.list)
        parts.preview.analyzed.connect(self._on_analyzed)
        parts.preview.progressed.connect(self._on_progressed)
        parts.preview.failed.connect(self._on_failed)
        parts.preview.refused.connect(self._on_refused)

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
