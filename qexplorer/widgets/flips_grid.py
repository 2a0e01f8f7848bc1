"""The images on which two models disagree: a grid of thumbnails, each with what was said of it before and after."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QListView,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from qexplorer.numbers import count
from qexplorer.widgets.lines import LINE, Column, Lines
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.theme import LIGHT, Theme, scaled
from qexplorer.widgets.views import Index, apply_theme

TILE = 56
"""The side of a thumbnail in pixels."""
PAD = 6
MARKS = {"right": "✓", "wrong": "✗", "other": "≠"}
ROLES = {"right": "good", "wrong": "clip", "other": "muted"}
WORDS = {"right": "put right", "wrong": "made wrong", "other": "wrong before and after"}
EMPTY = {
    "all": "No image changed: every prediction is the same as before",
    "wrong": "No image was made wrong",
    "right": "No image was put right",
}


@dataclass(frozen=True, eq=False)
class Flip:
    """An image `[C, H, W]` with values from 0 to 1 whose prediction changed, and its place in the data."""

    image: NDArray[np.float32]
    label: int
    before: int
    after: int
    index: int

    @property
    def kind(self) -> str:
        """What the change did: `right`, `wrong` or `other`."""
        return "right" if self.after == self.label else "wrong" if self.before == self.label else "other"

    @cached_property
    def picture(self) -> QImage:
        """The thumbnail, made when it is first seen."""
        return picture_of(self.image)

    @property
    def words(self) -> str:
        """All about it, in one line."""
        return (
            f"Image {count(self.index)}, labelled {self.label}: {self.before} before, {self.after} after, "
            f"{WORDS[self.kind]}"
        )


COLUMN: Column[Flip] = Column(
    "Image", "", "", lambda flip: f"{flip.before} → {flip.after} {MARKS[flip.kind]}", tip=lambda flip: flip.words,
    spoken=lambda flip: flip.words, right=False,
)  # fmt: skip


def picture_of(image: NDArray[np.float32]) -> QImage:
    """An image as Qt draws it: three channels are colours, of any other number the mean is grey."""
    if image.ndim != 3 or not image.size:
        return QImage()
    levels = np.clip(np.nan_to_num(image, nan=0.0), 0.0, 1.0) * 255 + 0.5
    if levels.shape[0] == 3:
        pixels = np.ascontiguousarray(levels.transpose(1, 2, 0).astype(np.uint8))
        form = QImage.Format.Format_RGB888
    else:
        pixels = np.ascontiguousarray(levels.mean(axis=0).astype(np.uint8))
        form = QImage.Format.Format_Grayscale8
    height, width = pixels.shape[:2]
    whole = QImage(pixels.data, width, height, pixels.strides[0], form).copy()
    if max(height, width) > 2 * TILE:  # kept small: thousands of large images would fill the memory
        smooth = Qt.TransformationMode.SmoothTransformation
        return whole.scaled(2 * TILE, 2 * TILE, Qt.AspectRatioMode.KeepAspectRatio, smooth)
    return whole


class FlipDelegate(QStyledItemDelegate):
    """The thumbnail with hard pixels, and under it before → after with a mark."""

    theme = LIGHT

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        view = option.widget
        return view.gridSize() if isinstance(view, QListView) else super().sizeHint(option, index)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        flip: Flip = index.data(LINE)
        area, picture, theme = QRect(option.rect), flip.picture, self.theme
        painter.save()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(theme.color("accent"), 2 if option.state & QStyle.StateFlag.State_HasFocus else 0))
            painter.setBrush(theme.color("selection"))
            painter.drawRoundedRect(area.adjusted(1, 1, -1, -1), 4, 4)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        extent = picture.size().scaled(TILE, TILE, Qt.AspectRatioMode.KeepAspectRatio)
        frame = QRect(QPoint(area.center().x() - extent.width() // 2, area.top() + PAD), extent)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, picture.width() > TILE)
        painter.drawImage(frame, picture)
        painter.setPen(QPen(theme.color("hairline"), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(frame.adjusted(-1, -1, 0, 0))
        self._write(painter, area.adjusted(0, PAD + TILE + 2, 0, -2), flip)
        painter.restore()

    def _write(self, painter: QPainter, area: QRect, flip: Flip) -> None:
        """The words in the colour of text, the mark bold in a colour of its own."""
        words, mark = f"{flip.before} → {flip.after} ", MARKS[flip.kind]
        plain, bold = scaled(1.0), scaled(1.0, bold=True)
        painter.setFont(plain)
        width = painter.fontMetrics().horizontalAdvance(words)
        start = area.center().x() - (width + painter.fontMetrics().horizontalAdvance(mark)) // 2
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.setPen(self.theme.color("text"))
        painter.drawText(QRect(QPoint(start, area.top()), area.size()), int(left), words)
        painter.setFont(bold)
        painter.setPen(self.theme.color(ROLES[flip.kind]))
        painter.drawText(QRect(QPoint(start + width, area.top()), area.size()), int(left), mark)


def cell_size(widget: QWidget, flips: Sequence[Flip]) -> QSize:
    """The room of one image with its words; all have the same."""
    metrics = widget.fontMetrics()
    digits = "0" * max((len(str(max(flip.before, flip.after))) for flip in flips), default=1)
    words = metrics.horizontalAdvance(f"{digits} → {digits} ✗") + 2 * PAD
    return QSize(max(TILE + 3 * PAD, words), TILE + metrics.height() + PAD + 8)


class Thumbnails(QListView):
    """The grid itself; where it is empty it says why."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.nothing = EMPTY["all"]
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QListView.SelectionMode.SingleSelection)
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setDragEnabled(False)
        self.setViewportMargins(5, 0, 5, 0)
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Images whose prediction changed")

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self.gridSize().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(super().minimumSizeHint().width(), self.gridSize().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.model().rowCount():
            painter = QPainter(self.viewport())
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.viewport().rect().adjusted(12, 0, -12, 0), int(flags), self.nothing)


