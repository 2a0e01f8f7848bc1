"""The result table: of each run the float model and, beside it, what became of it; or why it has no result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

from PySide6.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeySequence, QPainter, QPalette, QPen
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStyleOptionViewItem, QTableView, QWidget

from qexplorer.widgets import numbers
from qexplorer.widgets.theme import LIGHT, Theme, scaled
from qexplorer.widgets.views import RowDelegate, calm, dress

Index = QModelIndex | QPersistentModelIndex
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
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

    key: object
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

    key: object
    title: str
    about: str
    status: str
    why: str
    first: ClassVar[None] = None


Line = RunLine | EndedLine


@dataclass(frozen=True)
class Column:
    """A column: its title, what it means, how wide it is in characters, and what it says of a line and sorts it by."""

    title: str
    meaning: str
    sample: str
    text: Callable[[RunLine], str]
    rank: Callable[[RunLine], Any]
    right: bool = True


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


def _latency(line: RunLine, batch: str) -> str:
    own = line.latency.get(batch)
    if own is None:
        return "–"
    before = line.first.latency.get(batch) if line.first else None
    return f"{own.median:.2f} ms" + _against(own.median, before.median if before else None)


def _median(line: RunLine, batch: str) -> float | None:
    return line.latency[batch].median if batch in line.latency else None


def _interval(line: RunLine) -> str:
    low, high = line.top1_ci95
    return f"{low * 100:.1f} – {high * 100:.1f} %"


SPEED = "Median time of one batch of {} samples, and the speed-up over the float model in the same run"
SIZE = ", and how many times smaller than the float model's"
COLUMNS = (
    Column("Run", "The model and how it was quantized", "Weight only · int4 channel:0 mse · gptq",
           lambda line: line.title, lambda line: None, right=False),
    Column("Kernels", "REAL: computed in the stored type. SIMULATED: float stands in; speed is not real.",
           "REAL int8 (x86) ", lambda line: line.kernels, lambda line: line.kernels, right=False),
    Column("Top-1", "Share of test samples whose first guess is right", "100.00 % ",
           lambda line: numbers.percent(line.top1), lambda line: line.top1),
    Column("95 % interval", "Wilson's interval: it holds the true share with 95 % confidence", "98.3 – 99.3 % ",
           _interval, lambda line: line.top1_ci95),
    Column("n", "Test samples", "20,000 ", lambda line: numbers.count(line.n), lambda line: line.n),
    Column("Flips", "Predictions that differ from the float model's", "Flips ↓ ",
           lambda line: numbers.count(line.flips) if line.first else "–",
           lambda line: line.flips if line.first else None),
    Column("Theoretical", f"Codes, scales, zero points, biases and buffers, packed{SIZE}", "888.88 kB  88.8× ",
           _theoretical, lambda line: line.bytes_theoretical),
    Column("On disk", f"Bytes of the saved file{SIZE}; a simulation's holds floats", "888.88 kB  8.8× ",
           _on_disk, lambda line: line.bytes_on_disk),
    Column("Batch 1", SPEED.format(1), "114.73 ms  2.5× ", lambda line: _latency(line, "1"),
           lambda line: _median(line, "1")),
    Column("Batch 64", SPEED.format(64), "714.73 ms  2.5× ", lambda line: _latency(line, "64"),
           lambda line: _median(line, "64")),
    Column("Top-5", "Share of test samples whose label is among the first five guesses", "100.00 % ",
           lambda line: numbers.percent(line.top5), lambda line: line.top5),
    Column("Note", "What one might not expect", "Timed fused ",
           lambda line: line.note, lambda line: line.note, right=False),
)  # fmt: skip
RUN, KERNELS, WHY = 0, 1, 2
"""Of a run without a result the last of these goes across all that follow."""


class RunsModel(QAbstractTableModel):
    """Lines of all runs, newest run first, the float model of each on top; or in the order of a column."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: Sequence[Line] = ()
        self.theme = LIGHT
        self._given: Sequence[Line] = ()
        self._order: list[int] = []
        self._sorted = (RUN, DESCENDING)

    @property
    def by_run(self) -> bool:
        """Whether the lines of a run stand together."""
        return self._sorted[0] == RUN

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show other lines, in the order that is in force."""
        self.beginResetModel()
        self._given = tuple(lines)
        self._arrange()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sorted = (column, order)
        self.layoutAboutToBeChanged.emit()
        before, places = self.persistentIndexList(), self._order
        self._arrange()
        after = [self.index(self._order.index(places[index.row()]), index.column()) for index in before]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        column, order = self._sorted
        if column == RUN:
            of_run = list(accumulate(line.first is None for line in self._given))
            self._order = sorted(range(len(of_run)), key=of_run.__getitem__, reverse=order != DESCENDING)
        else:  # what is not known comes last
            ranks = {i: COLUMNS[column].rank(line) for i, line in enumerate(self._given) if isinstance(line, RunLine)}
            known = [i for i, rank in ranks.items() if rank is not None]
            known.sort(key=ranks.__getitem__, reverse=order == DESCENDING)
            self._order = known + [i for i in range(len(self._given)) if ranks.get(i) is None]
        self.lines = [self._given[i] for i in self._order]

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        if role == Qt.ItemDataRole.ToolTipRole:
            return COLUMNS[section].meaning
        if role == Qt.ItemDataRole.TextAlignmentRole and COLUMNS[section].right:
            return RIGHT
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        line, column = self.lines[index.row()], index.column()
        ended = isinstance(line, EndedLine)
        if role == Qt.ItemDataRole.DisplayRole:
            return line.why if ended and column == WHY else _texts(line)[column]
        if role == Qt.ItemDataRole.TextAlignmentRole and COLUMNS[column].right and not ended:
            return RIGHT
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tooltip(line, column)
        if role == Qt.ItemDataRole.ForegroundRole and column == KERNELS:
            return self._color(line)
        if role == Qt.ItemDataRole.FontRole and line.first is None and not ended and column == RUN:
            return scaled(1.0, bold=True)
        return None

    def _color(self, line: Line) -> Any:
        if isinstance(line, EndedLine):
            return self.theme.color("clip" if line.status == "failed" else "muted")
        return None if line.first is None else self.theme.color("good" if line.real else "warn")


def _texts(line: Line) -> tuple[str, ...]:
    if isinstance(line, EndedLine):
        return (line.title, line.status, *[""] * (len(COLUMNS) - 3), line.why)
    return tuple(column.text(line) for column in COLUMNS)


def _tooltip(line: Line, column: int) -> str:
    title, text = COLUMNS[column].title, _texts(line)[column]
    if column == RUN:
        return line.about
    if isinstance(line, EndedLine):
        return line.why or line.status
    if title.startswith("Batch"):
        own = line.latency.get(title.removeprefix("Batch "))
        span = f", 5th to 95th percentile {own.p05:.2f} to {own.p95:.2f} ms" if own else ""
        return f"median {own.median:.2f} ms{span}, {line.threads} thread(s)" if own else text
    if title in ("Top-1", "95 % interval"):
        top1, of = numbers.percent(line.top1), numbers.count(line.n)
        return f"{top1} of {of} test samples; with 95 % confidence {_interval(line)}"
    if title == "Top-5":
        return f"{text} of {numbers.count(line.n)} test samples"
    return text


class RunDelegate(RowDelegate):
    """A hairline above each run."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        model, row = index.model(), index.row()
        if isinstance(model, RunsModel) and model.by_run and row and model.lines[row].first is None:
            painter.setPen(QPen(option.palette.color(QPalette.ColorRole.Mid), 1))
            painter.drawLine(option.rect.topLeft(), option.rect.topRight())


