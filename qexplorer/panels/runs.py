"""Runs: the results of every run, newest first."""

from typing import ClassVar

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QWidget

from qexplorer.engine.backends import backends
from qexplorer.engine.history import Run
from qexplorer.engine.jobs import jobs
from qexplorer.engine.models import models
from qexplorer.engine.results import Row, RunResult
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, register
from qexplorer.state.runner import Task
from qexplorer.widgets.controls import caption
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.runs_table import RunLine, RunsTable, Timing

SHOWN = 50
"""So many runs are shown; `qexplorer runs` lists them all."""


@register
class RunsPanel(Panel):
    """The result table over the run history."""

    name: ClassVar[str] = "runs"
    title: ClassVar[str] = "Runs"
    order: ClassVar[int] = 70
    place: ClassVar[Place] = Place(6, "jobs")

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.table = RunsTable()
        self._empty = Placeholder(
            "No runs yet",
            "Press Run: the float model is measured, then converted, and each result appears here beside it.",
        )
        self._remark = caption("")
        content = QWidget()
        self._stack = QStackedLayout(content)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self.table)
        content.setContentsMargins(8, 0, 8, 0)
        self.body.addWidget(content, 1)
        parts.jobs.ended.connect(self._on_ended)
        parts.themes.changed.connect(self.table.show_theme)
        self.table.show_theme(parts.themes.current)
        self.reload()

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        row.addWidget(self._remark)

    @Slot()
    def reload(self) -> None:
        """Read the history again."""
        try:
            runs = self.parts.history.runs()
        except UserError as error:
            self.banner.show_message(str(error))
            return
        done = [run for run in runs if run.result_json is not None][:SHOWN]
        lines: list[RunLine] = []
        broken = sum(run.status in ("failed", "interrupted") for run in runs)
        for run in done:
            try:
                lines += lines_of(run)
            except UserError:  # written by another version, or damaged: the others are shown
                broken += 1
        self.table.show_lines(lines)
        self._stack.setCurrentWidget(self.table if lines else self._empty)
        self._remark.setText(f"{broken} failed, interrupted or unreadable" if broken else "")
        self._remark.setToolTip("`qexplorer runs` lists them with their errors")

    def _on_ended(self, task: Task) -> None:
        del task
        self.reload()


def lines_of(run: Run) -> list[RunLine]:
    """The table's lines of one run."""
    if run.result_json is None:
        return []
    result = RunResult.from_json(run.result_json)
    lines: list[RunLine] = []
    for row in result.rows:
        lines.append(_line(result, row, lines[0] if lines else None))
    return lines


def _float_title(model: str, data: str) -> str:
    """The float row says what was run on which data, unless the model's name does."""
    return f"FP32 · {model}" if data in model else f"FP32 · {model}, on {data}"


def _line(result: RunResult, row: Row, first: RunLine | None) -> RunLine:
    name = str(result.model["name"])
    model = next((m.title for m in models if m.name == name), name)
    presets = {p.name: p.title for backend in backends for p in backend.presets}
    job = next((j.title for j in jobs if j.name == result.job), result.job)
    versions = ", ".join(f"{k} {v}" for k, v in result.versions.items())
    return RunLine(
        title=_float_title(model, str(result.data["name"]))
        if first is None
        else f"{job} · {presets.get(row.name, row.name)}",
        about=f"{job}, run {result.run_id}\ndata {result.data['name']}, calibrated on {result.data['calibration_n']}, "
        f"tested on {row.n}; seed {result.seed}\n{versions}",
        kernels="float32" if first is None else f"{row.kind} int8 ({row.engine})",
        real=row.kind == "REAL",
        top1=row.top1,
        top1_ci95=row.top1_ci95,
        top5=row.top5,
        n=row.n,
        flips=row.flips,
        bytes_on_disk=row.bytes_on_disk,
        bytes_theoretical=row.bytes_theoretical,
        latency={batch: Timing(t["median"], t["p05"], t["p95"]) for batch, t in row.latency_ms.items()},
        threads=row.threads,
        first=first,
        note=row.note,
    )
