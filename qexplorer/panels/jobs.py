"""Jobs: what to run, what is running, and what went wrong."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.jobs.model_job import ModelJob
from qexplorer.engine.jobs.qat import Qat
from qexplorer.engine.jobs.record import job_of, recorded, resumed
from qexplorer.engine.jobs.simulated_job import recipe_in, with_recipe
from qexplorer.engine.jobs.starts import origin
from qexplorer.engine.models import Model
from qexplorer.engine.models.trust import Untrusted
from qexplorer.engine.models.weights_file import known_model, weights_only
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.layers import title_of
from qexplorer.panels.trust_question import ask_for_trust
from qexplorer.progress import Steps
from qexplorer.settings import schema, values_of
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Cancelled, Failed, Task
from qexplorer.state.subject import on_subject, remembered, subject_of
from qexplorer.text import printable
from qexplorer.weights import Checkpoint, is_synthetic
from qexplorer.widgets.controls import PAD, Button, Combo, field_title
from qexplorer.widgets.job_form import JobForm
from qexplorer.widgets.job_queue import JobQueue
from qexplorer.widgets.task_row import TaskRow

PROGRAM = ".pt2"
"""A file that is a model by itself."""
J = TypeVar("J", bound=Job)


@panels.register
class JobsPanel(Panel):
    """A job's settings with its Run button, and a row for each job on its way."""

    name: ClassVar[str] = "jobs"
    title: ClassVar[str] = "Jobs"
    order: ClassVar[int] = 60
    places: ClassVar[tuple[Place, ...]] = (Place("quantize", 0, width=22, height=25),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._kind = Combo()
        self._kind.setAccessibleName("Job")
        self._kind.setObjectName("job")
        self._kind.setToolTip("What to do with the model")
        for job in jobs:
            self._kind.addItem(job.title, job.name)
        widest = max(self._kind.fontMetrics().horizontalAdvance(job.title) for job in jobs)
        self._kind.setMinimumWidth(widest + 4 * PAD)
        self._kind.activated.connect(self._on_kind)
        self._forms = {job.name: JobForm(job(), job.by_recipe) for job in jobs}
        self.run_button = Button("R&un", primary=True)
        self.run_button.setObjectName("run")
        self.run_button.setAccessibleName("Run the job")
        self.queue = JobQueue()
        self._rows: dict[int, TaskRow] = {}
        self._known: tuple[Checkpoint, Model | None] | None = None
        self._submitted: dict[int, Job] = {}
        first = QVBoxLayout()
        first.setSpacing(1)
        first.addWidget(field_title("Job", self._kind))
        first.addWidget(self._kind)
        head = QHBoxLayout()
        head.setSpacing(10)
        head.addLayout(first, 1)
        head.addWidget(self.run_button, 0, Qt.AlignmentFlag.AlignBottom)
        column = QVBoxLayout()
        column.setContentsMargins(12, 0, 12, 8)
        column.setSpacing(8)
        column.addLayout(head)
        column.addWidget(self.queue)
        for form in self._forms.values():
            form.edited.connect(self._on_edited)
            form.offers_opening.connect(self._on_offers_opening)
            parts.themes.changed.connect(form.show_theme)
            form.show_theme(parts.themes.current)
            column.addWidget(form, 1)
        parts.themes.changed.connect(self.queue.show_theme)
        self.queue.show_theme(parts.themes.current)
        self.body.addLayout(column, 1)
        self.run_button.clicked.connect(self.start)
        parts.store.changed.connect(self._on_changed)
        parts.preview.opened.connect(self._on_opened)
        parts.jobs.started.connect(self._on_started)
        parts.jobs.progressed.connect(self._on_progressed)
        parts.jobs.ended.connect(self._on_ended)
        self._show_job(parts.store.state.job)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        task = self.parts.jobs.current
        if event.key() == Qt.Key.Key_Escape and task is not None and task.number in self._rows:
            self.parts.jobs.cancel(task)
        else:
            super().keyPressEvent(event)

    def start(self) -> None:
        """Queue the job as it is set now; later edits cannot reach it."""
        self.banner.clear()
        if not self.form.commit():
            return
        try:
            job = self._ready(self.parts.store.state.job)
        except UserError as error:
            self._refuse(self.parts.store.state.job, error)
            return
        self._start(job)
        state = self.parts.store.state
        self.parts.store.replace_silently({"subjects": remembered(state.job, state.path, state.subjects)})

    def _ready(self, job: Job) -> Job:
        """The job under the recipe and on the open file. Raises `UserError` where these do not go together."""
        state = self.parts.store.state
        ready = on_subject(with_recipe(job, state.recipe), subject_of(state.path, state.subjects))
        there = isinstance(ready, ModelJob) and ready.model == state.path and not state.path.endswith(PROGRAM)
        if there and self.parts.preview.checkpoint is not None and self._model_of_file is None:
            raise weights_only(Path(state.path))
        return ready

    def take(self, job: Job) -> None:
        """Make a job the next one, and the recipe that is in its settings the recipe; it is not started."""
        recipe = recipe_in(values_of(job)) if job.by_recipe and not job.taken else None
        self.parts.store.update(job=job, recipe=recipe or self.parts.store.state.recipe)

    def try_on_a_layer(self, trial: str) -> None:
        """Queue the job that shows on one layer what the job as it is set now would do to all."""
        self.banner.clear()
        state, cls = self.parts.store.state, jobs[trial]
        own = values_of(state.job)
        shared = {each.name: own[each.name] for each in schema(cls) if each.name in own}
        try:
            self._start(self._ready(cls(**shared)))
        except UserError as error:
            self.banner.show_message(str(error))

    def _start(self, job: Job) -> None:
        if self._allowed(job, partial(self._start, job)):
            run_id = self.parts.history.new_id(job.name)
            self._submit(recorded(job, self.parts.history, run_id), job, run_id)

    def resume(self, run_id: str) -> None:
        """Go on with a run, with the settings that it was started with."""
        self.banner.clear()
        try:
            job = job_of(self.parts.history.get(run_id))
        except UserError as error:
            self.banner.show_message(str(error))
            return
        if self._allowed(job, partial(self.resume, run_id)):
            self._submit(resumed(run_id, self.parts.history), job, run_id)

    def _allowed(self, job: Job, again: Callable[[], None]) -> bool:
        """Whether it can begin; else the reason stands beside the settings, or the person is asked for trust, and it is
        tried `again` where that is given.
        """
        try:
            job.check()
        except Untrusted as question:
            ask_for_trust(self, question, again, refused=self.form.show_refusal)
            return False
        except UserError as error:
            self._refuse(job, error)
            return False
        return True

    def _refuse(self, job: Job, error: UserError) -> None:
        """Say beside the settings why the job cannot be had, or above them where they are not those of that job."""
        there = error.field in self.form.controls or not error.field
        if there and (job == self.form.job or self._has_fault(job, error)):
            self.form.show_refusal(error)
        else:
            self.banner.show_message(str(error))

    def _has_fault(self, job: Job, error: UserError) -> bool:
        """Whether the setting that is at fault in a job stands in the form as well."""
        return hasattr(job, error.field) and getattr(self.form.job, error.field, None) == getattr(job, error.field)

    def _submit(self, steps: Steps[RunResult], job: Job, run_id: str) -> None:
        task = self.parts.jobs.submit(steps, job.title, run_id)
        row = TaskRow(task.number, job.title)
        row.cancel_pressed.connect(self._on_cancel)
        self._rows[task.number], self._submitted[task.number] = row, job
        self.queue.add(row)

    def train_on(self, run_id: str) -> None:
        """Make training from a run the next job; it is not started."""
        self.banner.clear()
        try:
            own = origin(self.parts.history.get(run_id))
            job = dataclasses.replace(with_settings_of(Qat, own), start=run_id)
            self.parts.store.update(job=self._settled(job), recipe=own.recipe())
        except UserError as error:
            self.banner.show_message(str(error))

    def _on_edited(self, job: Job) -> None:
        try:
            self.parts.store.update(job=self._settled(job))
        except UserError as error:
            self.form.show_refusal(error)

    def _settled(self, job: Job) -> Job:
        """The job with what an earlier run decides, whatever stood there before."""
        if not job.taken:
            return job
        plain = {each.name: each.default for each in schema(type(job)) if each.name in job.taken}
        return dataclasses.replace(job, **plain).settled(self.parts.history)

    def _on_offers_opening(self, name: str) -> None:
        """What a setting may be by the run history is offered as well."""
        job = self.parts.store.state.job
        try:
            lines = job.offered(name, self.parts.history)
        except UserError as error:
            self.banner.show_message(str(error))
            return
        if lines is not None:
            own = next(each.offers for each in schema(type(job)) if each.name == name)
            self.form.show_offers(name, (*own, *lines), lines)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.path != old.path and new.job == old.job:
            self._turn_to(new)
        if new.job != old.job:
            self._show_job(new.job)
        elif new.recipe != old.recipe:
            self._show_hint()

    def _turn_to(self, state: AppState) -> None:
        """What has been opened is what jobs are on now, with the data that were chosen for it."""
        job, known = state.job, subject_of(state.path, state.subjects)
        if isinstance(job, ModelJob):
            job = dataclasses.replace(job, model="", weights="", data=known.data or job.data)
            self.parts.store.replace_silently({"job": job})

    def _show_job(self, job: Job) -> None:
        self._kind.setCurrentIndex(self._kind.findData(job.name))
        for name, form in self._forms.items():
            if name != job.name:
                form.hide()
        self.form.show()  # last: two at once would widen the window
        self.form.show_job(job)
        self.form.show_fixed(job.taken, f"As in the run that is started from, {job.taken_from}")
        self.run_button.setToolTip(f"{job.title}: {job.help} (F5)")
        self._show_hint()

    def _show_hint(self) -> None:
        """Say what runs that has no row here, and what Run would do."""
        job = self.parts.store.state.job
        busy = "A study is running: see Study." if self.parts.jobs.tasks else "Nothing is running."
        recipe = f" Recipe: {title_of(self.parts.store.state.recipe)}." if "weight_spec" in job.by_recipe else ""
        self.queue.hint.setText(f"{busy} Run (F5): {job.help}.{self._subject_text(job)}{recipe}")

    def _subject_text(self, job: Job) -> str:
        """Which model is in the open file, where the job is on that."""
        checkpoint, state = self.parts.preview.checkpoint, self.parts.store.state
        if not isinstance(job, ModelJob) or job.model or checkpoint is None:
            return ""
        own = subject_of(state.path, state.subjects).model
        if own or state.path.endswith(PROGRAM):
            return f" Model: {printable(own or checkpoint.path.name)}."
        known = self._model_of_file
        return f" Model: {known.title}, known by its tensors." if known else " The open file is weights only."

    @property
    def _model_of_file(self) -> Model | None:
        """The model that has the tensors of the open file."""
        checkpoint = self.parts.preview.checkpoint
        if checkpoint is None:
            return None
        if self._known is None or self._known[0] is not checkpoint:
            self._known = (checkpoint, known_model(checkpoint))
        return self._known[1]

    def _on_opened(self, checkpoint: Checkpoint) -> None:
        for form in self._forms.values():
            form.show_offers("weights", ("", *([] if is_synthetic(checkpoint.path) else [str(checkpoint.path)])))
        self._show_hint()

    @property
    def form(self) -> JobForm:
        """The form of the job that is chosen."""
        return self._forms[self.parts.store.state.job.name]

    def _on_kind(self) -> None:
        old, cls = self.parts.store.state.job, jobs[self._kind.currentData()]
        self.parts.store.update(job=with_settings_of(cls, old))

    def _on_cancel(self, number: int) -> None:
        for task in self.parts.jobs.tasks:
            if task.number == number:
                self.parts.jobs.cancel(task)

    def _on_started(self, task: Task) -> None:
        if task.number in self._rows:  # others, such as studies, have panels of their own
            self.parts.runs.follow(str(task.about))
        elif not self._rows:
            self._show_hint()
        self._on_progressed(task)

    def _on_progressed(self, task: Task) -> None:
        row = self._rows.get(task.number)
        if row is not None:
            progress = task.progress
            text = str(progress) if progress else "starting: loading torch"
            row.show_progress(text, progress.fraction if progress else None, task.seconds_left)

    def _on_ended(self, task: Task) -> None:
        row, job = self._rows.pop(task.number, None), self._submitted.pop(task.number, None)
        if row is None or job is None:
            self._show_hint()
            return
        self.queue.remove(row)
        if str(task.about) == self.parts.runs.running:
            self.parts.runs.follow("")
        else:  # it was still queued
            self.parts.runs.reload()
        outcome = task.outcome
        if isinstance(outcome, Failed):
            self.banner.show_message(f"{task.title} failed. {outcome.message}", outcome.details)
            if isinstance(outcome.error, UserError) and self._has_fault(job, outcome.error):
                self.form.mark(outcome.error)
            self.queue.hint.setText(f"{task.title} failed; the window and earlier results are as they were.")
        elif isinstance(outcome, Cancelled):
            self.queue.hint.setText(f"{task.title} was cancelled; Resume in Runs goes on with it.")
        else:
            self.queue.hint.setText(f"{task.title} is done: its results are in Runs.")


def with_settings_of(cls: type[J], old: Job) -> J:
    """A job of that kind with what was chosen for another one, as far as it has such settings and they are possible.

    What is at fault where they are not all possible is left out; where that is not enough, all but what every job has.
    """
    defaults = {each.name: each.default for each in schema(type(old))}
    chosen = {name: value for name, value in values_of(old).items() if value != defaults[name]}
    common = {each.name: chosen[each.name] for each in schema(cls) if each.name in chosen}
    try:
        return cls(**common)
    except UserError as error:
        common.pop(error.field, None)
    try:
        return cls(**common)
    except UserError:
        plain = {each.name for each in schema(ModelJob)}
        return cls(**{name: value for name, value in common.items() if name in plain})
