"""The runs of a study: what each differs in, how far it is, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from qexplorer import numbers
from qexplorer.widgets.lines import NONE, Column
from qexplorer.widgets.table import Table


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


COLUMNS: tuple[Column[CellLine], ...] = (
    Column("Run", "What it differs in from the other runs of the study",
           "mobilenet_v2_digits, int4 channel:0 mse, fold", lambda line: line.label, right=False),
    Column("Status", "How far it is", "running 100 %",
           lambda line: f"{line.status} {line.share * 100:.0f} %" if line.status == "running" else line.status,
           right=False),
    Column("Top-1", "Share of test samples whose first guess is right", "100.00 % ",
           lambda line: NONE if line.top1 is None else numbers.percent(line.top1)),
    Column("95 % interval", "Wilson's interval: it holds the true share with 95 % confidence", "98.3 – 99.3 % ",
           lambda line: NONE if line.top1_ci95 is None else numbers.interval(line.top1_ci95)),
    Column("Theoretical", "The size of all numbers of the model in their formats; what its file takes stands in Runs",
           "Theoretical",
           lambda line: NONE if line.bytes_theoretical is None else numbers.size(line.bytes_theoretical)),
    Column("Seconds", "How long it took", "1,000.0 ",
           lambda line: NONE if line.seconds is None else f"{line.seconds:.1f}"),
    Column("Remark", "What it is doing, or why it failed", "Measuring accuracy", lambda line: line.remark, right=False),
)  # fmt: skip


class CellsTable(Table[CellLine]):
    """Value in: lines in the order of the grid; signal out: which one was pressed, by mouse or with Return."""

    row_pressed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Runs of the study", COLUMNS, lambda line: line.label, parent, one_click=True, slack=16)
        self.horizontalHeader().setStretchLastSection(True)
        self.opened.connect(self._on_line)

    def _on_line(self) -> None:
        self.row_pressed.emit(self.currentIndex().row())

    def show_lines(self, lines: Sequence[CellLine]) -> None:
        """Show other lines."""
        self.lines.show_lines(lines)
