"""The few controls of the window, drawn flat from the palette so that they follow every change of theme."""

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QPushButton, QSizePolicy, QWidget

from qexplorer.widgets.theme import scaled

RADIUS = 4.0
PAD = 8


def field_height(widget: QWidget) -> int:
    """The height of every control that stands in a line with others."""
    return widget.fontMetrics().height() + 10


def paint_frame(widget: QWidget, painter: QPainter, fill: QColor, *, focus: bool, edge: QColor | None = None) -> None:
    """A rounded field with a hairline edge, or an accent edge of two pixels when it has the keyboard."""
    palette = widget.palette()
    pen = QPen(palette.color(QPalette.ColorRole.Accent), 2) if focus else QPen(edge or border(palette), 1)
    inset = 1.0 if focus else 0.5
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(pen)
    painter.setBrush(fill)
    painter.drawRoundedRect(QRectF(widget.rect()).adjusted(inset, inset, -inset, -inset), RADIUS, RADIUS)


def border(palette: QPalette) -> QColor:
    """The edge of a control: 3 : 1 against what is behind it."""
    return palette.color(QPalette.ColorRole.Dark)


def paint_chevron(painter: QPainter, center: QPointF, color: QColor) -> None:
    """The sign of what opens downwards."""
    painter.setPen(QPen(color, 1.5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPolyline(QPolygonF([center + QPointF(-3.5, -2), center + QPointF(0, 2), center + QPointF(3.5, -2)]))


class Combo(QComboBox):
    """A choice of many: the name, and a chevron."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width() + PAD, field_height(self))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self.palette()
        paint_frame(self, painter, palette.color(QPalette.ColorRole.Base), focus=self.hasFocus())
        text = palette.color(QPalette.ColorRole.Text)
        paint_chevron(painter, QPointF(self.width() - 13.0, self.height() / 2), text)
        painter.setPen(text)
        area = self.rect().adjusted(PAD, 0, -22, 0)
        shown = self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, area.width())
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)


class Field(QLineEdit):
    """A line of text."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrame(False)
        self.setTextMargins(PAD - 2, 0, PAD - 2, 0)
        self.wrong = False
        self._help = ""

    def show_wrong(self, reason: str) -> None:
        """Mark the text as wrong, with the reason as its tooltip; an empty reason takes the mark away."""
        if reason or self.wrong:
            self._help = self._help if self.wrong else self.toolTip()
            self.setToolTip(reason or self._help)
        self.wrong = bool(reason)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), field_height(self))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        edge = self.palette().color(QPalette.ColorRole.BrightText) if self.wrong else None
        paint_frame(self, painter, QColor(0, 0, 0, 0), focus=self.hasFocus() and not self.wrong, edge=edge)


class Button(QPushButton):
    """A command; `primary` marks the one that the panel is for."""

    def __init__(self, text: str, parent: QWidget | None = None, *, primary: bool = False) -> None:
        super().__init__(text, parent)
        self._primary = primary

    def sizeHint(self) -> QSize:
        width = self.fontMetrics().horizontalAdvance(self.text().replace("&", "")) + 3 * PAD
        return QSize(width, field_height(self))

    def minimumSizeHint(self) -> QSize:
        return QSize(min(self.sizeHint().width(), self.maximumWidth()), field_height(self))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self.palette()
        role = QPalette.ColorRole
        filled = self._primary and self.isEnabled()
        fill = palette.color(role.Accent if filled else role.Base)
        if self.isDown() or self.underMouse():
            fill = fill.lighter(112) if filled else palette.color(role.Midlight)
        edge = fill if filled else palette.color(role.Mid if not self.isEnabled() else role.Dark)
        paint_frame(self, painter, fill, focus=self.hasFocus() and not filled, edge=edge)
        if filled and self.hasFocus():
            painter.setPen(QPen(palette.color(role.HighlightedText), 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(2.5, 2.5, -2.5, -2.5), RADIUS - 2, RADIUS - 2)
        painter.setPen(palette.color(role.HighlightedText if filled else role.ButtonText))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextShowMnemonic
        painter.drawText(self.rect(), flags, self.text())


class LinkButton(QAbstractButton):
    """A command beside a caption, as text alone."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText(text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self.text()) + 4, self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        font = self.font()
        font.setUnderline(self.underMouse() or self.hasFocus())
        painter.setFont(font)
        role = QPalette.ColorRole.Link if self.isEnabled() else QPalette.ColorRole.PlaceholderText
        painter.setPen(self.palette().color(role))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.text())


class GlyphButton(QAbstractButton):
    """A small button with one drawn sign: `close`, `float`, `folded` or `unfolded`."""

    def __init__(self, glyph: str, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.glyph = glyph
        self.setAccessibleName(name)
        self.setToolTip(name)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setFixedSize(18, 18)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette = self.palette()
        strong = self.underMouse() or self.hasFocus()
        if strong:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(palette.color(QPalette.ColorRole.Mid))
            painter.drawRoundedRect(self.rect(), RADIUS, RADIUS)
        color = palette.color(QPalette.ColorRole.Text if strong else QPalette.ColorRole.PlaceholderText)
        painter.setPen(QPen(color, 1.2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.glyph == "close":
            painter.drawLine(QPointF(6, 6), QPointF(12, 12))
            painter.drawLine(QPointF(12, 6), QPointF(6, 12))
        elif self.glyph == "unfolded":
            paint_chevron(painter, QPointF(9, 9), color)
        elif self.glyph == "folded":
            painter.translate(9, 9)
            painter.rotate(-90)
            paint_chevron(painter, QPointF(0, 0), color)
        else:
            painter.drawRect(QRectF(5.5, 7.5, 5, 5))
            painter.drawPolyline(QPolygonF([QPointF(7.5, 5.5), QPointF(12.5, 5.5), QPointF(12.5, 10.5)]))


class Badge(QLabel):
    """A word in a rounded outline: exact, sampled, REAL, SIMULATED."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._color = QColor("gray")

    def show_badge(self, text: str, color: QColor, meaning: str) -> None:
        """Say `text` in a colour; `meaning` is the tooltip."""
        self._color = color
        self.setText(text)
        self.setToolTip(meaning)
        self.setVisible(bool(text))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self.text()) + 20, self.fontMetrics().height() + 4)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self._color, 1.2))
        area = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.drawRoundedRect(area, area.height() / 2, area.height() / 2)
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())


def field_title(text: str, field: QWidget | None = None) -> QLabel:
    """The small name above a field; without one, the room that it would take."""
    label = QLabel(text)
    label.setFont(scaled(0.88))
    label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
    if field is not None:
        label.setBuddy(field)
    return label


def caption(text: str, parent: QWidget | None = None) -> QLabel:
    """A small muted label in plain text."""
    label = QLabel(text, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
    return label
