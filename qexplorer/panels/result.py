"""Result: what one run found, layer by layer or epoch by epoch; while a run trains, its curves as they grow."""

import time
from typing import ClassVar

from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedLayout, QWidget

from qexplorer.engine.jobs import jobs
from qexplorer.engine.results import RunResult
from qexplorer.panels import Panel, Parts, Place, register
from qexplorer.panels.findings import Figures, curves_of, figures_of, front_of, live_curves, remark_of, x_title
from qexplorer.state.runner import Task
from qexplorer.widgets.controls import Button, Combo, caption
from qexplorer.widgets.curves_plot import CurvesPlot
from qexplorer.widgets.elided import subject
from qexplorer.widgets.front_plot import FrontPlot
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.ranked_bars import RankedBars
from qexplorer.widgets.theme import Theme

ADOPTED = ("model", "data", "weights", "weight_spec", "activation_spec", "repairs")
"""What a job takes over from a bit budget, beside the widths."""
POLL_S = 0.5
"""The points of a run under way are read this often."""


@register
class ResultPanel(Panel):
    """Bars of layers, curves, or a front with its slider, whatever the run has."""

    name: ClassVar[str] = "result"
    title: ClassVar[str] = "Result"
    order: ClassVar[int] = 26
    place: ClassVar[Place] = Place(9, "distribution", tabbed=True)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._asked = 0.0
        self._figures: Figures = {}
        self._overrides: list[str] = []
        self._empty = Placeholder(
            "No result yet", "Run a job: what it finds of each layer, or its curves while it trains, appears here."
        )
        self.bars, self.curves, self.front = RankedBars(), CurvesPlot(), FrontPlot()
        content = QWidget()
        self._stack = QStackedLayout(content)
        for widget in (self._empty, self.bars, self.curves, self.front):
            self._stack.addWidget(widget)
        content.setContentsMargins(8, 0, 8, 4)
        self.body.addWidget(content, 1)
        self._remark = caption("")
        self._remark.setContentsMargins(12, 0, 12, 4)
        self._remark.setWordWrap(True)
        self.body.addWidget(self._remark)
        self._subject = subject()
        self._which = Combo()
        self._which.setAccessibleName("Figure shown")
        self._which.setToolTip("Which figure of the layers is shown")
        self._which.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._which.setMinimumContentsLength(10)
        self._which.activated.connect(self._show_bars)
        self._adopt = Button("Use these bits")
        self._adopt.setObjectName("use_bits")
        self._adopt.setAccessibleName("Use these bits")
        self._adopt.setToolTip("Put these widths into the overrides of the job Weight only")
        self._adopt.clicked.connect(self._on_adopt)
        self.bars.chosen.connect(self._on_layer)
        parts.runs.changed.connect(self.reload)
        parts.runs.history_changed.connect(self.reload)
        parts.runs.grew.connect(self._show_live)
        parts.jobs.progressed.connect(self._on_progressed)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)
        self.reload()

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addWidget(self._subject, 1)
        row.addWidget(self._which)
        row.addWidget(self._adopt)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        for widget in (self.bars, self.curves, self.front):
            widget.show_theme(theme)

    def reload(self) -> None:
        """Show the chosen run, or the one under way if it has curves."""
        if not (self.parts.runs.running and self._show_live()):
            self._show(self.parts.runs.result)

    def _show(self, result: RunResult | None) -> None:
        title = "" if result is None else next((j.title for j in jobs if j.name == result.job), result.job)
        self._subject.setText("" if result is None else f"{title} · {result.model['name']}")
        front = None if result is None else front_of(result)
        curves = () if result is None else curves_of(result)
        self._figures = {} if result is None else figures_of(result)
        self._which.clear()
        self._which.addItems(list(self._figures))
        self._show_controls(adopt=front is not None, which=len(self._figures) > 1 and not (front or curves))
        self._remark.setText("" if result is None else remark_of(result))
        self._remark.setVisible(bool(self._remark.text()))
        if front is not None:
            points, chosen, self._overrides = front
            self.front.show_front(points, chosen)
            self._stack.setCurrentWidget(self.front)
        elif curves:
            self.curves.show_curves(curves, x_title(result.history if result is not None else ()))
            self._stack.setCurrentWidget(self.curves)
        elif self._figures:
            self._show_bars()
        else:
            self._stack.setCurrentWidget(self._empty)

    def _show_controls(self, *, adopt: bool = False, which: bool = False) -> None:
        """Show one of the controls in the title, or none: never both, for which the dock would have to be wider."""
        for control, shown in sorted(((self._adopt, adopt), (self._which, which)), key=lambda each: each[1]):
            control.setVisible(shown)

    def _show_bars(self) -> None:
        figure = self._figures[self._which.currentText()]
        self.bars.show_bars(figure.bars, figure.unit, figure.title, low_is_worst=figure.low_is_worst)
        self._stack.setCurrentWidget(self.bars)

    def _show_live(self) -> bool:
        """Whether the run under way has points to show."""
        points = self.parts.runs.points
        curves = live_curves(points)
        if curves:
            self._subject.setText("running …")
            self._show_controls()
            self._remark.setVisible(False)
            self.curves.show_curves(curves, x_title(points))
            self._stack.setCurrentWidget(self.curves)
        return bool(curves)

    def _on_progressed(self, task: Task) -> None:
        del task
        now = time.monotonic()
        if self.parts.runs.running and now - self._asked >= POLL_S:
            self._asked = now
            self.parts.runs.reload_points()

    def _on_layer(self, layer: str) -> None:
        """Select the layer's weights, where they are in the open file."""
        checkpoint = self.parts.preview.checkpoint
        if checkpoint is not None and f"{layer}.weight" in checkpoint.by_name:
            self.parts.store.update(tensor=f"{layer}.weight")

    def _on_adopt(self) -> None:
        """Make the widths of the marked point the settings of a job."""
        result = self.parts.runs.result
        if result is None or not self._overrides:
            return
        settings = {name: result.spec[name] for name in ADOPTED}
        settings["overrides"] = self._overrides[self.front.slider.value()]
        job = jobs["weight-only"](**settings)
        self.parts.store.update(job=job)
