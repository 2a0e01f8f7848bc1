"""The result table: of each run the float model and, beside it, what became of it; or why it has no result."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar

from PySide6.QtCore import QItemSelectionModel, Qt, Signal
from PySide6.QtGui import QPainter, QPalette, QPen
from PySide6.QtWidgets import QAbstractItemView, QStyleOptionViewItem, QWidget

from qexplorer import numbers
from qexplorer.widgets.lines import LINE, NONE, Column
from qexplorer.widgets.table import LineDelegate, Table
from qexplorer.widgets.views import Index

DESCENDING = Qt.SortOrder.DescendingOrder


@dataclass(frozen=True)
class Timing:
    """Latency of one batch in milliseconds: the median and the 5th and 95th percentile."""

    median: float
    p05: float
    p95: float


@dataclass(frozen=True)
class RunLine:
    """One model of a run, as the table shows it. `first` marks the float model; ratios are against it.

    `key` says which one it is, to whoever made the line.
    """

    key: Hashable
    title: str
    about: str
    kernels: str
    real: bool
    top1: float
    top1_ci95: tuple[float, float]
    top5: float
    n: int
    flips: int
    bytes_on_disk: int
    bytes_theoretical: int
    latency: dict[str, Timing]
    threads: int
    first: "RunLine | None"
    note: str = ""


@dataclass(frozen=True)
class EndedLine:
    """A run that came to no result: how it ended, and why."""

    key: Hashable
    title: str
    about: str
    status: str
    why: str
    first: ClassVar[None] = None


Line = RunLine | EndedLine


def _against(own: float, before: float | None) -> str:
    """How many times smaller or faster than the float model."""
    return f"  {before / own:.1f}×" if before else ""


def _on_disk(line: RunLine) -> str:
    """The file of a simulation holds floats that stand in: there is nothing to compare."""
    before = line.first.bytes_on_disk if line.first and line.real else None
    return numbers.size(line.bytes_on_disk) + _against(line.bytes_on_disk, before)


def _theoretical(line: RunLine) -> str:
    before = line.first.bytes_theoretical if line.first and line.bytes_theoretical else None
    return numbers.size(line.bytes_theoretical) + _against(line.bytes_theoretical, before)


def _of_samples(line: RunLine) -> str:
    top1, of = numbers.percent(line.top1), numbers.count(line.n)
    return f"{top1} of {of} test samples; with 95 % confidence {numbers.interval(line.top1_ci95)}"


def _figure(title: str, meaning: str, sample: str, text: Callable[[RunLine], str], sort: Callable[[RunLine], Any],
            tip: Callable[[RunLine], str] | None = None, *, right: bool = True) -> Column[Line]:  # fmt: skip
    """A column of what only a run with a result has."""

    def told(line: Line) -> str:
        return (tip or text)(line) if isinstance(line, RunLine) else line.why or line.status

    return Column(title, meaning, sample, lambda line: text(line) if isinstance(line, RunLine) else "",
                  lambda line: sort(line) if isinstance(line, RunLine) else None, right=right, tip=told)  # fmt: skip


def _latency(batch: str, sample: str) -> Column[Line]:
    def text(line: RunLine) -> str:
        own = line.latency.get(batch)
        before = line.first.latency.get(batch) if line.first else None
        return f"{own.median:.2f} ms" + _against(own.median, before.median if before else None) if own else NONE

    def tip(line: RunLine) -> str:
        own = line.latency.get(batch)
        if own is None:
            return NONE
        span = f"5th to 95th percentile {own.p05:.2f} to {own.p95:.2f} ms"
        return f"median {own.median:.2f} ms, {span}, {line.threads} thread(s)"

    meaning = f"Median time of one batch of {batch} samples, and the speed-up over the float model in the same run"
    return _figure(f"Batch {batch}", meaning, sample, text,
                   lambda line: line.latency[batch].median if batch in line.latency else None, tip)  # fmt: skip


def _kernels_color(line: Line) -> str:
    if isinstance(line, EndedLine):
        return "clip" if line.status == "failed" else "muted"
    return "" if line.first is None else "good" if line.real else "warn"


SIZE = ", and how many times smaller than the float model's"
RUN, KERNELS, WHY = 0, 1, 2
"""Of a run without a result the last of these goes across all that follow."""


def columns_of(runs: dict[Hashable, int]) -> tuple[Column[Line], ...]:
    """The columns, the first of which keeps the lines of a run together: `runs` says which run a line is of."""
    return (
        Column("Run", "The model and how it was quantized", "Weight only · int4 channel:0 mse · gptq",
               lambda line: line.title, lambda line: -runs[line.key], right=False, tip=lambda line: line.about,
               bold=lambda line: isinstance(line, RunLine) and line.first is None),
        Column("Kernels", "REAL: computed in the stored type. SIMULATED: float stands in; speed is not real.",
               "REAL int8 (x86) ", lambda line: line.kernels if isinstance(line, RunLine) else line.status,
               lambda line: line.kernels if isinstance(line, RunLine) else None, right=False,
               tip=lambda line: line.kernels if isinstance(line, RunLine) else line.why or line.status,
               color=_kernels_color),
        _figure("Top-1", "Share of test samples whose first guess is right", "100.00 % ",
                lambda line: numbers.percent(line.top1), lambda line: line.top1, _of_samples),
        _figure("95 % interval", "Wilson's interval: it holds the true share with 95 % confidence", "98.3 – 99.3 % ",
                lambda line: numbers.interval(line.top1_ci95), lambda line: line.top1_ci95, _of_samples),
        _figure("n", "Test samples", "20,000 ", lambda line: numbers.count(line.n), lambda line: line.n),
        _figure("Flips", "Predictions that differ from the float model's", "Flips ↓ ",
                lambda line: numbers.count(line.flips) if line.first else NONE,
                lambda line: line.flips if line.first else None),
        _figure("Theoretical", f"Codes, scales, zero points, biases and buffers, packed{SIZE}", "888.88 kB  88.8× ",
                _theoretical, lambda line: line.bytes_theoretical),
        _figure("On disk", f"Bytes of the saved file{SIZE}; a simulation's holds floats", "888.88 kB  8.8× ",
                _on_disk, lambda line: line.bytes_on_disk),
        _latency("1", "114.73 ms  2.5× "),
        _latency("64", "714.73 ms  2.5× "),
        _figure("Top-5", "Share of test samples whose label is among the first five guesses", "100.00 % ",
                lambda line: numbers.percent(line.top5), lambda line: line.top5,
                lambda line: f"{numbers.percent(line.top5)} of {numbers.count(line.n)} test samples"),
        Column("Note", "Anything unexpected", "Timed fused ",
               lambda line: line.note if isinstance(line, RunLine) else line.why,
               lambda line: line.note if isinstance(line, RunLine) else None, right=False),
    )  # fmt: skip


class RunDelegate(LineDelegate):
    """A hairline above each run."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        table = self.parent()
        if isinstance(table, RunsTable) and table.by_run and index.row() and index.data(LINE).first is None:
            painter.setPen(QPen(option.palette.color(QPalette.ColorRole.Mid), 1))
            painter.drawLine(option.rect.topLeft(), option.rect.topRight())


