"""Metrics: the figures of the tensor under the scheme."""

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from qexplorer.panels import Panel, Parts, Place, register
from qexplorer.state.runner import Failed
from qexplorer.widgets.metrics_list import MetricsList


@register
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
        parts.preview.analyzed.connect(self.list.show_analysis)
        parts.preview.failed.connect(self._on_failed)
        parts.preview.refused.connect(self._on_refused)

    def _on_failed(self, failed: Failed) -> None:
        del failed
        self.list.show_analysis(None)

    def _on_refused(self, failed: Failed) -> None:
        if self.parts.preview.checkpoint is None:
            self._on_failed(failed)
