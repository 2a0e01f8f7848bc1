"""The columns of the table of runs: of each run the float model and, beside it, what became of it; or why there is no
result.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PySide6.QtCore import Qt

from qexplorer import numbers
from qexplorer.engine.backends import ENGINES
from qexplorer.engine.runs.results import REAL, Row, RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.panels.titles import job_title, model_title, row_title, specs_title, told
from qexplorer.widgets.lines import NONE, Column
from qexplorer.widgets.table import Table

UNREADABLE = "Its result cannot be read: it is damaged, or another version of this program wrote it."
SIZE = ", and how many times smaller than the float model's"
AGAINST = "Median time of one batch of {} samples, and the speed-up over the float model in the same run"


@dataclass(frozen=True, eq=False)
class Line:
    """A row of the result of a run, which is the one of that `number`; of a run without a result there is no row."""

    number: int
    run: Run
    result: RunResult | None = None
    row: Row | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The run's id and the row's name, which is empty where there is no row."""
        return self.run.run_id, self.row.name if self.row else ""

    @property
    def before(self) -> Row | None:
        """The float model of the same run; none for that itself."""
        return self.result.rows[0] if self.result and self.row is not self.result.rows[0] else None

    @cached_property
    def title(self) -> str:
        """How the model was quantized; of the float model what was run on which data, unless its name says so."""
        if self.result is None or self.row is None:
            return run_title(self.run)
        job, model, data = job_title(self.result.job), model_title(self.result.model.name), self.result.data.name
        if self.before is not None:
            return f"{job} · {row_title(self.result, self.row)}"
        what = "FP32" if self.result.rows[1:] else job
        return f"{what} · {model}" if data in model else f"{what} · {model}, on {data}"

    @property
    def about(self) -> str:
        """All that tells the run from others."""
        facts, settings = "", json.loads(self.run.config_json) if self.result is None else self.result.settings
        if self.result is not None and self.row is not None:
            data, versions = self.result.data, ", ".join(f"{k} {v}" for k, v in self.result.versions.items())
            facts = f"data {data.name}, calibrated on {data.calibration_n}, tested on {self.row.n}; "
            facts += f"seed {self.result.seed}\n{versions}"
        title = f"{job_title(self.run.job)}, run {self.run.run_id}"
        return "\n".join(filter(None, (title, told(settings), facts, self.run.notes)))

    @property
    def kernels(self) -> str:
        """What computed, or how a run without a result ended."""
        if self.row is None:
            return "unreadable" if self.run.status == "done" else self.run.status
        if self.before is None:
            return "float32"
        engine = self.row.engine
        return f"{self.row.kind} int8 ({engine})" if engine in ENGINES else f"{self.row.kind} {engine}"

    @property
    def why(self) -> str:
        """Why there is no result; empty where there is one."""
        if self.row is not None:
            return ""
        return UNREADABLE if self.run.status == "done" else self.run.error or "Resume continues it."


def run_title(run: Run) -> str:
    """The job and its specs, or else its model."""
    settings = json.loads(run.config_json)
    what = specs_title(settings) or model_title(str(settings.get("model", "")))
    return " · ".join(filter(None, (job_title(run.job), what)))


def _against(own: float, before: float | None) -> str:
    """How many times smaller or faster than the float model."""
    return f"  {before / own:.1f}×" if before and own else ""


def _of_samples(row: Row, _: Row | None) -> str:
    top1, of = numbers.percent(row.top1), numbers.count(row.n)
    return f"{top1} of {of} test samples; with 95 % confidence {numbers.interval(row.top1_ci95)}"


def _figure(title: str, meaning: str, sample: str, text: Callable[[Row, Row | None], str],
            sort: Callable[[Row, Row | None], Any], tip: Callable[[Row, Row | None], str] | None = None,
            across: Callable[[Line], str] | None = None) -> Column[Line]:  # fmt: skip
    """A column of what only a run with a result has, written of a row and the float model before it."""

    def told(line: Line) -> str:
        return (tip or text)(line.row, line.before) if line.row else line.why

    return Column(title, meaning, sample, lambda line: text(line.row, line.before) if line.row else "",
                  lambda line: sort(line.row, line.before) if line.row else None, tip=told, across=across)  # fmt: skip


