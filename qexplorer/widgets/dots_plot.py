"""A plot whose dots tell of themselves when they are pointed at, and can be clicked."""

import math
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QToolTip, QWidget

from qexplorer.text import plain
from qexplorer.widgets.axes import FigureAxis
from qexplorer.widgets.plot import Plot

REACH = 12.0
"""So near to a dot, in pixels, a click is meant for it."""
TOLD = 5
"""Of dots that lie on one another so many tell of themselves."""


class DotsPlot(Plot):
    """Dots and what each says. Which of them are drawn, and how, is for subclasses or whoever holds the plot."""

    picked = Signal(int)

    def __init__(self, name: str, x_label: str, y_label: str, parent: QWidget | None = None, *,
                 axes: Sequence[FigureAxis] = (), low: bool = False) -> None:  # fmt: skip
        super().__init__(name, x_label, y_label, parent, axes=axes, low=low)
        self.x_axis.setStyle(hideOverlappingLabels=8)  # the last figure may stand beyond the end of its axis
        self.places: list[QPointF] = []
        self.readings: list[str] = []
        self.hovered = -1
        scene: Any = self.scene()
        scene.sigMouseClicked.connect(self._on_clicked)

    def show_dots(self, xs: Sequence[float], ys: Sequence[float], readings: Sequence[str]) -> None:
        """Where the dots are, and what each says."""
        self.places = [QPointF(x, y) for x, y in zip(xs, ys, strict=True)]
        self.readings = list(readings)
        self.hovered = -1
        self.viewport().update()

    def place_of(self, at: int) -> QPointF:
        """Where a dot is, in pixels."""
        return self.getViewBox().mapViewToScene(self.places[at])

    def nearest(self, at: QPointF) -> int:
        """The dot under a place of the widget, or −1."""
        if not self.getViewBox().sceneBoundingRect().contains(at):
            return -1
        gaps = [self.place_of(i) - at for i in range(len(self.places))]
        far = {i: math.hypot(gap.x(), gap.y()) for i, gap in enumerate(gaps)}
        near = [i for i, distance in far.items() if distance <= REACH]  # one that has no place is near to nothing
        return min(near, key=far.__getitem__, default=-1)

    def reading(self, at: QPointF) -> str:
        dot = self.nearest(at)
        return self.reading_of(dot) if dot >= 0 else ""

    def reading_of(self, at: int) -> str:
        """What a dot says, and those that lie on it."""
        place = self.place_of(at)
        same = [i for i in range(len(self.places)) if (self.place_of(i) - place).manhattanLength() < 3]
        return plain("\n\n".join(self.readings[i] for i in same[:TOLD]))

    def show_reading(self, at: int) -> None:
        """Let a dot speak that the keyboard came to."""
        if self.isVisible():
            QToolTip.showText(self.mapToGlobal(self.place_of(at).toPoint()), self.reading_of(at), self)

    # -- hands

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().mouseMoveEvent(event)
        at = self.nearest(event.position())
        if event.buttons() == Qt.MouseButton.NoButton and at != self.hovered:
            self.hovered = at
            self.setCursor(Qt.CursorShape.PointingHandCursor if at >= 0 else Qt.CursorShape.ArrowCursor)
            self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().mousePressEvent(event)
        event.accept()  # it is nobody's below

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().mouseReleaseEvent(event)
        event.accept()

    def mouseDoubleClickEvent(self, event: QEvent) -> None:
        if not isinstance(event, QMouseEvent) or self.nearest(event.position()) < 0:
            super().mouseDoubleClickEvent(event)

    def _on_clicked(self, event: Any) -> None:
        at = self.nearest(QPointF(event.scenePos()))
        if at >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(at)

    def focusInEvent(self, event: QFocusEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().focusOutEvent(event)
        self.viewport().update()


def step_of(event: QKeyEvent) -> int:
    """−1 for the arrow key to the left, 1 for that to the right, 0 for any other."""
    plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
    return {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0) if plain else 0
