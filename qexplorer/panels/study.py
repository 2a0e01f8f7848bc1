"""Study: a grid of runs from a file, here or on a Dask cluster."""

from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QStackedLayout, QWidget

from qexplorer.engine.study.board import CellState, StudyProgress, StudyResult
from qexplorer.engine.study.course import run_study
from qexplorer.engine.study.study import Study
from qexplorer.engine.trust import Untrusted
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, register
from qexplorer.state.runner import Cancelled, Done, Failed, Task
from qexplorer.widgets.cells_table import CellLine, CellsTable
from qexplorer.widgets.controls import Button, Field, caption
from qexplorer.widgets.messages import Placeholder


@register
class StudyPanel(Panel):
    """The file, where its runs go, and a line for each of them."""

    name: ClassVar[str] = "study"
    title: ClassVar[str] = "Study"
    order: ClassVar[int] = 75
    place: ClassVar[Place] = Place(12, "runs", tabbed=True)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.table = CellsTable()
        self._task: Task | None = None
        self._file, self._on = Field(), Field()
        for field, name, tip in (
            (self._file, "Study file", "A TOML file with the job and its grid; `qexplorer study --help` shows one"),
            (self._on, "Where", "“local”, or the address of a Dask scheduler: tcp://HOST:8786"),
        ):
            field.setAccessibleName(name)
            field.setToolTip(tip)
            field.setPlaceholderText(name)
            field.setObjectName(f"study_{name.split()[-1].lower()}")
        self._on.setText("local")
        self._on.setMaximumWidth(180)
        browse = Button("…")
        browse.setMaximumWidth(28)
        browse.setAccessibleName("Choose a study file")
        browse.setToolTip("Choose a study file")
        browse.clicked.connect(self._on_browse)
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
        row = QHBoxLayout()
        row.setContentsMargins(12, 0, 12, 0)
        row.setSpacing(8)
        row.addWidget(self._file, 1)
        for widget in (browse, self._on, self.run_button, self.cancel_button):
            row.addWidget(widget)
        self.body.addLayout(row)
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

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        row.addWidget(self._remark)

    def start(self) -> None:
        """Queue the study behind the jobs that are on their way."""
        self.banner.clear()
        path = Path(self._file.text().strip()).expanduser()
        try:
            if not self._file.text().strip():
                raise UserError("No study file was chosen.", "Choose a TOML file.")
            study = Study.read(path)
            steps = run_study(study, self.parts.history, self._on.text().strip() or "local")
        except UserError as error:
            self.banner.show_message(str(error))
            return
        self._task = self.parts.jobs.submit(steps, f"Study {study.title}")
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self._remark.setText(f"{len(study.cells)} runs")

    def _on_browse(self) -> None:
        dialog = QFileDialog(self, "Choose a study", filter="Studies (*.toml);;All files (*)")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self._file.setText)
        dialog.open()

    def _on_cancel(self) -> None:
        if self._task is not None:
            self.parts.jobs.cancel(self._task)
            self.cancel_button.setEnabled(False)

    def _on_progressed(self, task: Task) -> None:
        if task is self._task and isinstance(task.progress, StudyProgress):
            self._show(task.progress.cells)
            left = f", {task.seconds_left:.0f} s left" if task.seconds_left is not None else ""
            self._remark.setText(f"{task.progress}{left}")

    def _show(self, cells: tuple[CellState, ...]) -> None:
        self.table.show_lines([_line(cell) for cell in cells])
        self._stack.setCurrentWidget(self.table)

    def _on_ended(self, task: Task) -> None:
        if task is not self._task:
            return
        self._task = None
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        match task.outcome:
            case Done(result=StudyResult() as result):
                self._show(result.cells)
                failed = f", {result.failed} failed" if result.failed else ""
                self._remark.setText(f"{len(result.cells)} runs done{failed}")
            case Failed() as failed:
                remedy = " Run it once by itself in Jobs to allow it." if isinstance(failed.error, Untrusted) else ""
                self.banner.show_message(failed.message + remedy, failed.details)
                self._remark.setText("")
            case Cancelled():
                self._remark.setText("cancelled; runs that are done stay")
            case _:
                pass


def _line(cell: CellState) -> CellLine:
    row = cell.rows[-1] if cell.rows else None
    return CellLine(
        cell.label,
        cell.status,
        cell.fraction,
        None if row is None else row.top1,
        None if row is None else row.top1_ci95,
        None if row is None else row.bytes_theoretical,
        cell.seconds,
        cell.error or cell.phase,
    )
