"""The result table: of each run the float model and, beside it, what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeySequence, QPainter, QPalette, QPen
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStyleOptionViewItem, QTableView, QWidget

from qexplorer.widgets import numbers
from qexplorer.widgets.theme import LIGHT, Theme, scaled
from qexplorer.widgets.views import RowDelegate, calm, dress

Index = QModelIndex | QPersistentModelIndex
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


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
class Column:
    """A column: its title, what it means, and how wide it is in characters."""

    title: str
    meaning: str
    sample: str


SPEED = "Median time of one batch of {} samples, and the speed-up over the float model in the same run"
COLUMNS = (
    Column("Run", "The model and how it was quantized", "PTQ static · PyTorch default"),
    Column(
        "Kernels",
        "REAL: computed in the stored type. SIMULATED: float stands in; speed is not real.",
        "REAL int8 (x86) ",
    ),
    Column("Top-1", "Share of test samples whose first guess is right", "100.00 % "),
    Column("95 % interval", "Wilson's interval: it holds the true share with 95 % confidence", "98.3 – 99.3 % "),
    Column("Top-5", "Share of test samples whose label is among the first five guesses", "100.00 % "),
    Column("Flips", "Predictions that differ from the float model's", "Flips "),
    Column("On disk", "Bytes of the saved file, and how many times smaller it is", "2.35 MB  3.9× "),
    Column("Batch 1", SPEED.format(1), "14.73 ms  2.5× "),
    Column("Batch 64", SPEED.format(64), "114.73 ms  2.5× "),
    Column("Theoretical", "Codes, scales, zero points, biases and buffers, packed", "Theoretical "),
    Column("Note", "What one might not expect", "Timed fused and channels-last "),
)


class RunsModel(QAbstractTableModel):
    """Lines of all runs, newest run first, the float model of each on top."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: Sequence[RunLine] = ()
        self.theme = LIGHT

    def show_lines(self, lines: Sequence[RunLine]) -> None:
        """Show other lines."""
        self.beginResetModel()
        self.lines = tuple(lines)
        self.endResetModel()

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
        if role == Qt.ItemDataRole.TextAlignmentRole and 2 <= section <= 9:
            return RIGHT
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        line = self.lines[index.row()]
        column = index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _texts(line)[column]
        if role == Qt.ItemDataRole.TextAlignmentRole and 2 <= column <= 9:
            return RIGHT
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tooltip(line, column)
        if role == Qt.ItemDataRole.ForegroundRole and column == 1 and line.first is not None:
            return self.theme.color("good" if line.real else "warn")
        if role == Qt.ItemDataRole.FontRole and line.first is None and column == 0:
            return scaled(1.0, bold=True)
        return None


def _texts(line: RunLine) -> tuple[str, ...]:
    low, high = line.top1_ci95
    smaller = f"  {line.first.bytes_on_disk / line.bytes_on_disk:.1f}×" if line.first else ""
    return (
        line.title,
        line.kernels,
        numbers.percent(line.top1),
        f"{low * 100:.1f} – {high * 100:.1f} %",
        numbers.percent(line.top5),
        numbers.count(line.flips) if line.first else "–",
        numbers.size(line.bytes_on_disk) + smaller,
        _latency(line, "1"),
        _latency(line, "64"),
        numbers.size(line.bytes_theoretical),
        line.note,
    )


def _latency(line: RunLine, batch: str) -> str:
    own = line.latency.get(batch)
    if own is None:
        return "–"
    before = line.first.latency.get(batch) if line.first else None
    return f"{own.median:.2f} ms" + (f"  {before.median / own.median:.1f}×" if before else "")


def _tooltip(line: RunLine, column: int) -> str:
    texts = _texts(line)
    if column in (7, 8):
        own = line.latency.get("1" if column == 7 else "64")
        if own:
            span = f"5th to 95th percentile {own.p05:.2f} to {own.p95:.2f} ms"
            return f"median {own.median:.2f} ms, {span}, {line.threads} thread(s)"
    if column == 0:
        return line.about
    if column in (2, 3):
        return f"{texts[2]} of {numbers.count(line.n)} test samples; with 95 % confidence {texts[3]}"
    if column == 4:
        return f"{texts[4]} of {numbers.count(line.n)} test samples"
    return texts[column]


class RunDelegate(RowDelegate):
    """A hairline above each run."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        model = index.model()
        if isinstance(model, RunsModel) and model.lines[index.row()].first is None and index.row():
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
        for i, column in enumerate(COLUMNS):
            header.resizeSection(i, self.fontMetrics().horizontalAdvance(column.sample) + 12)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.runs.theme = theme
        dress(self, theme)
        self.viewport().update()

    def show_lines(self, lines: Sequence[RunLine]) -> None:
        """Show other lines."""
        keys = self.chosen_keys
        blocked = self.blockSignals(True)
        self.runs.show_lines(lines)
        self._select(keys)
        self.blockSignals(blocked)

    @property
    def chosen_keys(self) -> tuple[object, ...]:
        """The keys of the selected lines, from top to bottom."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return tuple(self.runs.lines[row].key for row in rows)

    def _select(self, keys: Sequence[object]) -> None:
        model = self.selectionModel()
        for row, line in enumerate(self.runs.lines):
            if line.key in keys:
                flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
                model.select(self.runs.index(row, 0), flags)

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
