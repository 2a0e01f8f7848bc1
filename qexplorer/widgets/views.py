"""What every list, tree and table has in common: no frame, a quiet header, thin scroll bars."""

from collections.abc import Callable, Mapping

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QAction, QPainter, QPalette, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QAbstractScrollArea,
    QFrame,
    QHeaderView,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QTreeView,
    QWidget,
)

from qexplorer.widgets.theme import Theme

Index = QModelIndex | QPersistentModelIndex
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
"""How figures are aligned."""
SCROLL_BARS = """
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: HANDLE; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:hover { background: HOVER; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
"""


def thin_scroll_bars(view: QAbstractScrollArea, theme: Theme) -> None:
    """Give a scroll area bars that show where it is and stay out of the way."""
    sheet = SCROLL_BARS.replace("HANDLE", theme.hairline).replace("HOVER", theme.edge)
    for bar in (view.verticalScrollBar(), view.horizontalScrollBar()):
        bar.setStyleSheet(sheet)


def configure_view(view: QTreeView | QTableView, name: str) -> None:
    """Set up a tree or table: one accessible name, whole rows, quiet header."""
    view.setAccessibleName(name)
    view.setFrameShape(QFrame.Shape.NoFrame)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setTextElideMode(Qt.TextElideMode.ElideRight)
    header = QuietHeader(Qt.Orientation.Horizontal, view)
    header.setAccessibleName(f"Columns of {name}")
    if isinstance(view, QTreeView):
        view.setHeader(header)
    else:
        view.setHorizontalHeader(header)
        view.verticalHeader().hide()
        view.setShowGrid(False)
        view.setWordWrap(False)


def apply_theme(view: QAbstractScrollArea, theme: Theme) -> None:
    """Colours of a theme: the selected row in a tint that leaves text and bars readable, thin scroll bars."""
    palette = view.palette()
    palette.setColor(QPalette.ColorRole.Highlight, theme.color("selection"))
    palette.setColor(QPalette.ColorRole.HighlightedText, theme.color("text"))
    view.setPalette(palette)
    thin_scroll_bars(view, theme)


def column_menu(view: QWidget, shown: Mapping[str, bool], chosen: Callable[[QAction], None]) -> QMenu:
    """A menu of columns by title, those that are `shown` checked; it tells the action that was `chosen`."""
    menu = QMenu(view)
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    for title, checked in shown.items():
        action = menu.addAction(title)
        action.setCheckable(True)
        action.setChecked(checked)
    menu.triggered.connect(chosen)
    return menu


class QuietHeader(QHeaderView):
    """Column titles in small muted text over a hairline, with an arrow at the sorted one."""

    def __init__(self, orientation: Qt.Orientation, parent: QWidget | None = None) -> None:
        super().__init__(orientation, parent)
        self.setSectionsClickable(True)
        self.setHighlightSections(False)
        self.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:  # noqa: N802, N803
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
    """Rows with room, and no dotted box around the current cell: the whole row is marked."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index):
        hint = super().sizeHint(option, index)
        hint.setHeight(option.fontMetrics.height() + 9)
        return hint

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:
        super().initStyleOption(option, index)
        option.state &= ~QStyle.StateFlag.State_HasFocus