class RunsTable(Table[Line]):
    """Value in: lines of all runs, newest run first, the float model of each on top; signal out: the keys of those that
    are selected. Ctrl+C copies the whole table.
    """

    chosen = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Results of runs", columns_of({}), lambda line: line.key, parent)
        self.setItemDelegate(RunDelegate(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.selectionModel().selectionChanged.connect(self._on_selected)
        header = self.horizontalHeader()
        header.setStretchLastSection(True)
        header.setSortIndicator(RUN, DESCENDING)
        self.setSortingEnabled(True)
        self.lines.layoutChanged.connect(self._span)

    @property
    def by_run(self) -> bool:
        """Whether the lines of a run stand together."""
        return self.horizontalHeader().sortIndicatorSection() == RUN

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show other lines; those that are selected stay so, without a signal."""
        numbered = zip(lines, accumulate(line.first is None for line in lines), strict=True)
        blocked = self.blockSignals(True)
        columns = columns_of({line.key: run for line, run in numbered})
        why = replace(columns[WHY], text=lambda line: columns[WHY if isinstance(line, RunLine) else -1].text(line),
                      left=lambda line: isinstance(line, EndedLine))  # fmt: skip
        self.show_columns([*columns[:WHY], why, *columns[WHY + 1 :]], copied=columns)
        self.lines.show_lines(lines)
        self._span()
        self.blockSignals(blocked)

    def show_chosen(self, keys: Sequence[Hashable]) -> None:
        """Select the lines of these keys alone, without a signal, and bring the first into sight."""
        rows = sorted(row for row in map(self.lines.row_of, keys) if row >= 0)
        if rows == sorted(index.row() for index in self.selectionModel().selectedRows()):
            return
        blocked = self.blockSignals(True)
        self.select_keys(keys)
        if rows:
            first = self.lines.index(rows[0], 0)
            self.selectionModel().setCurrentIndex(first, QItemSelectionModel.SelectionFlag.NoUpdate)
            self.scrollTo(first)
        self.blockSignals(blocked)

    @property
    def chosen_keys(self) -> tuple[Hashable, ...]:
        """The keys of the selected lines, from top to bottom."""
        return tuple(line.key for line in self.selected_lines)

    def _span(self) -> None:
        """Why a run has no result goes across the columns of figures."""
        self.clearSpans()
        columns = self.lines.columnCount()
        for row, line in enumerate(self.lines.shown):
            if isinstance(line, EndedLine):
                self.setSpan(row, WHY, 1, columns - WHY)

    def _on_selected(self) -> None:
        self.chosen.emit(self.chosen_keys)
