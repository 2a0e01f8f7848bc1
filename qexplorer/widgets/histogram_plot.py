"""A plot of a histogram that can be zoomed: sensible limits, and notes of what lies beyond either side."""

from collections.abc import Callable

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import QWidget

from qexplorer.widgets.plot import LEAST, Plot
from qexplorer.widgets.theme import scaled

FINEST = 32 * 2.0**-23
"""Values of float32 are so far apart, against their size, that 32 of them are the least that is worth seeing."""
SAME = 1e-9
"""A view that differs from another by less than this part of it is the same."""
LINES_DOWN = 2
"""The notes stand so many lines below the top, where the labels of clip limits are."""
NOTE_ROOM = 6


class HistogramPlot(Plot):
    """`looked_at` tells that another part of the axis is seen. B shows the bulk, if there are outliers beyond one."""

    looked_at = Signal()

    def __init__(self, name: str, x_label: str, y_label: str, parent: QWidget | None = None) -> None:
        super().__init__(name, x_label, y_label, parent)
        self.bulk: tuple[float, float] | None = None
        self.notes = ("", "")
        self._going = False
        self._show_bulk = self._add("Show the &Bulk\tB", self.go_bulk)
        self._add("Sho&w All\tHome", self.go_home)
        self._show_bulk.setVisible(False)
        self.getViewBox().sigXRangeChanged.connect(self._on_x)

    def _add(self, text: str, slot: Callable[[], None]):
        action = self.menu.menu.addAction(text)
        action.triggered.connect(slot)
        return action

    def minimumSizeHint(self) -> QSize:
        """Its axes included."""
        return LEAST + QSize(round(self.y_axis.width()), round(self.height_taken))

    @property
    def view(self) -> tuple[float, float]:
        """The part of the axis that is seen."""
        (left, right), _ = self.getViewBox().viewRange()
        return float(left), float(right)

    @property
    def zoomed(self) -> bool:
        """Whether that is another part than the one that Home shows."""
        left, right = self.view
        return abs(left - self.home[0]) + abs(right - self.home[1]) > SAME * (right - left)

    def show_limits(self, left: float, right: float) -> None:
        """Let nobody look beyond these places, or beyond home."""
        self.getViewBox().setLimits(xMin=min(left, self.home[0]), xMax=max(right, self.home[1]))

    def show_home(self, left: float, right: float, bottom: float, top: float) -> None:
        low, high = self.getViewBox().state["limits"]["xLimits"]
        self._going = True  # what is seen on the way is of no interest
        self.getViewBox().setLimits(xMin=min(low, left), xMax=max(high, right))  # first, or the range would be cut
        self._going = False
        super().show_home(left, right, bottom, top)

    def show_bulk(self, bulk: tuple[float, float] | None) -> None:
        """Know where nearly all values lie; `None` where no few are far from them."""
        self.bulk = bulk
        self._show_bulk.setVisible(bulk is not None)

    def go_bulk(self) -> None:
        """Show where nearly all values lie."""
        if self.bulk is not None:
            left, right = self.bulk
            room = 0.03 * (right - left)
            self.getViewBox().setXRange(left - room, right + room, padding=0)

    def show_notes(self, left: str, right: str) -> None:
        """Say what lies beyond either side."""
        if (left, right) != self.notes:
            self.notes = (left, right)
            self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_B:
            self.go_bulk()
        else:
            super().keyPressEvent(event)

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        if not any(self.notes):
            return
        painter.setFont(scaled(0.88))
        painter.setPen(self.theme.color("muted"))
        area = self.getViewBox().sceneBoundingRect().adjusted(NOTE_ROOM, 0, -NOTE_ROOM, 0)
        area.setTop(area.top() + LINES_DOWN * painter.fontMetrics().height())
        left, right = self.notes
        for text, side in ((f"← {left}", Qt.AlignmentFlag.AlignLeft), (f"{right} →", Qt.AlignmentFlag.AlignRight)):
            if len(text) > 2:
                flags = side | Qt.AlignmentFlag.AlignTop
                painter.fillRect(painter.boundingRect(area, flags, text), self.theme.color("base", 0.8))
                painter.drawText(area, flags, text)

    def _on_x(self) -> None:
        if self._going:
            return
        left, right = self.view
        finest = max(abs(left), abs(right)) * FINEST
        if right - left < finest * (1 - SAME):
            middle = (left + right) / 2
            self.getViewBox().setXRange(middle - finest / 2, middle + finest / 2, padding=0)
            return  # which has come here again
        self.draw_seen()
        self.looked_at.emit()

    def draw_seen(self) -> None:
        """Draw for another part of the axis what is known of it."""
