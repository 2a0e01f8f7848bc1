"""A table whose lines come in by and by, and whose columns give way to the important ones."""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QAction, QContextMenuEvent, QResizeEvent
from PySide6.QtWidgets import QWidget

from qexplorer.widgets.lines import Column
from qexplorer.widgets.table import Table
from qexplorer.widgets.views import column_menu

T = TypeVar("T")
SORT_MS = 500
"""While lines come in, they are put in order no oftener than this."""
CALM = 20
"""And putting them in order takes no more than one part in so many of the time."""


class GrowingTable(Table[T]):
    """Value in: lines as they come. The first column takes what width is left, and is no narrower than `least`.

    Ctrl+C copies the selected lines. A right click chooses columns.
    """

    def __init__(self, name: str, columns: Sequence[Column[T]], key: Callable[[T], Hashable], least: str,
                 parent: QWidget | None = None, *, tier: Callable[[T], int] | None = None) -> None:  # fmt: skip
        super().__init__(name, columns, key, parent, tier=tier, filtered=True, copy_selected=True, height=7,
                         margin=3)  # fmt: skip
        self._least = least
        self._asked: dict[str, bool] = {}
        self.setSelectionMode(self.SelectionMode.ExtendedSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setVerticalScrollMode(self.ScrollMode.ScrollPerItem)
        header = self.horizontalHeader()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(24)
        header.setSortIndicatorClearable(True)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._on_header_menu)
        self._soon = QTimer(self, singleShot=True, interval=SORT_MS)
        self._soon.timeout.connect(self.put_in_order)
        self.model().modelReset.connect(self.show_widths)
        self.show_widths()

    def put(self, lines: Sequence[T]) -> None:
        """Take in lines, in place of those that have the same keys; they find their places a little later."""
        self.lines.put(lines)
        if not self._soon.isActive():
            self._soon.start()

    def put_in_order(self) -> None:
        """Put lines that came in into their places now."""
        self._soon.stop()
        start = time.perf_counter()
        self.lines.sort_again()
        self._soon.setInterval(max(SORT_MS, round(CALM * 1000 * (time.perf_counter() - start))))

    def show_fitting(self, fits: Callable[[T], bool] | None) -> None:
        """Show only the lines that fit; all of them without a test."""
        if self.filter is not None:
            self.filter.show_fitting(fits)

    # -- columns

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def show_widths(self) -> None:
        """Make each column as wide as its sample, the first one as wide as there is room."""
        super().show_widths()
        self._fit()

    def _fit(self) -> None:
        """Show the columns that there is width for, the important ones first; those that were asked for anyway."""
        columns, groups = self.lines.columns, self._groups()
        wanted: set[int] = set()
        for group, places in groups.items():
            if self._asked.get(group, columns[places[0]].rank == 0):
                wanted.update(places)
        room = self.viewport().width() - sum(self.width_of(columns[i]) for i in wanted)
        for group, places in groups.items():
            needed = sum(self.width_of(columns[i]) for i in places)
            if group not in self._asked and not wanted.issuperset(places) and needed <= room:
                room -= needed
                wanted.update(places)
        for i in range(len(columns)):
            self.setColumnHidden(i, i not in wanted)
        least = self.fontMetrics().horizontalAdvance(self._least) + self._slack
        self.setColumnWidth(0, max(least, self.width_of(columns[0]) + room))

    def _groups(self) -> dict[str, list[int]]:
        """The places of the columns of each group, the important groups first."""
        groups: dict[str, list[int]] = {}
        for i, column in sorted(enumerate(self.lines.columns), key=lambda each: each[1].rank):
            groups.setdefault(column.group or column.title, []).append(i)
        return groups

    def _on_header_menu(self, at: QPoint) -> None:
        self._show_menu(self.horizontalHeader().mapToGlobal(at))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self._show_menu(event.globalPos())

    def _show_menu(self, at: QPoint) -> None:
        groups = sorted(self._groups().items(), key=lambda each: each[1])[1:]
        shown = {group: not self.isColumnHidden(places[0]) for group, places in groups}
        column_menu(self, shown, self._on_column).popup(at)

    def _on_column(self, action: QAction) -> None:
        self._asked[action.text()] = action.isChecked()
        self._fit()
