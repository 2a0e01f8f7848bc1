"""Runs: the results of every run, newest first."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import QPoint, Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QInputDialog, QMenu, QMessageBox, QStackedLayout, QWidget

from qexplorer.engine.jobs.record import job_of
from qexplorer.engine.jobs.report import export
from qexplorer.engine.jobs.simulated_job import recipe_in
from qexplorer.engine.jobs.starts import origin
from qexplorer.engine.runs.history import RESUMABLE
from qexplorer.engine.runs.run import DAMAGED, Run
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.run_columns import Line, run_title, runs_table
from qexplorer.quant.recipe import Recipe
from qexplorer.settings import values_of
from qexplorer.state.chosen_runs import SHOWN, Known
from qexplorer.state.runner import Done, Failed, Task
from qexplorer.widgets.controls import LinkButton
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.save_dialog import ask_where


@panels.register
class RunsPanel(Panel):
    """The result table over the run history, and what can be done with a run."""

    name: ClassVar[str] = "runs"
    title: ClassVar[str] = "Runs"
    order: ClassVar[int] = 70
    places: ClassVar[tuple[Place, ...]] = (Place("quantize", 3, "result", height=16, folds=True, yields=3),)
    resume_asked = Signal(str)
    train_asked = Signal(str)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.table = runs_table()
        self._empty = Placeholder(
            "No runs yet",
            "Press Run: the float model is measured and converted, and the results appear here side by side.",
        )
        self.resume = self._button("Resume …", "Continue a run that was interrupted, cancelled or failed")
        self.use = self._button("Use recipe", "Make the recipe of the selected run the recipe of the window")
        self.train = self._button("Train on", "Make QAT from the selected PTQ run the next job")
        self.note = self._button("Note …", "Keep a note about the selected run")
        self.export = self._button("Export …", "Write the selected runs, or all, as HTML or CSV")
        self.delete = self._button("Delete …", "Remove the selected runs with their files")
        self.resume.clicked.connect(self._on_resume)
        self.use.clicked.connect(self._on_use)
        self.train.clicked.connect(self._on_train)
        self.note.clicked.connect(self._on_note)
        self.export.clicked.connect(self._on_export)
        self.delete.clicked.connect(self._on_delete)
        self._unfinished: list[Run] = []
        content = QWidget()
        self._stack = QStackedLayout(content)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self.table)
        content.setContentsMargins(8, 0, 8, 0)
        self.body.addWidget(content, 1)
        self.table.lines_selected.connect(self._on_chosen)
        parts.jobs.ended.connect(self._on_ended)
        parts.runs.history_changed.connect(self.reload)
        parts.runs.changed.connect(self._show_chosen)
        parts.runs.done.connect(self._on_done)
        parts.themes.changed.connect(self.table.show_theme)
        self.table.show_theme(parts.themes.current)
        self.reload()

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        for button in (self.resume, self.use, self.train, self.note, self.export, self.delete):
            row.addWidget(button)

    @Slot()
    def reload(self) -> None:
        """Show what is known of the history."""
        failed, known = self.parts.runs.failed, self.parts.runs.known
        if failed is not None:
            self.banner.show_message(failed.message, failed.details)
            return
        self._unfinished = [run for run in known.runs if run.status in RESUMABLE][:SHOWN]
        lines = [line for i, run in enumerate(known.runs) for line in self._lines(i, run, known)]
        self.table.lines.show_lines(lines)
        self._stack.setCurrentWidget(self.table if lines else self._empty)
        self._show_chosen()

    def _lines(self, number: int, run: Run, known: Known) -> Sequence[Line]:
        """The table's lines of a run; none of one that is under way, or too old to be shown."""
        result = known.results.get(run.run_id)
        if result is not None:
            return [Line(number, run, result, row) for row in result.rows]
        shown = run in self._unfinished or run.run_id in known.results or run.status == DAMAGED
        return [Line(number, run)] if shown else []

    def _show_chosen(self) -> None:
        """Select what is looked at, whoever chose it."""
        self.table.show_selected(self.parts.runs.lines)
        self._enable()

    def _button(self, text: str, tip: str) -> LinkButton:
        button = LinkButton(text)
        button.setToolTip(tip)
        button.setAccessibleName(f"{text.removesuffix(' …')} run")
        button.setObjectName(f"runs_{text.split(maxsplit=1)[0].lower()}")
        return button

    def _enable(self) -> None:
        self.resume.setEnabled(bool(self._unfinished))
        self.export.setEnabled(bool(self.table.lines.shown))
        for button in (self.note, self.delete):
            button.setEnabled(bool(self._chosen_ids()))
        chosen = self._chosen_ids()
        self.train.setEnabled(self._can_be_trained(chosen))
        self.use.setEnabled(len(chosen) == 1 and self._recipe(chosen[0]) is not None)

    def _can_be_trained(self, run_ids: list[str]) -> bool:
        """Whether the selection is one run that training can go on from."""
        try:
            return len(run_ids) == 1 and bool(origin(self._run(run_ids[0])))
        except UserError:
            return False

    def _recipe(self, run_id: str) -> Recipe | None:
        """The recipe that a run was started with; None where it had none, or another version wrote it."""
        try:
            job = job_of(self._run(run_id))
            return recipe_in(values_of(job)) if job.by_recipe else None
        except UserError:
            return None

    def _run(self, run_id: str) -> Run:
        return next(run for run in self.parts.runs.known.runs if run.run_id == run_id)

    def _chosen_ids(self) -> list[str]:
        return list(dict.fromkeys(line.run.run_id for line in self.table.selected_lines))

    def _on_chosen(self) -> None:
        self._enable()
        self.parts.runs.choose(tuple(line.key for line in self.table.selected_lines))

    def _on_ended(self, task: Task) -> None:
        del task
        self.parts.runs.reload()

    def _on_resume(self) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for run in self._unfinished:
            done = self.parts.runs.known.steps.get(run.run_id, 0)
            when = run.started[:16].replace("T", " ")
            action = menu.addAction(f"{run_title(run)}, {when}: {run.status}, {done} steps done")
            action.setData(run.run_id)
        menu.triggered.connect(lambda action: self.resume_asked.emit(action.data()))
        menu.popup(self.resume.mapToGlobal(QPoint(0, self.resume.height())))

    def _on_train(self) -> None:
        self.train_asked.emit(self._chosen_ids()[0])

    def _on_use(self) -> None:
        recipe = self._recipe(self._chosen_ids()[0])
        if recipe is not None:
            self.parts.store.update(recipe=recipe)

    def _on_note(self) -> None:
        run_id = self._chosen_ids()[0]
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Note")
        dialog.setLabelText(f"Note about {run_id}")
        dialog.setTextValue(self._run(run_id).notes)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.textValueSelected.connect(lambda text: self._annotate(run_id, text))
        dialog.open()

    def _on_export(self) -> None:
        ask_where(self, "Export runs", {"Report (*.html)": "html", "Table (*.csv)": "csv"}, self.write, "runs")

    def write(self, path: str) -> None:
        """Write the selected runs, or all, to a file."""
        ids, history = self._chosen_ids(), self.parts.history

        def work() -> str:
            return export([run for run in history.runs() if not ids or run.run_id in ids], Path(path))

        self.parts.runs.do(work, "Exporting runs")

    def _annotate(self, run_id: str, notes: str) -> None:
        self.parts.runs.do(lambda: self.parts.history.annotate(run_id, notes), "Saving the note")

    def _on_delete(self) -> None:
        ids = self._chosen_ids()
        what = (
            f"Delete {len(ids)} runs with their files?" if len(ids) > 1 else f"Delete the run {ids[0]} with its files?"
        )
        question = QMessageBox(QMessageBox.Icon.Question, "Delete runs", what, parent=self)
        question.addButton("Delete", QMessageBox.ButtonRole.AcceptRole)
        question.setDefaultButton(question.addButton("Keep", QMessageBox.ButtonRole.RejectRole))
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.accepted.connect(lambda: self._delete(ids))
        question.open()

    def _delete(self, run_ids: list[str]) -> None:
        history = self.parts.history

        def work() -> None:
            for run_id in run_ids:
                history.delete(run_id)

        self.parts.runs.do(work, "Deleting runs")

    def _on_done(self, task: Task) -> None:
        """What was asked for is done, or it says why not."""
        if isinstance(task.outcome, Failed):
            self.banner.show_message(task.outcome.message, task.outcome.details)
        elif isinstance(task.outcome, Done) and task.outcome.result:
            self.banner.show_message(str(task.outcome.result))  # what an export had to leave out
        else:
            self.banner.clear()
