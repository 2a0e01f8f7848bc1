"""The tensors of a checkpoint as a model of layers and their tensors, and the filter over it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtWidgets import QWidget

from qexplorer import numbers
from qexplorer.quant.flags import NO_FLAGS, Flags
from qexplorer.text import natural, plain
from qexplorer.widgets.filter_field import fitting, marks_of
from qexplorer.widgets.views import RIGHT, Index

COLUMNS = ("Tensor", "Shape", "Type", "Values", "SQNR")
HELPS = ("Name in the file", "Shape", "Stored type", "Number of values", "SQNR in dB under the current scheme")
NAME, SHAPE, TYPE, VALUES, SQNR = range(5)
SORT = Qt.ItemDataRole.UserRole
WEIGHS, MARK, LOST = SORT + 1, SORT + 2, SORT + 3
"""Whether it is a weight, or has one; and what spoils its figure."""


@dataclass(frozen=True)
class TensorRow:
    """What the tree shows of a tensor; `shown` is its name made safe for the screen, `note` why it cannot be read. Its
    `role` comes with the `reason` for it; those that do not `weigh` stand back. `kind` says which axis is the output's.
    """

    name: str
    shown: str
    shape: tuple[int, ...]
    dtype: str
    n: int
    note: str = ""
    role: str = "weight"
    reason: str = ""
    weighs: bool = True
    kind: str = ""


@dataclass(eq=False)
class _Node:
    label: str
    parent: "_Node | None"
    at: int = 0
    row: TensorRow | None = None
    folded: bool = True
    children: list["_Node"] = field(default_factory=list)

    @cached_property
    def order(self) -> "tuple[tuple[int, str], ...]":
        """The key of its label, computed once: sorting asks for it a million times."""
        return natural(self.label)


class TensorModel(QAbstractItemModel):
    """Two levels: the layers, and the tensors of each."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._root = _Node("", None, folded=False)
        self._leaves: dict[str, _Node] = {}
        self._sqnr: dict[str, float] = {}
        self._lost: set[str] = set()
        self._flags: dict[str, Flags] = {}
        self.rows: list[TensorRow] = []

    def show_tensors(self, rows: Iterable[TensorRow]) -> None:
        """Show other tensors."""
        self.beginResetModel()
        self._sqnr.clear()
        self._lost.clear()
        self._flags.clear()
        self._leaves.clear()
        self._root, self.rows = _Node("", None, folded=False), list(rows)
        groups: dict[str, _Node] = {}
        for row in self.rows:
            group, label = split(row.shown)
            if group not in groups:
                groups[group] = _Node(group, self._root)
                self._root.children.append(groups[group])
            leaf = _Node(label, groups[group], len(groups[group].children), row)
            groups[group].children.append(leaf)
            self._leaves[row.name] = leaf
        _lift(self._root)
        self.endResetModel()

    def show_sqnr(self, name: str, db: float) -> None:
        """Show the SQNR of a tensor."""
        if name in self._leaves:
            self._sqnr[name] = db
            self._lost.discard(name)
            self._changed(name)

    def show_lost(self, name: str) -> None:
        """Show that next to nothing is left of a tensor, whatever its SQNR."""
        if name in self._leaves:
            self._lost.add(name)
            self._changed(name)

    def show_flags(self, name: str, flags: Flags) -> None:
        """Mark a tensor whose values are odd."""
        if name in self._leaves and flags.names:
            self._flags[name] = flags
            self._changed(name)

    def flags_of(self, name: str) -> Flags:
        """What is known to be odd about a tensor."""
        return self._flags.get(name, NO_FLAGS)

    def marks_of(self, row: TensorRow) -> frozenset[str]:
        """What a filter can ask for."""
        return marks_of(row.role, self.flags_of(row.name), weighs=row.weighs)

    def _changed(self, name: str) -> None:
        index = self.index_of(name).siblingAtColumn(SQNR)
        self.dataChanged.emit(index, index)
        group = index.parent().siblingAtColumn(SQNR)
        if group.isValid():
            self.dataChanged.emit(group, group)

    def clear_sqnr(self) -> None:
        """Forget every SQNR."""
        names = list(self._sqnr)
        self._sqnr.clear()
        self._lost.clear()
        for name in names:
            self._changed(name)

    def index_of(self, name: str) -> QModelIndex:
        """The first cell of a tensor's row; invalid where there is no such tensor."""
        node = self._leaves.get(name)
        return self.createIndex(node.at, 0, node) if node else QModelIndex()

    def node(self, index: Index) -> _Node:
        """The node behind an index."""
        return index.internalPointer() if index.isValid() else self._root

    def sqnr(self, name: str) -> float | None:
        """The SQNR of a tensor in dB, where it is known."""
        return self._sqnr.get(name)

    def index(self, row: int, column: int, parent: Index = QModelIndex()) -> QModelIndex:  # noqa: B008
        children = self.node(parent).children
        return self.createIndex(row, column, children[row]) if 0 <= row < len(children) else QModelIndex()

    def parent(self, index: Index = QModelIndex()) -> QModelIndex:  # noqa: B008  # pyright: ignore[reportIncompatibleMethodOverride]
        above = self.node(index).parent if index.isValid() else None
        return QModelIndex() if above is None or above is self._root else self.createIndex(above.at, 0, above)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.column() > 0 else len(self.node(parent).children)

    def canFetchMore(self, parent: Index) -> bool:
        """A layer's tensors are all there; saying that more may come keeps Qt from sorting them before it is opened."""
        return self.node(parent).folded and bool(self.node(parent).children)

    def fetchMore(self, parent: Index) -> None:
        self.node(parent).folded = False

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return HELPS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        node = self.node(index)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(node, index.column())
        if role == SORT:
            return self.key(node, index.column())
        if role == Qt.ItemDataRole.ToolTipRole and node.row:
            row = node.row
            what = f"Role: {row.role}. {row.reason}" if row.reason else ""
            notes = (row.note, what, row.kind, self.flags_of(row.name).text)
            lines = (row.shown, numbers.tensor(row.shape, row.dtype, row.n), *notes)
            return plain("\n".join(filter(None, lines)))
        if role == WEIGHS:
            return any(row.weighs for row in _rows(node))
        if role == MARK:
            return self._mark(node)
        if role == LOST:
            return any(row.name in self._lost for row in _rows(node))
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() == VALUES:
            return RIGHT
        return None

    def _mark(self, node: _Node) -> str:
        """What spoils the figure of a tensor, or of one of a layer's: NaN anywhere, zeros where they should weigh."""
        for row in _rows(node):
            flags = self._flags.get(row.name)
            if flags is not None and (flags.broken or row.weighs) and flags.mark:
                return flags.mark
        return ""

    def _worst(self, node: _Node) -> float | None:
        """A tensor's SQNR, or that of a layer's worst weight; `None` while it is not known."""
        rows = [row for row in _rows(node) if row.weighs] or _rows(node)
        known = [self._sqnr.get(row.name) for row in rows]
        return min((db for db in known if db is not None and not math.isnan(db)), default=None)

    def _text(self, node: _Node, column: int) -> str:
        if column == NAME:
            return node.label
        if column == SQNR:
            db, mark = self._worst(node), self._mark(node)
            return mark or ("" if db is None else numbers.decibels(db, 1))
        if column == VALUES:
            return numbers.many(sum(row.n for row in _rows(node)))
        return "" if node.row is None else (numbers.shape(node.row.shape), node.row.dtype)[column - SHAPE]

    def key(self, node: _Node, column: int) -> Any:
        """What a column sorts by; a layer stands for the sum, or the worst, of its tensors."""
        if column == NAME:
            return natural(node.label)
        if column == SQNR:
            db, tier = self._worst(node), 0 if self._mark(node) else 1 if any(r.weighs for r in _rows(node)) else 2
            return tier, math.inf if db is None else db
        if column == TYPE:
            return (_rows(node)[0].dtype,)
        return (sum(row.n for row in _rows(node)),)


