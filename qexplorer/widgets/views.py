"""What every list, tree and table has in common: no frame, a quiet header, thin scroll bars."""

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor, QPainter, QPalette, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QTreeView,
    QWidget,
)

SCROLL_BARS = """
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: palette(mid); border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:hover { background: palette(dark); }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
"""


def thin_scroll_bars(view: QWidget) -> None:
    """Give a scroll area bars that show where it is and stay out of the way."""
    for name in ("verticalScrollBar", "horizontalScrollBar"):
        getattr(view, name)().setStyleSheet(SCROLL_BARS)


def calm(view: QTreeView | QTableView, name: str) -> None:
    """Dress a tree or table: one accessible name, whole rows, quiet header."""
    view.setAccessibleName(name)
    view.setFrameShape(QFrame.Shape.NoFrame)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    thin_scroll_bars(view)
    orientation = Qt.Orientation.Horizontal
    header = QuietHeader(orientation, view)
    header.setAccessibleName(f"Columns of {name}")
    if isinstance(view, QTreeView):
        view.setHeader(header)
    else:
        view.setHorizontalHeader(header)
        view.verticalHeader().hide()
        view.setShowGrid(False)
        view.setWordWrap(False)


class QuietHeader(QHeaderView):
    """Column titles in small muted text over a hairline, with an arrow at the sorted one."""

    def __init__(self, orientation: Qt.Orientation, parent: QWidget | None = None) -> None:
        super().__init__(orientation, parent)
        self.setSectionsClickable(True)
        self.setHighlightSections(False)
        self.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def paintSection(self, painter: QPainter, rect: object, logicalIndex: int) -> None:  # noqa: N802, N803
        palette = self.palette()
        painter.save()
        painter.fillRect(rect, palette.color(QPalette.ColorRole.Base))
        painter.setPen(palette.color(QPalette.ColorRole.PlaceholderText))
        text = str(self.model().headerData(logicalIndex, self.orientation()) or "")
        if self.isSortIndicatorShown() and self.sortIndicatorSection() == logicalIndex:
            text += " ↑" if self.sortIndicatorOrder() == Qt.SortOrder.AscendingOrder else " ↓"
        align = self.model().headerData(logicalIndex, self.orientation(), Qt.ItemDataRole.TextAlignmentRole)
        area = rect.adjusted(6, 0, -6, 0)
        shown = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
        painter.drawText(area, int(align or self.defaultAlignment()), shown)
        painter.setPen(QPen(palette.color(QPalette.ColorRole.Mid), 1))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        painter.restore()


class RowDelegate(QStyledItemDelegate):
    """Rows with room, a soft selection, and a bar of the keyboard's colour at the current one."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex):
        hint = super().sizeHint(option, index)
        hint.setHeight(option.fontMetrics.height() + 9)
        return hint

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        if option.state & QStyle.StateFlag.State_Selected:
            accent = option.palette.color(QPalette.ColorRole.Accent)
            text = option.palette.color(QPalette.ColorRole.Text)
            focused = option.widget is not None and option.widget.hasFocus()
            option.backgroundBrush = QColor.fromRgbF(
                accent.redF(), accent.greenF(), accent.blueF(), 0.26 if focused else 0.16
            )
            option.state &= ~QStyle.StateFlag.State_Selected
            option.palette.setColor(QPalette.ColorRole.Text, text)
        option.state &= ~QStyle.StateFlag.State_HasFocus