class FlipsGrid(QWidget):
    """Value in: flips. A heading counts them, a filter shows those that went one way."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Predictions that changed")
        self.lines = Lines((COLUMN,), lambda flip: flip.index, self)
        self.view = Thumbnails()
        self.view.setModel(self.lines)
        self._delegate = FlipDelegate(self.view)
        self.view.setItemDelegate(self._delegate)
        self.heading = QLabel()
        self.heading.setTextFormat(Qt.TextFormat.PlainText)
        self.heading.setFont(scaled(1.0, bold=True))
        self.heading.setWordWrap(True)
        self.filter = Segmented([("all", "All"), ("wrong", "✗ Made wrong"), ("right", "✓ Put right")], "Which images")
        self.filter.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.filter.setToolTip("Show all images, or only those that changed one way")
        self.filter.show_value("all")
        self.filter.chosen.connect(self._on_filter)
        self._flips: tuple[Flip, ...] = ()
        self._head, column = QHBoxLayout(), QVBoxLayout(self)
        self._head.setContentsMargins(12, 4, 8, 4)
        self._head.addWidget(self.heading, 1)
        self._head.addWidget(self.filter)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(self._head)
        column.addWidget(self.view, 1)
        self.show_theme(LIGHT)
        self.show_flips(())

    @property
    def text(self) -> str:
        """The heading."""
        return self.heading.text()

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self._delegate.theme = theme
        apply_theme(self.view, theme)
        self.view.viewport().update()

    def show_flips(self, flips: Sequence[Flip]) -> None:
        """Show other flips; the filter stays where there is something to see."""
        self._flips = tuple(flips)
        kinds = Counter(flip.kind for flip in flips)
        self.heading.setText(heading(kinds))
        refusals: dict[object, str] = {kind: "" if kinds[kind] else EMPTY[kind] for kind in ("wrong", "right")}
        self.filter.show_refusals(refusals)
        if refusals.get(self.filter.value):
            self.filter.show_value("all")
        self.view.setGridSize(cell_size(self.view, flips))
        self.view.updateGeometry()
        self._on_filter()
        self._lay_head()
        self.setAccessibleDescription(self.heading.text())

    def _lay_head(self) -> None:
        """The filter beside the heading, or below it where there is no room."""
        words = self.heading.fontMetrics().horizontalAdvance(self.heading.text())
        beside = words + self.filter.sizeHint().width() + 32 <= self.width()
        way = QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom
        if way != self._head.direction():
            self._head.setDirection(way)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_head()

    def _on_filter(self) -> None:
        wanted = self.filter.value
        shown = [flip for flip in self._flips if wanted in ("all", flip.kind)]
        self.lines.show_lines(shown)
        self.view.nothing = EMPTY[str(wanted)]
        self.view.setAccessibleDescription(f"{count(len(shown))} shown. " + "; ".join(f.words for f in shown[:5]))
        self.view.viewport().update()


def heading(kinds: Counter[str]) -> str:
    """How many images changed, and how."""
    n = sum(kinds.values())
    if not n:
        return "No image changed"
    parts = [f"{count(kinds['right'])} put right", f"{count(kinds['wrong'])} made wrong"]
    if kinds["other"]:
        parts.append(f"{count(kinds['other'])} other")
    return f"{count(n)} {'image' if n == 1 else 'images'} changed: " + ", ".join(parts)
