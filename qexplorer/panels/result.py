"""Result: what one run found, layer by layer or epoch by epoch; while a run trains, its curves as they grow."""

import time
from typing import ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedLayout, QWidget

from qexplorer.engine.jobs import present
from qexplorer.engine.jobs.presentation import Presentation, curves_of
from qexplorer.engine.jobs.simulated_job import with_recipe
from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.titles import job_title, row_title
from qexplorer.presentation import Ranking
from qexplorer.state.runner import Task
from qexplorer.widgets.controls import Button, Combo, caption
from qexplorer.widgets.curves_plot import CurvesPlot
from qexplorer.widgets.elided import subject
from qexplorer.widgets.front_plot import FrontPlot
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.ranked_bars import RankedBars
from qexplorer.widgets.theme import Theme

NOTHING = ("No result yet", "Run a job: what it finds of each layer, or its curves while it trains, appears here.")
POLL_S = 0.5
"""The points of a run under way are read this often."""


@panels.register
class ResultPanel(Panel):
    """Bars of layers, curves, or a front with its slider, whatever the run has."""

    name: ClassVar[str] = "result"
    title: ClassVar[str] = "Result"
    order: ClassVar[int] = 27
    places: ClassVar[tuple[Place, ...]] = (Place("quantize", 1, "jobs", across=True, width=44, height=24),)

    job_made = Signal(object)  # Job: the next one

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._asked = 0.0
        self._shown = Presentation()
        self._rankings: tuple[Ranking, ...] = ()
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
        self._use = Button("")
        self._use.setAccessibleName("Use in the next job")
        self._use.setToolTip("Put what is selected here into the settings of the next job")
        self._use.clicked.connect(self._on_use)
        row = QHBoxLayout(self._head)
        row.setContentsMargins(12, 0, 12, 0)
        row.addWidget(self._subject, 1)
        for control in (self._which, self._use):
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

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        for widget in (self.bars, self.curves, self.front):
            widget.show_theme(theme)

    def reload(self) -> None:
        """Show the chosen run, or the one under way if it has curves."""
        if not (self.parts.runs.running and self._show_live()):
            self._show(self.parts.runs.run, self.parts.runs.result)

    def _show(self, run: Run | None, result: RunResult | None) -> None:
        shown = self._shown = Presentation() if result is None else present(result)
        row = _row(result, shown, self.parts.runs.lines[0][1] if self.parts.runs.lines else "")
        self._rankings = () if row is None else shown.rankings_of(row.name)
        self._which.clear()
        self._which.addItems([ranking.name for ranking in self._rankings])
        self._remark.setText(" ".join(shown.remarks))
        self._remark.setVisible(bool(self._remark.text()))
        if shown.front:
            self.front.show_front(shown.front, shown.chosen)
            self._stack.setCurrentWidget(self.front)
        elif shown.curves.curves:
            self.curves.show_curves(shown.curves.curves, shown.curves.x_title)
            self._stack.setCurrentWidget(self.curves)
        elif self._rankings:
            self._show_bars()
        else:
            self._empty.show_text(*(NOTHING if run is None else _nothing(run, result, shown, row)))
            self._stack.setCurrentWidget(self._empty)
        bars = self._stack.currentWidget() is self.bars
        self._show_head(_title(run, result, shown, row))
        self._which.setVisible(bars and len(self._rankings) > 1)
        self._show_follow_up(visible=bars or bool(shown.front))

    def _show_head(self, title: str) -> None:
        """Say what is shown; the controls beside it are those of what was shown last."""
        self._subject.setText(title)
        self._head.setVisible(bool(title))

    def _show_follow_up(self, *, visible: bool) -> None:
        """The button for what the result lends to the next job."""
        use = self._shown.follow_up
        self._use.setVisible(visible and use is not None)
        if use is not None:
            self._use.setObjectName(use.name)
            self._use.setText(use.title)
            self._use.setAccessibleName(use.title)
            self._use.setToolTip(use.help)
            self._on_selected()

    def _show_bars(self) -> None:
        shown = self._rankings[max(self._which.currentIndex(), 0)]
        worst = shown.low_is_worst
        self.bars.show_bars(shown.bars, shown.unit, shown.title, low_is_worst=worst, what=self._shown.what)
        self._stack.setCurrentWidget(self.bars)
        self._on_selected()

    def _show_live(self) -> bool:
        """Whether the run under way has points to show."""
        live = curves_of(self.parts.runs.points)
        if live.curves:
            self._show_head("running …")
            for control in (self._which, self._use, self._remark):
                control.hide()
            self.curves.show_curves(live.curves, live.x_title)
            self._stack.setCurrentWidget(self.curves)
        return bool(live.curves)

    def _on_progressed(self, task: Task) -> None:
        del task
        now = time.monotonic()
        if self.parts.runs.running and now - self._asked >= POLL_S:
            self._asked = now
            self.parts.runs.reload_points()

    def _on_layer(self, layer: str) -> None:
        """Show the layer's weights, where they are in the open file."""
        checkpoint = self.parts.preview.checkpoint
        if checkpoint is not None and f"{layer}.weight" in checkpoint.by_name:
            self.parts.store.update(tensor=f"{layer}.weight")
            self.parts.store.go_to("explore")

    def _on_selected(self) -> None:
        self._use.setEnabled(bool(self._shown.front or self.bars.selected))

    def _on_use(self) -> None:
        """Take what is selected into the next job."""
        use, chosen = self._shown.follow_up, self.front.slider.value() if self._shown.front else self.bars.selected
        if use is None:
            return
        try:
            state = self.parts.store.state
            job = use.make(chosen, with_recipe(state.job, state.recipe))
        except UserError as error:
            self.banner.show_message(str(error))
            return
        if job is not None:
            self.job_made.emit(job)
            self._say(f"The next job is {job.title}, {use.said}: press Run in Jobs.")

    def _say(self, text: str) -> None:
        """Tell what a button has done."""
        self.banner.clear()
        self._remark.setText(text)
        self._remark.show()


def _row(result: RunResult | None, shown: Presentation, chosen: str) -> Row | None:
    """The row whose figures are shown: the chosen one, or else the last that has any."""
    if result is None:
        return None
    own = shown.rows
    name = (chosen or own[-1]) if own else ""
    return next((row for row in result.rows if row.name == name), result.rows[-1])


def _title(run: Run | None, result: RunResult | None, shown: Presentation, row: Row | None) -> str:
    """What is shown: the job, its row, and the model."""
    if run is None or result is None:
        return "" if run is None else job_title(run.job)
    own = row_title(result, row) if row is not None and row != result.rows[0] else ""
    what = shown.title or " · ".join(filter(None, (job_title(result.job), own)))
    return f"{what} · {result.model.name}"


def _nothing(run: Run, result: RunResult | None, shown: Presentation, row: Row | None) -> tuple[str, str]:
    """Why there is nothing to see of a run, in a title and a sentence."""
    job = job_title(run.job)
    if result is None or row is None:
        why = "Its result cannot be read." if run.status == "done" else "Resume in Runs goes on with it."
        return f"{job}: {run.status}", run.error or why
    titles = [row_title(result, each) for each in result.rows if each.name in shown.rows]
    if titles and row.name not in shown.rows:
        return f"{row_title(result, row)} has no figures of layers", f"In Runs, select {' or '.join(titles)}."
    if not result.rows[1:]:
        return f"{job} is done", f"{job} measures only the float model; its figures are in Runs."
    return f"{job} has no figures of layers", "Its rows are in Runs."
