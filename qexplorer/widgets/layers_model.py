"""All tensors of a file with what some specs do to each, as a model of rows, and the filter over it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, Qt
from PySide6.QtWidgets import QWidget

from qexplorer.widgets import numbers
from qexplorer.widgets.tensor_model import Index, TensorFilter, TensorRow, natural
from qexplorer.widgets.theme import LIGHT, scaled

RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
NONE = "–"


class Figures(Protocol):
    """What one spec does to a tensor; where it has a `refusal`, the figures are NaN."""

    @property
    def sqnr_db(self) -> float: ...
    @property
    def relative_rmse(self) -> float: ...
    @property
    def e2(self) -> float: ...
    @property
    def bytes(self) -> float: ...
    @property
    def refusal(self) -> str: ...


@dataclass(frozen=True, eq=False)
class LayerLine(TensorRow):
    """One row; `note` says why it has no figures. A `tied` tensor has its size and its error elsewhere.

    `histogram` counts the values in even bins between `lo` and `hi`.
    """

    bytes: int = 0
    share: float = 0.0
    histogram: Sequence[int] | np.ndarray = ()
    lo: float = math.nan
    hi: float = math.nan
    tied: str = ""
    figures: tuple[Figures, ...] = ()

    @cached_property
    def order(self) -> tuple[tuple[int, str], ...]:
        """The key of its name, computed once."""
        return natural(self.shown)


@dataclass(frozen=True)
class Column:
    """A column: what it is called, what it means, how wide it is in characters, and which spec it is of (or −1)."""

    kind: str
    title: str
    meaning: str
    sample: str
    spec: int = -1


FIXED = (
    Column("name", "Tensor", "Name in the file", "features.12.conv.0.1.running_mean"),
    Column("shape", "Shape", "Shape", "4096×11008 "),
    Column("values", "Values", "Number of values", "409.6 M "),
    Column("dtype", "Type", "Stored type", "bfloat16 "),
    Column("size", "Size", "What the tensor takes in the file", "999.99 MB "),
    Column("share", "Share", "Its share of the bytes of the file", "long bar 100.00 % "),
    Column("histogram", "Histogram", "Its values from the least to the greatest; sorts by how far these are apart",
           "48 bins of it "),
)  # fmt: skip
OF_SPEC = (
    Column("sqnr", "SQNR, dB", "Signal power over error power, 10·log₁₀(Σx²/Σe²); a low one hurts, 6 dB are one bit",
           "A SQNR, dB ↑"),
    Column("error", "Error share", "Its share of the squared error Σe² of all tensors: large tensors and large values "
           "weigh more", "long bar 100.00 % "),
    Column("rmse", "Rel. RMSE", "Relative root mean square error, ‖e‖/‖x‖: how far a value is off, measured by the "
           "values themselves", "A Rel. RMSE ↑ "),
    Column("quantized", "Quantized", "What it takes quantized, with scales and zero points", "999.99 MB  "),
)  # fmt: skip
FIGURES = {"sqnr": "sqnr_db", "error": "e2", "rmse": "relative_rmse", "quantized": "bytes"}


def letter(spec: int) -> str:
    """How the spec of that number is called in the table: A, B, C …"""
    return chr(ord("A") + spec)


class LayersModel(QAbstractTableModel):
    """Rows come in the order of the file and are shown in that of the column that sorts.

    The lines of a scan take the places of those of the scan before; the ones that are not replaced yet are `stale`.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.columns: tuple[Column, ...] = FIXED
        self.theme = LIGHT
        self.current = ""
        self.outdated = False
        self._titles: tuple[str, ...] = ()
        self._lines: list[LayerLine] = []
        self._order: list[int] = []
        self._place: list[int] = []
        self._fresh = 0
        self._totals: tuple[float, ...] = ()
        self._totals_before: tuple[float, ...] = ()
        self._sorted: tuple[int, bool] = (-1, False)

    def restart(self, titles: Sequence[str]) -> None:
        """Expect the lines of another scan of the same file under the specs of these titles."""
        if len(titles) != len(self._titles):
            self.beginResetModel()
            self._titles = tuple(titles)
            columns = [Column(c.kind, f"{letter(i)} {c.title}" if len(titles) > 1 else c.title, c.meaning, c.sample, i)
                       for i in range(len(titles)) for c in OF_SPEC]  # fmt: skip
            self.columns = (*FIXED, *columns)
            self._lines, self._order, self._place = [], [], []
            self.endResetModel()
        self._titles = tuple(titles)
        self._totals_before, self._fresh = self._totals, 0

    def clear(self) -> None:
        """Show nothing."""
        self.beginResetModel()
        self._lines, self._order, self._place, self._fresh = [], [], [], 0
        self._totals = self._totals_before = ()
        self.endResetModel()

    def take(self, lines: Sequence[LayerLine]) -> None:
        """Take in the next lines of the scan."""
        at, old = self._fresh, len(self._lines)
        replaced = lines[: max(old - at, 0)]
        added = lines[len(replaced) :]
        self._lines[at : at + len(replaced)] = replaced
        self._fresh += len(replaced)
        for i in range(at, at + len(replaced)):
            row = self._place[i]
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(self.columns) - 1))
        if added:
            self.beginInsertRows(QModelIndex(), old, old + len(added) - 1)
            self._lines += added
            self._order += range(old, old + len(added))
            self._place += range(old, old + len(added))
            self._fresh += len(added)
            self.endInsertRows()

    def show_totals(self, e2: Sequence[float]) -> None:
        """Know Σe² of all tensors under each spec: what a share of the error is a share of."""
        self._totals = tuple(e2)

    def line(self, row: int) -> LayerLine:
        """What a row shows."""
        return self._lines[self._order[row]]

    def row_of(self, name: str) -> int:
        """The row of a tensor, −1 where there is none."""
        return next((row for row, at in enumerate(self._order) if self._lines[at].name == name), -1)

    def stale(self, row: int) -> bool:
        """Whether the row's figures are of other specs than the chosen ones."""
        return self.outdated or self._order[row] >= self._fresh

    def error_share(self, row: int, spec: int) -> float:
        """Its part of Σe²; NaN where it has none of its own."""
        line = self.line(row)
        totals = self._totals if self._order[row] < self._fresh else self._totals_before
        total = totals[spec] if spec < len(totals) else 0.0
        return line.figures[spec].e2 / total if 0 < total < math.inf and not line.tied else math.nan

    # -- order

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sorted = (column, order == Qt.SortOrder.DescendingOrder)
        self.sort_again()

    def sort_again(self) -> None:
        """Put the rows that came since the last time into their places too."""
        order = self._in_order(*self._sorted)
        if order == self._order:
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        at = [self._order[index.row()] for index in before]
        self._order = order
        self._place = np.argsort(np.asarray(order, np.intp)).tolist()
        self.changePersistentIndexList(
            before, [self.index(self._place[i], index.column()) for i, index in zip(at, before, strict=True)]
        )
        self.layoutChanged.emit()

    def _in_order(self, column: int, descending: bool) -> list[int]:
        lines = self._lines
        if not 0 <= column < len(self.columns):
            return list(range(len(lines)))
        kind, spec = self.columns[column].kind, self.columns[column].spec
        if kind in ("name", "shape", "dtype"):
            keys: list[Any] = [line.order if kind == "name" else getattr(line, kind) for line in lines]
            return sorted(range(len(lines)), key=keys.__getitem__, reverse=descending)
        figures = np.fromiter((_number(line, kind, spec) for line in lines), np.float64, len(lines))
        return np.argsort(-figures if descending else figures, kind="stable").tolist()  # NaN stays last

    # -- what Qt asks

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical or not 0 <= section < len(self.columns):
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.ToolTipRole:
            of = [self._titles[column.spec]] if column.spec >= 0 else []
            return "\n".join([column.meaning, *of, "A right click chooses columns."])
        return RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and _is_number(column) else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = index.row(), self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT if _is_number(column) else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(row, column).replace("<", "‹")
        if role == Qt.ItemDataRole.ForegroundRole and column.spec >= 0 and self.stale(row):
            return self.theme.color("edge")
        if role == Qt.ItemDataRole.FontRole and column.kind == "name" and self.line(row).name == self.current:
            return scaled(1.0, bold=True)
        return None

    def text(self, row: int, column: Column) -> str:
        """What a cell says."""
        line = self.line(row)
        if column.spec < 0:
            return _fact(line, column.kind)
        if column.kind == "error":
            return _or_none(self.error_share(row, column.spec), _share)
        return _or_none(getattr(line.figures[column.spec], FIGURES[column.kind]), WRITTEN[column.kind])

    def bar(self, row: int, column: Column) -> float | None:
        """How full the bar of a cell is, `None` where it has none."""
        if column.kind == "share":
            return self.line(row).share
        return self.error_share(row, column.spec) if column.kind == "error" else None

    def _tip(self, row: int, column: Column) -> str:
        line = self.line(row)
        head = f"{line.shown}\n{numbers.shape(line.shape)} {line.dtype}, {numbers.count(line.n)} values"
        notes = [f"Tied to {line.tied}: its size and its error are counted there."] if line.tied else []
        notes += [line.note] if line.note else []
        if column.spec < 0:
            ends = [] if math.isnan(line.lo) else [f"from {numbers.figure(line.lo)} to {numbers.figure(line.hi)}"]
            return "\n".join([head, *ends, *notes])
        refusal = line.figures[column.spec].refusal
        stale = ["Of the spec before: scan again."] if self.stale(row) else []
        return "\n".join([*stale, *(notes or ([refusal] if refusal else [])), column.meaning])


