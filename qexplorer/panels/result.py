"""Result: what one run found, layer by layer or epoch by epoch; while a run trains, its curves as they grow."""

import dataclasses
import time
from typing import ClassVar

from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedLayout, QWidget

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.simulated_job import SimulatedJob
from qexplorer.engine.runs.history import Run
from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.findings import (
    Figures,
    curves_of,
    figures_of,
    front_of,
    live_curves,
    remark_of,
    repairs_of,
    rows_with_figures,
    x_title,
)
from qexplorer.panels.titles import job_title, row_title
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
SHARED = ("model", "data", "weights", "weight_spec", "activation_spec")
"""What a job takes over from a repair preview, where the next job simulates no weights that could be repaired."""
NOTHING = ("No result yet", "Run a job: what it finds of each layer, or its curves while it trains, appears here.")
POLL_S = 0.5
"""The points of a run under way are read this often."""


@panels.register
class ResultPanel(Panel):
    """Bars of layers, curves, or a front with its slider, whatever the run has."""

    name: ClassVar[str] = "result"
    title: ClassVar[str] = "Result"
    order: ClassVar[int] = 27
    place: ClassVar[Place] = Place(11, "distribution", tabbed=True)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._asked = 0.0
        self._figures: Figures = {}
        self._overrides: list[str] = []
        self._empty = Placeholder(*NOTHING)
        self.bars, self.curves, self.front = RankedBars(), CurvesPlot(), FrontPlot()
        content = QWidget()
        self._stack = QStackedLayout(content)
        for widget in (self._empty, self.bars, self.curves, self.front):
            self._stack.addWidget(widget)
        content.setContentsMargins(8, 0, 8, 4)
        self._head, self._subject = QWidget(), subject()
        self.body.addWidget(self._head)
        self.body.addWidget(content, 1)
        self._remark = caption("")
        self._remark.setContentsMargins(12, 0, 12, 4)
        self._remark.setWordWrap(True)
        self.body.addWidget(self._remark)
        self._which = Combo()
        self._which.setAccessibleName("Figure shown")
        self._which.setToolTip("Which figure of the layers is shown")
        self._which.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._which.setMinimumContentsLength(10)
        self._which.activated.connect(self._show_bars)
        self._adopt = self._button("Use these bits", "Put these widths into the overrides of the job Weight only")
        self._adopt.clicked.connect(self._on_adopt)
        self._mend = self._button("Use this repair", "Put the selected repair into the Repairs of the next job")
        self._mend.clicked.connect(self._on_mend)
        row = QHBoxLayout(self._head)
        row.setContentsMargins(12, 0, 12, 0)
        row.addWidget(self._subject, 1)
        for control in (self._which, self._adopt, self._mend):
            row.addWidget(control)
        self.bars.selectionModel().selectionChanged.connect(self._on_selected)
        self.bars.chosen.connect(self._on_layer)
        parts.runs.changed.connect(self.reload)
        parts.runs.history_changed.connect(self.reload)
        parts.runs.grew.connect(self._show_live)
        parts.jobs.progressed.connect(self._on_progressed)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)
        self.reload()

    def _button(self, text: str, tip: str) -> Button:
        button = Button(text)
        button.setObjectName(f"use_{text.rsplit(maxsplit=1)[-1]}")
        button.setAccessibleName(text)
        button.setToolTip(tip)
        return button

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        for widget in (self.bars, self.curves, self.front):
            widget.show_theme(theme)

    def reload(self) -> None:
        """Show the chosen run, or the one under way if it has curves."""
        if not (self.parts.runs.running and self._show_live()):
            self._show(self.parts.runs.run, self.parts.runs.result)

    def _show(self, run: Run | None, result: RunResult | None) -> None:
        row = _row(result, self.parts.runs.lines[0][1] if self.parts.runs.lines else "")
        front = None if result is None else front_of(result)
        curves = () if result is None else curves_of(result)
        self._figures = {} if result is None or row is None else figures_of(result, row.name)
        self._which.clear()
        self._which.addItems(list(self._figures))
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
            self._empty.show_text(*(NOTHING if run is None else _nothing(run, result, row)))
            self._stack.setCurrentWidget(self._empty)
        bars = self._stack.currentWidget() is self.bars
        self._show_head(_title(run, result, row))
        self._adopt.setVisible(front is not None)
        self._which.setVisible(bars and len(self._figures) > 1)
        self._mend.setVisible(bars and result is not None and bool(repairs_of(result)))

    def _show_head(self, title: str) -> None:
        """Say what is shown; the controls beside it are those of what was shown last."""
        self._subject.setText(title)
        self._head.setVisible(bool(title))

    def _show_bars(self) -> None:
        figure, result = self._figures[self._which.currentText()], self.parts.runs.result
        what = "Repair" if result is not None and repairs_of(result) else "Layer"
        self.bars.show_bars(figure.bars, figure.unit, figure.title, low_is_worst=figure.low_is_worst, what=what)
        self._stack.setCurrentWidget(self.bars)
        self._on_selected()

    def _show_live(self) -> bool:
        """Whether the run under way has points to show."""
        points = self.parts.runs.points
        curves = live_curves(points)
        if curves:
            self._show_head("running …")
            for control in (self._which, self._adopt, self._mend):
                control.hide()
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
        self.parts.store.update(job=jobs["weight-only"](**settings))
        self._say("The next job is Weight only, with these widths as its overrides: press Run in Jobs.")

    def _on_selected(self) -> None:
        self._mend.setEnabled(bool(self.bars.selected))

    def _on_mend(self) -> None:
        """Make the selected repair that of the next job, or of Weight only where that simulates no weights."""
        result, job = self.parts.runs.result, self.parts.store.state.job
        chosen = repairs_of(result).get(self.bars.selected) if result is not None else None
        if result is None or chosen is None:
            return
        try:
            if not isinstance(job, SimulatedJob) or job.recipe().every.weights is None:
                job = jobs["weight-only"](**{name: result.spec[name] for name in SHARED})
            self.parts.store.update(job=dataclasses.replace(job, repairs=chosen))  # pyright: ignore[reportCallIssue]
        except UserError as error:
            self.banner.show_message(str(error))
            return
        self._say(f"The next job, {job.title}, repairs with {chosen}: press Run in Jobs.")

    def _say(self, text: str) -> None:
        """Tell what a button has done."""
        self.banner.clear()
        self._remark.setText(text)
        self._remark.show()