def _rows(node: _Node) -> list[TensorRow]:
    return [node.row] if node.row else [child.row for child in node.children if child.row]


def split(name: str) -> tuple[str, str]:
    """A name's group, up to its first number (`model.layers.3`) or its last dot, and the rest."""
    parts = name.split(".")
    if "" in parts:
        return name, name
    for i, part in enumerate(parts[:-1], 1):
        if part.isdecimal():
            return ".".join(parts[:i]), ".".join(parts[i:])
    return (".".join(parts[:-1]), parts[-1]) if len(parts) > 1 else (name, name)


def _lift(root: _Node) -> None:
    """Put a tensor that is alone in its group in the group's place, and number the groups."""
    for i, group in enumerate(root.children):
        if len(group.children) == 1:
            only = root.children[i] = group.children[0]
            only.label = only.row.shown if only.row else group.label
            only.parent = root
        root.children[i].at = i


class TensorFilter(QSortFilterProxyModel):
    """The tensors that fit, and the layers that have one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fits: Callable[[TensorRow], bool] | None = None
        self.setRecursiveFilteringEnabled(True)
        self.setSortRole(SORT)

    def show_filter(self, text: str) -> None:
        """Show only the tensors that fit the words."""
        self.beginFilterChange()
        model = self._model()
        self._fits = fitting(text, lambda row: model.sqnr(row.name), model.marks_of)
        self.endFilterChange(QSortFilterProxyModel.Direction.Rows)

    @property
    def tensors_left(self) -> int:
        """How many tensors the filter lets through; asking Qt would sort every layer."""
        rows = self._model().rows
        return sum(map(self._fits, rows)) if self._fits else len(rows)

    def _model(self) -> TensorModel:
        model = self.sourceModel()
        assert isinstance(model, TensorModel)  # noqa: S101
        return model

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:
        node = self._model().node(parent).children[row]
        return self._fits is None or (node.row is not None and self._fits(node.row))

    def lessThan(self, left: Index, right: Index) -> bool:
        column, a, b = left.column(), left.internalPointer(), right.internalPointer()
        if column == NAME:  # asked a million times for a hundred thousand rows
            return a.order < b.order
        key = self._model().key
        return key(a, column) < key(b, column)
