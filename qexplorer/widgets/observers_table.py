"""The table of observers: where each clips, and what that costs; the best first once all are measured, those that do
not serve at the end.
"""

import math
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QEvent, QModelIndex, QPointF, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QHeaderView, QStyleOptionViewItem, QWidget

from qexplorer.numbers import bounded_decibels, figure, percent
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.survey import ObserverPoint, ObserverSurvey, Refused
from qexplorer.widgets.lines import NONE, Column
from qexplorer.widgets.observer_plot import line_of
from qexplorer.widgets.table import Table
from qexplorer.widgets.theme import Theme

Line = ObserverPoint | Refused
PENDING = "…"
"""What stands for a figure that is not measured yet."""
SWATCH = 36
"""Pixels before a name, for a piece of line."""


def name_of(line: Line | None) -> str:
    """An observer's name; empty where it does not serve."""
    return line.spec.observer.name if isinstance(line, ObserverPoint) else ""


def paint_swatch(painter: QPainter, option: QStyleOptionViewItem, line: Line, theme: Theme) -> None:
    """Draw a piece of the observer's line before its name."""
    if isinstance(line, ObserverPoint):
        painter.setPen(line_of(name_of(line), theme, 2.4))
        left, middle = option.rect.left(), option.rect.center().y()
        painter.drawLine(QPointF(left + 12, middle), QPointF(left + SWATCH - 2, middle))


def _figure(title: str, meaning: str, sample: str, text: Callable[[ObserverPoint], str],
            color: Callable[[Line], str] | None = None) -> Column[Line]:  # fmt: skip
    """A column of what only an observer that serves has."""
    return Column(title, meaning, sample, lambda line: text(line) if isinstance(line, ObserverPoint) else NONE,
                  tip=lambda line: line.reason if isinstance(line, Refused) else meaning, color=color)  # fmt: skip


def _known(x: float, text: Callable[[float], str]) -> str:
    return PENDING if math.isnan(x) else text(x)


def _mse(point: ObserverPoint) -> str:
    return _known(point.mse, lambda x: figure(x, 4 if point.coverage == "exact" else 2))


def _sqnr(point: ObserverPoint) -> str:
    return _known(point.sqnr_db, lambda x: bounded_decibels(x, point.bounds.get("sqnr_db")))


def columns_of(current: str, best_db: float) -> tuple[Column[Line], ...]:
    """The columns; the observer in use and the best one, by its SQNR, are marked."""

    def is_best(line: Line) -> bool:
        return isinstance(line, ObserverPoint) and line.sqnr_db == best_db

    def title(line: Line) -> str:
        if isinstance(line, Refused):
            return line.title
        marks = {"best": is_best(line), "in use": name_of(line) == current}
        return " · ".join([line.spec.observer.title, *(mark for mark, holds in marks.items() if holds)])

    def about(line: Line) -> str:
        if isinstance(line, Refused):
            return line.reason
        return f"{line.spec.observer.text}\n{line.spec.observer.help}"

    return (
        Column("Observer", "How the range is chosen; its colour is that of its lines", "Histogram · best · in use ",
               title, right=False, tip=about, bold=lambda line: name_of(line) == current != "", paint=paint_swatch,
               indent=SWATCH),
        _figure("Lower clip", "The least value that the grid can represent, over all groups", "Lower clip ",
                lambda point: _known(point.lo, lambda x: figure(x, 4))),
        _figure("Upper clip", "The greatest value that the grid can represent, over all groups", "Upper clip ",
                lambda point: _known(point.hi, lambda x: figure(x, 4))),
        _figure("MSE", "Mean squared error, in the square of the weights' unit", "0.000e−00 ",
                _mse),
        _figure("SQNR, dB", "Signal power over error power; higher is better", "18.0 ± 0.4 ",
                _sqnr, lambda line: "good" if is_best(line) else ""),
        _figure("Clipped", "Share of the values that lie beyond the clips", "100.00 % ",
                lambda point: _known(point.clipped_fraction, percent)),
    )  # fmt: skip


class ObserversTable(Table[Line]):
    """Pointing at a row tells of it; a double click or Enter chooses it."""

    pointed = Signal(str)  # the observer's name, empty for none
    chosen = Signal(object)  # QuantSpec

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Observers, the best first", columns_of("", 0.0), lambda line: name_of(line) or line, parent,
                         enabled=lambda line: isinstance(line, ObserverPoint), height=5, slack=14)  # fmt: skip
        self._current, self._best_db = "", 0.0
        self.setMouseTracking(True)
        header = self.horizontalHeader()
        header.setSectionsClickable(False)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.entered.connect(self._on_entered)
        self.opened.connect(self._on_line)
        self.selectionModel().currentRowChanged.connect(self._on_current)

    def show_survey(self, survey: ObserverSurvey | None) -> None:
        """Show a result; the row that was selected stays so."""
        points, refused = (survey.points, survey.refused) if survey else ((), ())
        self._best_db = points[0].sqnr_db if points and survey and survey.coverage == "exact" else math.nan
        self.show_columns(columns_of(self._current, self._best_db))
        self.lines.show_lines((*points, *refused))

    def show_current(self, name: str) -> None:
        """Mark the observer in use."""
        self._current = name
        self.show_columns(columns_of(name, self._best_db))

    @property
    def selected(self) -> QuantSpec | None:
        """The spec of the selected row, or `None`."""
        return next((line.spec for line in self.selected_lines if isinstance(line, ObserverPoint)), None)

    def _on_entered(self, index: QModelIndex) -> None:
        self.pointed.emit(name_of(self.line_at(index)))

    def _on_current(self, current: QModelIndex) -> None:
        self._on_entered(current)

    def _on_line(self, line: ObserverPoint) -> None:
        self.chosen.emit(line.spec)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.pointed.emit(name_of(self.line_at(self.currentIndex())) if self.hasFocus() else "")

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)
        self.pointed.emit("")
