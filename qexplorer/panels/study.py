"""Study: a grid of runs from a file, here or on a Dask cluster."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QVBoxLayout, QWidget

from qexplorer.cluster.address import LOCAL, TLS, parse_address
from qexplorer.cluster.run_study import run_study
from qexplorer.engine.models.trust import Untrusted
from qexplorer.engine.studies.status import RUNNING, RunStatus, StudyProgress, StudyResult
from qexplorer.engine.studies.study import Study
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.state.app_state import AppState, StudyChoice
from qexplorer.state.runner import Cancelled, Done, Failed, Task
from qexplorer.widgets.cells_table import CellLine, CellsTable
from qexplorer.widgets.controls import Button, Field, caption, field_title
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.numbers import duration
from qexplorer.widgets.path_field import PathField

PEM = "PEM files (*.pem *.crt *.cer *.key)"
PATHS = {
    "file": (
        "Study file",
        "A TOML file with the job and its grid; `qexplorer study --help` shows one",
        "Studies (*.toml)",
    ),
    "ca": ("CA file", "The certificate of the authority that vouches for the cluster, PEM", PEM),
    "cert": ("Certificate", "Your own certificate, PEM", PEM),
    "key": ("Key", "The key of your certificate, PEM, without a passphrase", PEM),
}
"""What each path is called, what it is, and the files that are offered for it."""


@panels.register
class StudyPanel(Panel):
    """The file, where its runs go, and a line for each of them."""

    name: ClassVar[str] = "study"
    title: ClassVar[str] = "Study"
    order: ClassVar[int] = 75
    place: ClassVar[Place] = Place(13, "runs", tabbed=True)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.table = CellsTable()
        self.table.row_pressed.connect(self._on_row_pressed)
        self._task: Task | None = None
        self.runs: tuple[RunStatus, ...] = ()
        """The study's runs as they are shown."""
        self._paths = {name: PathField(*words) for name, words in PATHS.items()}
        for name, path in self._paths.items():
            path.field.setObjectName(f"study_{name}")
            path.edited.connect(self._on_edited)
        self._file, self._on = self._paths["file"].field, Field()
        self._on.setAccessibleName("Where")
        self._on.setToolTip("“local”, or the address of a Dask scheduler: tcp://HOST:8786 or tls://HOST:8786")
        self._on.setObjectName("study_where")
        self._on.setMaximumWidth(280)
        self._on.textChanged.connect(self._on_where_typed)
        self._on.editingFinished.connect(self._on_edited)
        self.run_button = Button("Run study", primary=True)
        self.run_button.setObjectName("run_study")
        self.run_button.setAccessibleName("Run the study")
        self.run_button.setToolTip("Run every combination of the grid; each is a run of its own in Runs")
        self.run_button.clicked.connect(self.start)
        self.cancel_button = Button("Cancel")
        self.cancel_button.setToolTip("Stop the study; runs that are done stay")
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
        self._tls.setLayout(_row(*(self._paths[part] for part in ("ca", "cert", "key"))))
        where = QVBoxLayout()
        where.setSpacing(1)
        where.addWidget(field_title("Where", self._on))
        where.addWidget(self._on)
        row = _row(self._paths["file"])
        row.addLayout(where, 2)
        for button in (self.run_button, self.cancel_button):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignBottom)
        self.body.addLayout(row)
        self.body.addWidget(self._tls)
        self.body.addWidget(self._refusal)
        empty = Placeholder(
            "No study yet", "Choose a TOML file: every combination of its grid is run, and stands here."
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

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        row.addWidget(self._remark)

    def start(self) -> None:
        """Queue the study behind the jobs that are on their way."""
        self.banner.clear()
        self._on_edited()
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

    def _on_edited(self) -> None:
        paths = {name: path.path for name, path in self._paths.items()}
        choice = StudyChoice(**paths, on=self._on.text().strip() or LOCAL)
        self.parts.store.update(study=choice)
        self._show_refusal(None)
        try:
            parse_address(choice.on, choice.tls)
        except UserError as error:
            if self._field_of(error).text():  # what is still empty is refused when the study is started
                self._show_refusal(error)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.study != old.study:
            self._show_choice(new.study)

    def _show_choice(self, choice: StudyChoice) -> None:
        for name, path in self._paths.items():
            path.show_path(getattr(choice, name))
        if choice.on != self._on.text().strip():
            self._on.setText(choice.on)
            self._on.setCursorPosition(0)
        self._on_where_typed(choice.on)
        self._show_refusal(None)

    def _field_of(self, error: UserError) -> Field:
        """The field whose text is at fault."""
        path = self._paths.get(error.field.removeprefix("tls_"))
        return path.field if path is not None else self._on

    def _show_refusal(self, error: UserError | None) -> None:
        """Say below the fields why they name no place, and mark the one at fault."""
        at_fault = None if error is None else self._field_of(error)
        for field in (self._on, *(path.field for path in self._paths.values())):
            field.show_wrong(str(error) if field is at_fault else "")
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
        self.table.show_lines([_line(run) for run in runs])
        self._stack.setCurrentWidget(self.table)

    def _on_row_pressed(self, row: int) -> None:
        """Look at a run that is done."""
        run = self.runs[row]
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
                self._remark.setText("cancelled; runs that are done stay")
            case _:
                pass


def _row(*paths: PathField) -> QHBoxLayout:
    """Paths beside each other."""
    row = QHBoxLayout()
    row.setContentsMargins(12, 0, 12, 0)
    row.setSpacing(8)
    for path in paths:
        row.addWidget(path, 3)
    return row


def _line(run: RunStatus) -> CellLine:
    row = run.rows[-1] if run.rows else None
    return CellLine(
        run.label,
        run.status,
        run.fraction,
        None if row is None else row.top1,
        None if row is None else row.top1_ci95,
        None if row is None else row.bytes_theoretical,
        run.seconds or None,
        run.error or run.phase,
    )
