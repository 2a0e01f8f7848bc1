"""The table of observers: where each clips, and what that costs; the best first, those that do not serve at the end."""

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QEvent, QModelIndex, QPersistentModelIndex, QPointF, QRect, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QStyleOptionViewItem, QTableView, QWidget

from qexplorer.quant.survey import ObserverPoint, ObserverSurvey, Refused
from qexplorer.widgets.numbers import figure, percent
from qexplorer.widgets.observer_plot import line_of
from qexplorer.widgets.theme import LIGHT, Theme, scaled
from qexplorer.widgets.views import RowDelegate, calm, dress

Index = QModelIndex | QPersistentModelIndex
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
COLUMNS = (
    ("Observer", "How the range is chosen; its colour is that of its lines", "Histogram · best · in use "),
    ("Lower clip", "The least value that the grid can represent, over all groups", "Lower clip "),
    ("Upper clip", "The greatest value that the grid can represent, over all groups", "Upper clip "),
    ("MSE", "Mean squared error, in the square of the weights' unit", "0.000e−00 "),
    ("SQNR, dB", "Signal power over error power; higher is better", "SQNR, dB "),
    ("Clipped", "Share of the values that lie beyond the clips", "100.00 % "),
)  # fmt: skip
SWATCH = 36
"""Pixels before a name, for a piece of line."""


class ObserversModel(QAbstractTableModel):
    """One row for each observer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.points: tuple[ObserverPoint, ...] = ()
        self.refused: tuple[Refused, ...] = ()
        self.current = ""
        self.theme = LIGHT

    def show_survey(self, survey: ObserverSurvey | None) -> None:
        """Show a result."""
        self.beginResetModel()
        self.points, self.refused = (survey.points, survey.refused) if survey else ((), ())
        self.endResetModel()

    def show_current(self, name: str) -> None:
        """Mark the observer in use."""
        self.current = name
        if self.points:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.points) - 1, 0))

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.points) + len(self.refused)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(COLUMNS)

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemNeverHasChildren
        return flags | Qt.ItemFlag.ItemIsEnabled if index.row() < len(self.points) else Qt.ItemFlag.ItemNeverHasChildren

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section][0]
        if role == Qt.ItemDataRole.ToolTipRole:
            return COLUMNS[section][1]
        return RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and section else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = index.row(), index.column()
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT if column else None
        if row >= len(self.points):
            return self._of_refused(self.refused[row - len(self.points)], column, role)
        point = self.points[row]
        if role == Qt.ItemDataRole.DisplayRole:
            return self.texts(row)[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{point.spec.observer.text}\n{point.spec.observer.help}" if column == 0 else COLUMNS[column][1]
        if role == Qt.ItemDataRole.FontRole and column == 0 and point.spec.observer.name == self.current:
            return scaled(1.0, bold=True)
        if role == Qt.ItemDataRole.ForegroundRole and column == 4 and self.best(row):
            return self.theme.color("good")
        return None

    def _of_refused(self, refused: Refused, column: int, role: int) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            return refused.title if column == 0 else "–"
        return refused.reason if role == Qt.ItemDataRole.ToolTipRole else None

    def best(self, row: int) -> bool:
        """Whether no other observer has a higher SQNR."""
        return self.points[row].sqnr_db == self.points[0].sqnr_db

    def texts(self, row: int) -> tuple[str, ...]:
        """What a row says."""
        point = self.points[row]
        marks = {"best": self.best(row), "in use": point.spec.observer.name == self.current}
        notes = [mark for mark, holds in marks.items() if holds]
        return (
            " · ".join([point.spec.observer.title, *notes]),
            figure(point.lo, 4),
            figure(point.hi, 4),
            figure(point.mse, 4),
            f"{point.sqnr_db:.2f}".replace("-", "−") if abs(point.sqnr_db) < 1e6 else figure(point.sqnr_db),
            percent(point.clipped_fraction),
        )


class SwatchDelegate(RowDelegate):
    """Before the name of an observer a piece of its line."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        if index.column() or not isinstance(model, ObserversModel):
            super().paint(painter, option, index)
            return
        area = QRect(option.rect)
        option.rect = area.adjusted(SWATCH, 0, 0, 0)
        super().paint(painter, option, index)
        option.rect = area
        if index.row() < len(model.points):
            painter.setPen(line_of(model.points[index.row()].spec.observer.name, model.theme, 2.4))
            middle = area.center().y()
            painter.drawLine(QPointF(area.left() + 12, middle), QPointF(area.left() + SWATCH - 2, middle))


class ObserversTable(QTableView):
    """Pointing at a row tells of it; a double click or Enter chooses it."""

    pointed = Signal(str)  # the observer's name, empty for none
    chosen = Signal(object)  # QuantSpec

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.observers = ObserversModel(self)
        self.setModel(self.observers)
        calm(self, "Observers, the best first")
        self.setItemDelegate(SwatchDelegate(self))
        self.setTabKeyNavigation(False)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 5)
        header = self.horizontalHeader()
        header.setSectionsClickable(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(False)
        for i, (_, _, sample) in enumerate(COLUMNS):
            header.resizeSection(i, self.fontMetrics().horizontalAdvance(sample) + (SWATCH if i == 0 else 14))
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.entered.connect(self._on_entered)
        self.doubleClicked.connect(self._on_double_clicked)
        self.selectionModel().currentRowChanged.connect(self._on_current)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.observers.theme = theme
        dress(self, theme)
        self.viewport().update()

    def show_survey(self, survey: ObserverSurvey | None) -> None:
        """Show a result; the row that was selected stays so."""
        before = self.selected
        self.observers.show_survey(survey)
        row = self._row(before.observer.name if before else "")
        if row >= 0:
            self.selectRow(row)

    def _row(self, name: str) -> int:
        names = [point.spec.observer.name for point in self.observers.points]
        return names.index(name) if name in names else -1

    @property
    def selected(self) -> Any:
        """The spec of the selected row, or `None`."""
        rows = self.selectionModel().selectedRows()
        points = self.observers.points
        return points[rows[0].row()].spec if rows and rows[0].row() < len(points) else None

    def _name_at(self, index: Index) -> str:
        points = self.observers.points
        return points[index.row()].spec.observer.name if 0 <= index.row() < len(points) else ""

    def _on_entered(self, index: QModelIndex) -> None:
        self.pointed.emit(self._name_at(index))

    def _on_current(self, current: QModelIndex, previous: QModelIndex) -> None:
        del previous
        self.pointed.emit(self._name_at(current))

    def _on_double_clicked(self, index: QModelIndex) -> None:
        self._choose(index.row())

    def _choose(self, row: int) -> None:
        if 0 <= row < len(self.observers.points):
            self.chosen.emit(self.observers.points[row].spec)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.pointed.emit(self._name_at(self.currentIndex()) if self.hasFocus() else "")

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)
        self.pointed.emit("")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.currentIndex().row())
        else:
            super().keyPressEvent(event)
