"""The runs of a study: what each differs in, how far it is, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtWidgets import QHeaderView, QTableView, QWidget

from qexplorer.widgets import numbers
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import RowDelegate, calm, dress

Index = QModelIndex | QPersistentModelIndex
TITLES = ("Run", "Status", "Top-1", "95 % interval", "Theoretical", "Seconds", "Remark")
HELPS = {4: "The size of all numbers of the model in their formats; what its file takes stands in Runs"}
SAMPLES = ("mobilenet_v2_digits, int4 channel:0 mse, fold", "running 100 %", "100.00 % ", "98.3 – 99.3 % ", "2.35 MB ",
           "1,000.0 ")  # fmt: skip
"""How wide the columns are; the last takes what is left."""


@dataclass(frozen=True)
class CellLine:
    """One run of a study. `share` is how far a running one is; accuracy and size are those of its last model."""

    label: str
    status: str
    share: float
    top1: float | None = None
    top1_ci95: tuple[float, float] | None = None
    bytes_theoretical: int | None = None
    seconds: float | None = None
    remark: str = ""


class CellsModel(QAbstractTableModel):
    """Lines in the order of the grid."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: tuple[CellLine, ...] = ()

    def show_lines(self, lines: Sequence[CellLine]) -> None:
        """Show other lines; as many as before are changed in place."""
        if len(lines) != len(self.lines):
            self.beginResetModel()
            self.lines = tuple(lines)
            self.endResetModel()
            return
        self.lines = tuple(lines)
        if lines:
            self.dataChanged.emit(self.index(0, 0), self.index(len(lines) - 1, len(TITLES) - 1))

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(TITLES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return TITLES[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return HELPS.get(section)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        text = texts_of(self.lines[index.row()])[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return text
        if role == Qt.ItemDataRole.TextAlignmentRole and 2 <= index.column() <= 5:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None


def texts_of(line: CellLine) -> tuple[str, ...]:
    """The cells of a line."""
    low, high = line.top1_ci95 or (0.0, 0.0)
    return (
        line.label,
        f"{line.status} {line.share * 100:.0f} %" if line.status == "running" else line.status,
        "–" if line.top1 is None else numbers.percent(line.top1),
        "–" if line.top1_ci95 is None else f"{low * 100:.1f} – {high * 100:.1f} %",
        "–" if line.bytes_theoretical is None else numbers.size(line.bytes_theoretical),
        "–" if line.seconds is None else f"{line.seconds:.1f}",
        line.remark,
    )


class CellsTable(QTableView):
    """Value in: lines; signal out: which one was pressed, by mouse or with Return."""

    row_pressed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cells = CellsModel(self)
        self.setModel(self.cells)
        calm(self, "Runs of the study")
        self.setItemDelegate(RowDelegate(self))
        self.setTabKeyNavigation(False)
        for signal in (self.clicked, self.activated):
            signal.connect(self._on_pressed)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 9)
        header = self.horizontalHeader()
        header.setStretchLastSection(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for i, sample in enumerate(SAMPLES):
            widest = max(self.fontMetrics().horizontalAdvance(text) for text in (sample, TITLES[i]))
            header.resizeSection(i, widest + 16)

    def _on_pressed(self, index: QModelIndex) -> None:
        self.row_pressed.emit(index.row())

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        dress(self, theme)
        self.viewport().update()

    def show_lines(self, lines: Sequence[CellLine]) -> None:
        """Show other lines."""
        self.cells.show_lines(lines)
