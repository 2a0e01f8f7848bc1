"""What is drawn in the cells of a table beside their text."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainter, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QStyleOptionViewItem

from qexplorer.widgets.theme import Theme


def paint_share(painter: QPainter, option: QStyleOptionViewItem, share: float, theme: Theme, role: str) -> None:
    """A thin bar before the figure, full at a share of 1; nothing for NaN."""
    if share != share:
        return
    bar = QRectF(option.rect).adjusted(6, 0, -option.fontMetrics.horizontalAdvance("100.00 %") - 10, 0)
    bar.setTop(option.rect.center().y() - 2)
    bar.setHeight(5)
    painter.fillRect(bar, theme.color("hairline"))
    painter.fillRect(QRectF(bar.left(), bar.top(), bar.width() * min(share, 1.0), bar.height()), theme.color(role))


def paint_histogram(painter: QPainter, option: QStyleOptionViewItem, values: Sequence[int] | np.ndarray,
                    theme: Theme) -> None:  # fmt: skip
    """Counts of even bins as a filled outline."""
    counts = np.asarray(values, np.float64)
    if not counts.any():
        return
    area = QRectF(option.rect).adjusted(6, 4, -6, -4)
    heights = counts / counts.max() * area.height()
    width = area.width() / len(counts)
    outline = [QPointF(area.left(), area.bottom())]
    for i, height in enumerate(heights):
        left, top = area.left() + i * width, area.bottom() - height
        outline += [QPointF(left, top), QPointF(left + width, top)]
    outline.append(QPointF(area.right(), area.bottom()))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(theme.color("original"), 1))
    painter.setBrush(theme.color("original", 0.35))
    painter.drawPolygon(QPolygonF(outline))


def paint_border(painter: QPainter, option: QStyleOptionViewItem, line: object, theme: Theme) -> None:
    """A hairline before the cell, where a group of columns begins."""
    del line, theme
    painter.setPen(QPen(option.palette.color(QPalette.ColorRole.Mid), 1))
    painter.drawLine(option.rect.topLeft(), option.rect.bottomLeft())