class RunsTable(QTableView):
    """Value in: lines; signal out: the keys of those that are selected. Ctrl+C copies the whole table."""

    chosen = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.runs = RunsModel(self)
        self.setModel(self.runs)
        calm(self, "Results of runs")
        self.setItemDelegate(RunDelegate(self))
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.selectionModel().selectionChanged.connect(self._on_selected)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 9)
        header = self.horizontalHeader()
        header.setStretchLastSection(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSortIndicator(RUN, DESCENDING)
        self.setSortingEnabled(True)
        self.runs.layoutChanged.connect(self._span)
        for i, column in enumerate(COLUMNS):
            header.resizeSection(i, self.fontMetrics().horizontalAdvance(column.sample) + 12)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.runs.theme = theme
        dress(self, theme)
        self.viewport().update()

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show other lines; those that are selected stay so."""
        keys, blocked = self.chosen_keys, self.blockSignals(True)
        self.runs.show_lines(lines)
        self._span()
        self.blockSignals(blocked)
        self.show_chosen(keys)

    def show_chosen(self, keys: Sequence[object]) -> None:
        """Select the lines of these keys alone, without a signal, and bring the first into sight."""
        rows = [row for row, line in enumerate(self.runs.lines) if line.key in keys]
        if rows == sorted({index.row() for index in self.selectionModel().selectedRows()}):
            return
        blocked, flag = self.blockSignals(True), QItemSelectionModel.SelectionFlag
        self.clearSelection()
        for row in rows:
            self.selectionModel().select(self.runs.index(row, 0), flag.Select | flag.Rows)
        if rows:
            self.selectionModel().setCurrentIndex(self.runs.index(rows[0], 0), flag.NoUpdate)
            self.scrollTo(self.runs.index(rows[0], 0))
        self.blockSignals(blocked)

    @property
    def chosen_keys(self) -> tuple[object, ...]:
        """The keys of the selected lines, from top to bottom."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return tuple(self.runs.lines[row].key for row in rows)

    def _span(self) -> None:
        """Why a run has no result goes across the columns of figures."""
        self.clearSpans()
        for row, line in enumerate(self.runs.lines):
            if isinstance(line, EndedLine):
                self.setSpan(row, WHY, 1, len(COLUMNS) - WHY)

    def _on_selected(self) -> None:
        self.chosen.emit(self.chosen_keys)

    def as_text(self) -> str:
        """The table as tab-separated text."""
        rows = [[c.title for c in COLUMNS], *(list(_texts(line)) for line in self.runs.lines)]
        return "\n".join("\t".join(row) for row in rows)

    def keyPressEvent(self, event: Any) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.as_text())
        else:
            super().keyPressEvent(event)