def _is_number(column: Column) -> bool:
    return column.kind not in ("name", "shape", "dtype", "histogram")


def _number(line: LayerLine, kind: str, spec: int) -> float:
    """What a column of numbers sorts by."""
    if spec >= 0:
        return math.nan if kind == "error" and line.tied else getattr(line.figures[spec], FIGURES[kind])
    if kind == "histogram":
        return line.hi - line.lo
    return {"values": line.n, "size": line.bytes, "share": math.nan if line.tied else line.share}[kind]


def _fact(line: LayerLine, kind: str) -> str:
    if kind == "shape":
        return numbers.shape(line.shape)
    if kind == "share":
        return NONE if line.tied else _share(line.share)
    if kind == "histogram":
        return ""
    facts = {"name": line.shown, "dtype": line.dtype}
    return facts[kind] if kind in facts else numbers.many(line.n) if kind == "values" else numbers.size(line.bytes)


def _share(share: float) -> str:
    """Shares are compared with each other: how small a small one is, is no matter."""
    return "<0.01 %" if 0 < share < 1e-4 else f"{share * 100:.2f} %"


def _decibels(db: float) -> str:
    return f"{db:.2f}".replace("-", numbers.MINUS) if abs(db) < 1e6 else numbers.figure(db)


def _or_none(value: float, write: Any) -> str:
    return NONE if math.isnan(value) else write(value)


WRITTEN = {"sqnr": _decibels, "rmse": numbers.percent, "quantized": numbers.size}
"""How each figure is written."""


class LayersFilter(TensorFilter):
    """The filter of the tensor tree over these rows; the order is the model's, which sorts 300,000 rows in a moment."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRecursiveFilteringEnabled(False)

    @property
    def layers(self) -> LayersModel:
        """The model behind it."""
        model = self.sourceModel()
        assert isinstance(model, LayersModel)  # noqa: S101
        return model

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self.layers.sort(column, order)

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:
        return not self._tests or all(test(self.layers.line(row)) for test in self._tests)

    def _compare(self, row: TensorRow, bound: float, *, above: bool, of_sqnr: bool) -> bool:
        figures = row.figures if isinstance(row, LayerLine) else ()
        value = (figures[0].sqnr_db if figures else math.nan) if of_sqnr else row.n
        return value >= bound if above else value <= bound
