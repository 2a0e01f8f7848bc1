"""Jobs: what to run, what is running, and what went wrong."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMessageBox, QVBoxLayout, QWidget

from qexplorer.engine.backends import backends
from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.jobs.model_job import ModelJob
from qexplorer.engine.jobs.qat import STARTS
from qexplorer.engine.jobs.simulated_job import SimulatedJob
from qexplorer.engine.models import models
from qexplorer.engine.record import job_of, recorded, resumed
from qexplorer.engine.results import RunResult
from qexplorer.engine.starts import offers, origin
from qexplorer.engine.trust import Untrusted, trust
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, register
from qexplorer.progress import Steps
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Cancelled, Failed, Task
from qexplorer.widgets.controls import Button, Combo, caption, field_height
from qexplorer.widgets.job_form import JobForm
from qexplorer.widgets.task_row import TaskRow
from qexplorer.widgets.theme import scaled

WORDS = {"both": "Both presets", "auto": "Automatic", "none": "None", "on": "On", "off": "Off"}


def _titles() -> dict[str, str]:
    """How the choices of jobs are called on screen."""
    presets = {p.name: p.title for backend in backends for p in backend.presets}
    return {**WORDS, **presets, **{model.name: model.title for model in models}}


@register
class JobsPanel(Panel):
    """A job's settings with its Run button, and a row for each job on its way."""

    name: ClassVar[str] = "jobs"
    title: ClassVar[str] = "Jobs"
    order: ClassVar[int] = 60
    place: ClassVar[Place] = Place(2, "weights")

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._kind = Combo()
        self._kind.setAccessibleName("Job")
        self._kind.setObjectName("job")
        self._kind.setToolTip("What to do with the model")
        for job in jobs:
            self._kind.addItem(job.title, job.name)
        self._kind.activated.connect(self._on_kind)
        self._forms = {job.name: JobForm(job(), _titles()) for job in jobs}
        self.run_button = Button("R&un", primary=True)
        self.run_button.setObjectName("run")
        self.run_button.setAccessibleName("Run the job")
        self._hint = caption("")
        self._hint.setMinimumHeight(field_height(self))  # as high as a running job, so that nothing moves
        self._rows: dict[int, TaskRow] = {}
        head = QHBoxLayout()
        head.setSpacing(10)
        first, label = QVBoxLayout(), QLabel("Job")
        label.setFont(scaled(0.88))
        label.setForegroundRole(self.palette().ColorRole.PlaceholderText)
        label.setBuddy(self._kind)
        first.setSpacing(1)
        first.addWidget(label)
        first.addWidget(self._kind)
        first.addStretch()
        head.addLayout(first)
        for form in self._forms.values():
            form.edited.connect(self._on_edited)
            form.offers_opening.connect(self._on_offers_opening)
            form.tried.connect(self.try_on_a_layer)
            head.addWidget(form, 1)
        beside = QVBoxLayout()
        above = QLabel("")  # as high as the titles of the fields, so that the button keeps to their line
        above.setFont(scaled(0.88))
        beside.setSpacing(1)
        beside.addWidget(above)
        beside.addWidget(self.run_button)
        beside.addStretch()
        head.addLayout(beside)
        self._list = QVBoxLayout()
        self._list.setSpacing(4)
        column = QVBoxLayout()
        column.setContentsMargins(12, 0, 12, 8)
        column.setSpacing(6)
        column.addLayout(head)
        column.addLayout(self._list)
        column.addWidget(self._hint)
        self.body.addLayout(column, 1)
        self.run_button.clicked.connect(self.start)
        parts.store.changed.connect(self._on_changed)
        parts.jobs.started.connect(self._on_started)
        parts.jobs.progressed.connect(self._on_progressed)
        parts.jobs.ended.connect(self._on_ended)
        self._offer_spec(parts.store.state)
        self._show_job(parts.store.state.job)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # take no more room than there are rows
            self.setMaximumHeight(self.body.sizeHint().height())
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.parts.jobs.current is not None:
            self.parts.jobs.cancel(self.parts.jobs.current)
        else:
            super().keyPressEvent(event)

    def start(self) -> None:
        """Queue the job as it is set now; later edits cannot reach it."""
        self.banner.clear()
        if not self._form.commit():
            return
        self._start(self.parts.store.state.job)

    def try_on_a_layer(self, trial: str) -> None:
        """Queue the job that shows on one layer what the job as it is set now would do to all."""
        self.banner.clear()
        job, cls = self.parts.store.state.job, jobs[trial]
        if isinstance(job, SimulatedJob) and job.recipe().every.weights is None:
            self._form.show_refusal("Repairs are for simulated weights: choose a weight spec first.")
            return
        names = {f.name for f in dataclasses.fields(job)}  # pyright: ignore[reportArgumentType]
        shared = {f.name: getattr(job, f.name) for f in dataclasses.fields(cls) if f.name in names}  # pyright: ignore[reportArgumentType]
        try:
            self._start(cls(**shared))
        except UserError as error:
            self._form.show_refusal(str(error))

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
            self._ask_for_trust(question, again)
            return False
        except UserError as error:
            self._form.show_refusal(str(error))
            return False
        return True

    def _ask_for_trust(self, question: Untrusted, again: Callable[[], None]) -> None:
        box = QMessageBox(QMessageBox.Icon.Warning, "Run this code?", question.what, parent=self)
        box.setInformativeText(question.remedy)
        box.setTextFormat(Qt.TextFormat.PlainText)
        run = box.addButton("Trust it and run", QMessageBox.ButtonRole.AcceptRole)
        run.setObjectName("trust")
        box.setDefaultButton(box.addButton("Do not run it", QMessageBox.ButtonRole.RejectRole))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.accepted.connect(lambda: self._on_trusted(question, again))
        box.open()

    def _on_trusted(self, question: Untrusted, again: Callable[[], None]) -> None:
        try:
            trust(question.path, question.fingerprint)
        except UserError as error:
            self._form.show_refusal(str(error))
            return
        again()

    def _submit(self, steps: Steps[RunResult], job: Job, run_id: str) -> None:
        task = self.parts.jobs.submit(steps, job.title, run_id)
        row = TaskRow(task.number, job.title)
        row.cancel_pressed.connect(self._on_cancel)
        self._rows[task.number] = row
        self._list.addWidget(row)
        self._hint.hide()

    def train_on(self, run_id: str) -> None:
        """Make training from a run the next job; it is not started."""
        self.banner.clear()
        try:
            own = origin(self.parts.history.get(run_id))
            job = dataclasses.replace(with_settings_of(jobs["qat"], own), start=run_id)  # pyright: ignore[reportCallIssue]
            self.parts.store.update(job=self._settled(job))
        except UserError as error:
            self.banner.show_message(str(error))

    def _on_edited(self, job: Job) -> None:
        try:
            self.parts.store.update(job=self._settled(job))
        except UserError as error:
            self._form.show_refusal(str(error))

    def _settled(self, job: Job) -> Job:
        """The job with what an earlier run decides, whatever stood there before."""
        if not job.taken:
            return job
        plain = {f.name: f.default for f in dataclasses.fields(job) if f.name in job.taken}
        return dataclasses.replace(job, **plain).settled(self.parts.history)

    def _on_offers_opening(self, name: str) -> None:
        """Where training starts from is also any of the runs that will do."""
        job = self.parts.store.state.job
        if name == "start" and isinstance(job, SimulatedJob):
            try:
                lines = offers(job, self.parts.history)
            except UserError as error:
                self.banner.show_message(str(error))
                return
            self._form.show_offers(name, (*STARTS, *lines), lines)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.job != old.job:
            self._show_job(new.job)
        if new.spec != old.spec:
            self._offer_spec(new)

    def _offer_spec(self, state: AppState) -> None:
        """The spec of the Scheme panel stands first among the offers."""
        for form in self._forms.values():
            for each in dataclasses.fields(form.job):  # pyright: ignore[reportArgumentType]
                if each.name.endswith("_spec") and "offers" in each.metadata:
                    form.show_offers(each.name, list(dict.fromkeys((state.spec.short, *each.metadata["offers"]))))

    def _show_job(self, job: Job) -> None:
        self._kind.setCurrentIndex(self._kind.findData(job.name))
        for name, form in self._forms.items():
            form.setVisible(name == job.name)
        self._form.show_job(job)
        self._form.show_fixed(job.taken, f"As in the run that is started from, {getattr(job, 'start', '')}")
        self.run_button.setToolTip(f"{job.title}: {job.help} (F5)")
        if not self.parts.jobs.tasks:
            self._hint.setText(f"Nothing is running. Run (F5): {job.help}.")

    @property
    def _form(self) -> JobForm:
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
        self._on_progressed(task)

    def _on_progressed(self, task: Task) -> None:
        row = self._rows.get(task.number)
        if row is not None:
            progress = task.progress
            text = str(progress) if progress else "starting: loading torch"
            row.show_progress(text, progress.fraction if progress else None, task.seconds_left)

    def _on_ended(self, task: Task) -> None:
        row = self._rows.pop(task.number, None)
        if row is None:
            return
        self._list.removeWidget(row)
        row.hide()
        row.deleteLater()
        self._hint.setVisible(not self._rows)
        self.parts.runs.follow("")
        outcome = task.outcome
        if isinstance(outcome, Failed):
            self.banner.show_message(f"{task.title} failed. {outcome.message}", outcome.details)
            self._hint.setText(f"{task.title} failed; the window and earlier results are as they were.")
        elif isinstance(outcome, Cancelled):
            self._hint.setText(f"{task.title} was cancelled; Resume in Runs goes on with it.")
        else:
            self._hint.setText(f"{task.title} is done: its results are in Runs.")


def with_settings_of(cls: type[Job], old: Job) -> Job:
    """A job of that kind with what was chosen for another one, as far as it has such settings and they are possible.

    What is at fault where they are not all possible is left out; where that is not enough, all but what every job has.
    """
    names = {f.name for f in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    chosen = {f.name: getattr(old, f.name) for f in dataclasses.fields(old) if getattr(old, f.name) != f.default}  # pyright: ignore[reportArgumentType]
    common = {name: value for name, value in chosen.items() if name in names}
    try:
        return cls(**common)
    except UserError as error:
        common.pop(error.field, None)
    try:
        return cls(**common)
    except UserError:
        plain = {f.name for f in dataclasses.fields(ModelJob)}
        return cls(**{name: value for name, value in common.items() if name in plain})