def _row(result: RunResult | None, chosen: str) -> Row | None:
    """The row whose figures are shown: the chosen one, or else the last that has any."""
    if result is None:
        return None
    own = rows_with_figures(result)
    name = (chosen or own[-1]) if own else ""
    return next((row for row in result.rows if row.name == name), result.rows[-1])


def _title(run: Run | None, result: RunResult | None, row: Row | None) -> str:
    """What is shown: the job, its row, and the model; of a repair preview the layer that was tried."""
    if run is None or result is None:
        return "" if run is None else job_title(run.job)
    job = job_title(result.job)
    if repairs_of(result):
        job = f"{job} of {result.spec['layer']}"
    elif row is not None and row != result.rows[0]:
        job = f"{job} · {row_title(result, row)}"
    return f"{job} · {result.model['name']}"


def _nothing(run: Run, result: RunResult | None, row: Row | None) -> tuple[str, str]:
    """Why there is nothing to see of a run, in a title and a sentence."""
    job = job_title(run.job)
    if result is None or row is None:
        why = "Its result cannot be read." if run.status == "done" else "Resume in Runs goes on with it."
        return f"{job}: {run.status}", run.error or why
    titles = [row_title(result, each) for each in result.rows if each.name in rows_with_figures(result)]
    if titles and row.name not in rows_with_figures(result):
        return f"{row_title(result, row)} has no figures of layers", f"In Runs, select {' or '.join(titles)}."
    if not result.rows[1:]:
        return f"{job} is done", f"{job} measures only the float model; its figures are in Runs."
    return f"{job} has no figures of layers", "Its rows are in Runs."
