"""Learn: the selected tensor in small, and where the window shows what a number format does to it."""

from functools import partial
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from qexplorer.numbers import count, decibels, figure
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.quant import Analysis
from qexplorer.state.runner import Failed
from qexplorer.text import printable
from qexplorer.widgets.controls import LinkButton, caption
from qexplorer.widgets.distribution_plot import DistributionPlot
from qexplorer.widgets.tensor_head import TensorHead
from qexplorer.widgets.theme import Theme, scaled
from qexplorer.widgets.views import thin_scroll_bars

LESSONS = {
    "distribution": (
        "A grid on real values",
        "Drag the red clip limits: narrow ones make fine steps and cut more off.",
    ),
    "error": (
        "Rounding or clipping?",
        "Between −S/2 and +S/2 errors are rounding, beyond are clipped values.",
    ),
    "formats": ("What a bit buys", "Every number format at its true bits per weight, beside the lines of theory."),
    "observers": ("Where to clip", "The range that each observer finds in the same values, and what it costs."),
    "layers": ("Which layers suffer", "The whole file under one spec, the tensor with most of the error first."),
    "advice": ("What would help", "Remedies for this tensor, each with the SQNR that it was measured to give."),
}
"""What is to be seen in which panel: a title, and a sentence."""
MADE_UP = (
    "Values that you know",
    "synthetic:normal",
    "Open 20,000 normally distributed values instead of a file.",
)


@panels.register
class LearnPanel(Panel):
    """A small picture beside a list of what to look at."""

    name: ClassVar[str] = "learn"
    title: ClassVar[str] = "Learn"
    order: ClassVar[int] = 90
    places: ClassVar[tuple[Place, ...]] = (Place("learn", 0, width=40, height=30),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.head, self.plot = TensorHead(), DistributionPlot()
        self._spec = caption("")
        self._spec.setContentsMargins(12, 4, 12, 0)
        self._spec.setWordWrap(True)
        self._seen = False
        picture, columns = QVBoxLayout(), QHBoxLayout()
        self.plot.setMaximumHeight(18 * self.fontMetrics().height())
        picture.addWidget(self.head)
        picture.addWidget(self.plot, 1)
        picture.addWidget(self._spec)
        picture.addStretch()
        columns.addLayout(picture, 2)
        columns.addWidget(self._lessons(), 3)
        columns.setContentsMargins(0, 0, 0, 8)
        self.body.addLayout(columns, 1)
        self.plot.menu.failed.connect(self.banner.show_message)
        parts.preview.analyzed.connect(self._show)
        parts.preview.failed.connect(self._on_failed)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)

    def _lessons(self) -> QScrollArea:
        area, content = QScrollArea(), QWidget()
        grid = QGridLayout(content)
        grid.setContentsMargins(12, 4, 16, 8)
        grid.setVerticalSpacing(2)
        for panel, (title, text) in LESSONS.items():
            self._add(grid, title, text, f"Show {panel.capitalize()}", partial(self.panel_asked.emit, panel))
        title, path, text = MADE_UP
        self._add(grid, title, text, "Open the values", partial(self.parts.preview.open, path))
        grid.setRowStretch(grid.rowCount(), 1)
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.viewport().setAutoFillBackground(False)
        content.setAutoFillBackground(False)
        self._area = area
        return area

    def _add(self, grid: QGridLayout, title: str, text: str, tip: str, slot: "partial[object]") -> None:
        link, about = LinkButton(title), caption(text)
        link.setFont(scaled(1.0, bold=True))
        link.setAccessibleName(f"{title}: {tip}")
        link.setToolTip(tip)
        link.clicked.connect(slot)
        about.setWordWrap(True)
        about.setContentsMargins(4, 0, 0, 10)  # in line with the link
        for widget in (link, about):
            at = Qt.AlignmentFlag.AlignLeft if widget is link else Qt.AlignmentFlag(0)
            grid.addWidget(widget, grid.rowCount(), 0, at)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.head.show_theme(theme)
        self.plot.show_theme(theme)
        thin_scroll_bars(self._area, theme)

    def show_in_sight(self, in_sight: bool) -> None:
        self._seen = in_sight
        if in_sight and self.parts.preview.analysis is not None:
            self._show(self.parts.preview.analysis)

    def _show(self, analysis: Analysis) -> None:
        if not self._seen:
            return
        state = self.parts.store.state
        self.banner.clear()
        self.head.show_text(printable(state.tensor), "")
        self.head.show_coverage(analysis.coverage, analysis.coverage_n)
        self.plot.show_analysis(analysis, (state.path, state.tensor))
        self.plot.menu.subject = self.subject_text
        scale = analysis.params.scale
        step = f" · S = {figure(float(scale.flat[0]), 4)}" if scale.size == 1 else f" · {count(scale.size)} scales"
        self._spec.setText(f"{analysis.spec.title}{step} · {decibels(analysis.metrics.sqnr_db)} dB SQNR")

    def _on_failed(self, failed: Failed) -> None:
        self.plot.show_analysis(None)
        self.head.show_text(printable(self.parts.store.state.tensor), "")
        self._spec.setText(failed.message)