def _latency(batch: str, sample: str) -> Column[Line]:
    def text(row: Row, before: Row | None) -> str:
        own, of = row.latency_ms.get(batch), before.latency_ms.get(batch) if before else None
        return f"{own.median:.2f} ms" + _against(own.median, of.median if of else None) if own else NONE

    def tip(row: Row, _: Row | None) -> str:
        own = row.latency_ms.get(batch)
        span = f"5th to 95th percentile {own.p05:.2f} to {own.p95:.2f} ms" if own else ""
        return f"median {own.median:.2f} ms, {span}, {row.threads} thread(s)" if own else NONE

    return _figure(f"Batch {batch}", AGAINST.format(batch), sample, text,
                   lambda row, _: row.latency_ms[batch].median if batch in row.latency_ms else None, tip)  # fmt: skip


def _color(line: Line) -> str:
    if line.row is None:
        return "clip" if line.run.status == "failed" else "muted"
    return "" if line.before is None else "good" if line.row.kind == REAL else "warn"


def _on_disk(row: Row, before: Row | None) -> str:
    """The file of a simulation holds floats that stand in: there is nothing to compare."""
    ratio = _against(row.bytes_on_disk, before.bytes_on_disk) if before and row.kind == REAL else ""
    return numbers.size(row.bytes_on_disk) + ratio


COLUMNS = (
    Column[Line]("Run", "The model and how it was quantized", "Weight only · int4 channel mse · gptq",
                 lambda line: line.title, lambda line: -line.number, right=False, tip=lambda line: line.about,
                 bold=lambda line: line.row is not None and line.before is None),
    Column[Line]("Kernels", "REAL: computed in the stored type. SIMULATED: float stands in; speed is not real.",
                 "REAL int8 (x86) ", lambda line: line.kernels, lambda line: line.kernels if line.row else None,
                 right=False, tip=lambda line: line.why or line.kernels, color=_color),
    _figure("Top-1", "Share of test samples whose first guess is right", "100.00 % ",
            lambda row, _: numbers.percent(row.top1), lambda row, _: row.top1, _of_samples, lambda line: line.why),
    _figure("95 % interval", "Wilson's interval: it holds the true share with 95 % confidence", "98.3 – 99.3 % ",
            lambda row, _: numbers.interval(row.top1_ci95), lambda row, _: row.top1_ci95, _of_samples),
    _figure("n", "Test samples", "20,000 ", lambda row, _: numbers.count(row.n), lambda row, _: row.n),
    _figure("Flips", "Predictions that differ from the float model's", "Flips ↓ ",
            lambda row, before: numbers.count(row.flips) if before else NONE,
            lambda row, before: row.flips if before else None),
    _figure("Theoretical", f"Codes, scales, zero points, biases and buffers, packed{SIZE}", "888.88 kB  88.8× ",
            lambda row, before: numbers.size(row.bytes_theoretical)
            + _against(row.bytes_theoretical, before.bytes_theoretical if before else None),
            lambda row, _: row.bytes_theoretical),
    _figure("On disk", f"Bytes of the saved file{SIZE}; a simulation's holds floats", "888.88 kB  8.8× ",
            _on_disk, lambda row, _: row.bytes_on_disk),
    _latency("1", "114.73 ms  2.5× "),
    _latency("64", "714.73 ms  2.5× "),
    _figure("Top-5", "Share of test samples whose label is among the first five guesses", "100.00 % ",
            lambda row, _: numbers.percent(row.top5), lambda row, _: row.top5,
            lambda row, _: f"{numbers.percent(row.top5)} of {numbers.count(row.n)} test samples"),
    Column[Line]("Note", "Anything unexpected", "Timed fused ", lambda line: line.row.note if line.row else line.why,
                 lambda line: line.row.note if line.row else None, right=False),
)  # fmt: skip


def runs_table() -> Table[Line]:
    """A table of all runs, newest run first, the float model of each on top."""
    table = Table[Line]("Results of runs", COLUMNS, lambda line: line.key, starts=lambda line: line.before is None)
    table.setSelectionMode(table.SelectionMode.ExtendedSelection)
    table.horizontalHeader().setStretchLastSection(True)
    table.horizontalHeader().setSortIndicator(0, Qt.SortOrder.DescendingOrder)
    table.setSortingEnabled(True)
    return table
