"""Study: a grid of runs from a file, here or on a Dask cluster."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QWidget

from qexplorer.cluster.address import TLS, parse_address
from qexplorer.cluster.run_study import run_study
from qexplorer.engine.models.trust import Untrusted
from qexplorer.engine.studies.status import RUNNING, RunStatus, StudyProgress, StudyResult
from qexplorer.engine.studies.study import Study
from qexplorer.errors import UserError
from qexplorer.numbers import duration
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.study_columns import COLUMNS
from qexplorer.settings import schema
from qexplorer.state.app_state import AppState, StudyChoice
from qexplorer.state.runner import Cancelled, Done, Failed, Task
from qexplorer.widgets.controls import Button, caption
from qexplorer.widgets.fields import Editor, titled
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.offered import Offered
from qexplorer.widgets.table import Table


@panels.register
class StudyPanel(Panel):
    """The file, where its runs go, and a line for each of them."""

    name: ClassVar[str] = "study"
    title: ClassVar[str] = "Study"
    order: ClassVar[int] = 75
    places: ClassVar[tuple[Place, ...]] = (Place("quantize", 6, "runs", tabbed=True, folds=True),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.table = Table("Runs of the study", COLUMNS, lambda run: run.key, one_click=True, slack=16)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.opened.connect(self._on_run)
        self._task: Task | None = None
        self.runs: tuple[RunStatus, ...] = ()
        """The study's runs as they are shown."""
        self._editor = Editor(parts.store.state.study, self)
        cells: dict[str, QWidget] = {}
        for each in schema(StudyChoice):
            cells[each.name] = titled(each, self._editor.add(each, "study_"))
        where = self._editor.controls["on"]
        where.setObjectName("study_where")
        cells["on"].setMaximumWidth(280)
        if isinstance(where, Offered):  # as every text is
            where.textChanged.connect(self._on_where_typed)
        self._editor.edited.connect(self._on_edited)
        self._editor.refused.connect(self._check)
        self.run_button = Button("Run study", primary=True)
        self.run_button.setObjectName("run_study")
        self.run_button.setAccessibleName("Run the study")
        self.run_button.setToolTip("Run every combination of the grid; each is a run of its own in Runs")
        self.run_button.clicked.connect(self.start)
        self.cancel_button = Button("Cancel")
        self.cancel_button.setToolTip("Stop the study; finished runs are kept")
        self.cancel_button.setAccessibleName("Cancel the study")
        self.cancel_button.clicked.connect(self._on_cancel)
        self.cancel_button.setEnabled(False)
        self._remark = caption("")
        self._refusal = caption("")
        self._refusal.setObjectName("study_refusal")
        self._refusal.setForegroundRole(QPalette.ColorRole.BrightText)
        self._refusal.setContentsMargins(12, 0, 12, 0)
        self._refusal.setWordWrap(True)
        self._tls = QWidget()
        self._tls.setLayout(_row(*(cells[part] for part in ("ca", "cert", "key"))))
        row = _row(cells["file"])
        row.addWidget(cells["on"], 2)
        for button in (self.run_button, self.cancel_button):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignBottom)
        self.body.addLayout(row)
        self.body.addWidget(self._tls)
        self.body.addWidget(self._refusal)
        empty = Placeholder(
            "No study yet", "Choose a TOML file. Every combination of its grid becomes a run and is listed here."
        )
        content = QWidget()
        self._stack = QStackedLayout(content)
        self._stack.addWidget(empty)
        self._stack.addWidget(self.table)
        content.setContentsMargins(8, 0, 8, 0)
        self.body.addWidget(content, 1)
        parts.jobs.progressed.connect(self._on_progressed)
        parts.jobs.ended.connect(self._on_ended)
        parts.themes.changed.connect(self.table.show_theme)
        self.table.show_theme(parts.themes.current)
        parts.store.changed.connect(self._on_changed)
        self._show_choice(parts.store.state.study)

    @property
    def remark(self) -> str:
        """How far the study is, as its title says."""
        return self._remark.text()

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        row.addWidget(self._remark)

    def start(self) -> None:
        """Queue the study behind the jobs that are on their way."""
        self.banner.clear()
        self._editor.commit()
        choice = self.parts.store.state.study
        try:
            parse_address(choice.on, choice.tls)
        except UserError as error:
            self._show_refusal(error)
            return
        try:
            if not choice.file:
                raise UserError("No study file was chosen.", "Choose a TOML file.")
            study = Study.read(Path(choice.file).expanduser())
        except UserError as error:
            self.banner.show_message(str(error))
            return
        steps = run_study(study, self.parts.history, choice.on, tls=choice.tls)
        self._task = self.parts.jobs.submit(steps, f"Study {study.title}")
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self._remark.setText(f"{len(study.runs)} runs")

    def _on_where_typed(self, text: str) -> None:
        self._tls.setVisible(text.strip().startswith(TLS))

    def _on_edited(self, choice: StudyChoice) -> None:
        self.parts.store.update(study=choice)
        self._check()

    def _check(self) -> None:
        """Say what is wrong with the place, but for what is still empty: it is refused when the study is started."""
        choice: StudyChoice = self._editor.read()
        try:
            parse_address(choice.on, choice.tls)
        except UserError as error:
            field = self._editor.controls[_field_of(error)]
            self._show_refusal(error if field.value else None)
        else:
            self._show_refusal(None)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.study != old.study:
            self._show_choice(new.study)

    def _show_choice(self, choice: StudyChoice) -> None:
        self._editor.show_settings(choice)
        self._on_where_typed(choice.on)
        self._show_refusal(None)

    def _show_refusal(self, error: UserError | None) -> None:
        """Say below the fields why they name no place, and mark the one at fault."""
        self._editor.mark(None if error is None else UserError(str(error), field=_field_of(error)))
        self._refusal.setText("" if error is None else str(error))
        self._refusal.setVisible(error is not None)

    def _on_cancel(self) -> None:
        if self._task is not None:
            self.parts.jobs.cancel(self._task)
            self.cancel_button.setEnabled(False)

    def _on_progressed(self, task: Task) -> None:
        if task is self._task and isinstance(task.progress, StudyProgress):
            self._show(task.progress.runs)
            left = f", {duration(task.seconds_left)} left" if task.seconds_left is not None else ""
            self._remark.setText(f"{task.progress}{left}")

    def _show(self, runs: tuple[RunStatus, ...]) -> None:
        if sum(bool(run.rows) for run in runs) != sum(bool(run.rows) for run in self.runs):
            self.parts.runs.reload()  # so that each run stands in Runs as soon as it is done
        self.runs = runs
        self.table.lines.show_lines(runs)
        self._stack.setCurrentWidget(self.table)

    def _on_run(self, run: RunStatus) -> None:
        """Look at a run that is done."""
        if run.rows:
            self.parts.runs.choose(((run.run_id, run.rows[-1].name),))

    def _on_ended(self, task: Task) -> None:
        if task is not self._task:
            return
        self._task = None
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        match task.outcome:
            case Done(result=StudyResult() as result):
                self._show(result.runs)
                failed = f", {result.failed} failed" if result.failed else ""
                self._remark.setText(f"{len(result.runs)} runs done{failed}")
            case Failed() as failed:
                remedy = " Run it once by itself in Jobs to allow it." if isinstance(failed.error, Untrusted) else ""
                self.banner.show_message(failed.message + remedy, failed.details)
                self._remark.setText("")
            case Cancelled():
                runs = (replace(run, status="cancelled") if run.status == RUNNING else run for run in self.runs)
                self._show(tuple(runs))
                self._remark.setText("cancelled; finished runs are kept")
            case _:
                pass


def _field_of(error: UserError) -> str:
    """The setting whose text is at fault."""
    return error.field.removeprefix("tls_") or "on"


def _row(*paths: QWidget) -> QHBoxLayout:
    """Paths beside each other."""
    row = QHBoxLayout()
    row.setContentsMargins(12, 0, 12, 0)
    row.setSpacing(8)
    for path in paths:
        row.addWidget(path, 3)
    return row
