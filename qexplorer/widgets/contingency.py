"""Two models on the same images: how often both, one or neither is right, and whether that tells them apart."""

import math

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPalette, QPen, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from qexplorer.numbers import count, figure, percent
from qexplorer.presentation import Paired
from qexplorer.text import plain
from qexplorer.widgets.controls import RADIUS, caption
from qexplorer.widgets.theme import LIGHT, Theme, scaled

LEVEL = 0.05
"""Below this, chance alone is not taken for an explanation."""
NOTHING = "Two models that were tested on the same images are compared here."
SIDES = ("✓ right", "✗ wrong", "all")


def _table(found: Paired) -> tuple[tuple[int, int, int], ...]:
    """The table with its totals: the first model's answers downwards, the second's to the right."""
    rows = [(a, b, a + b) for a, b in ((found.both, found.only_first), (found.only_second, found.neither))]
    return (*rows, (rows[0][0] + rows[1][0], rows[0][1] + rows[1][1], rows[0][2] + rows[1][2]))


def _sentence(a: str, b: str, found: Paired) -> str:
    """What the table says of models of these names."""
    if not found.only_first + found.only_second:
        return f"{a} and {b} are right on the same images: there is nothing that tells them apart."
    text = f"{b} is right on {images(found.only_second)} on which {a} is wrong, and wrong on {count(found.only_first)}"
    if not math.isfinite(found.p):
        return f"{text}: not tested."
    better = "better" if found.only_second > found.only_first else "worse"
    evidence = f"evidence that {b} is {better}" if found.p < LEVEL else "no evidence of a difference"
    p = "p < 0.001" if found.p < 0.001 else f"p = {figure(found.p, 2)}"
    return f"{text}: {evidence} (McNemar, exact, {p})."


class Grid(QWidget):
    """The table: hairlines around the counts, a tint under the two cells that the test compares."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = LIGHT
        self.first, self.second = _name(), _name()
        self.second.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.cells = [[_figure() for _ in range(3)] for _ in range(3)]
        self._names = ("", "")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(0)
        grid.setColumnStretch(0, 4)
        grid.addWidget(self.second, 0, 1, 1, 3)
        grid.addWidget(self.first, 1, 0)
        for i, text in enumerate(SIDES):
            head, side = caption(text), caption(text)
            head.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            head.setContentsMargins(5, 2, 5, 2)
            side.setContentsMargins(0, 2, 5, 2)
            grid.addWidget(head, 1, 1 + i)
            grid.addWidget(side, 2 + i, 0)
            grid.setColumnStretch(1 + i, 3)
            for j in range(3):
                grid.addWidget(self.cells[i][j], 2 + i, 1 + j)
        for row in range(5):
            grid.setRowMinimumHeight(row, self.fontMetrics().height() + 4)
        for cell in (self.cells[0][1], self.cells[1][0]):
            cell.setFont(scaled(1.0, bold=True))

    def show_counts(self, first: str, second: str, found: Paired) -> None:
        """Write the figures, and what each means into its tooltip."""
        self._names = (first, second)
        verbs, table = ("right", "wrong", ""), _table(found)
        for i, row in enumerate(table):
            for j, (cell, n) in enumerate(zip(self.cells[i], row, strict=True)):
                told = [f"{name} {verb}" for name, verb in ((first, verbs[i]), (second, verbs[j])) if verb]
                meaning = f"{' and '.join(told) or 'All images'}: {images(n)} ({percent(n / table[-1][-1])})"
                cell.setText(count(n))
                cell.setToolTip(plain(meaning))
                cell.setAccessibleName(meaning)
        self._elide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        left = float(self.cells[0][0].x() or self.width() * 0.3)
        for label, name, room in (
            (self.first, self._names[0], left),
            (self.second, self._names[1], self.width() - left),
        ):
            shown = QFontMetricsF(label.font()).elidedText(name, Qt.TextElideMode.ElideMiddle, room - 12)
            label.setText(shown)
            label.setToolTip(plain(name))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("selection"))
        for cell in (self.cells[0][1], self.cells[1][0]):
            painter.drawRoundedRect(QRectF(cell.geometry()).adjusted(2, 2, -1, -2), RADIUS, RADIUS)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QPen(self.theme.color("hairline"), 1))
        for row in (0, 2):
            y = self.cells[row][0].y()
            painter.drawLine(0, y, self.width(), y)


class PairedTest(QWidget):
    """Value in: counts. A table of right and wrong, and one sentence that says what follows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Paired comparison of two models")
        self.grid = Grid()
        self._sentence = QLabel()
        self._sentence.setTextFormat(Qt.TextFormat.PlainText)
        self._sentence.setWordWrap(True)
        self._sentence.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._sentence.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # Qt has it reached by a click only
        self._sentence.setAccessibleName("What the comparison says")
        self._sentence.setToolTip(
            "McNemar's test looks only at the images on which one of the two is right: where the models are equally "
            f"good, either is right as often. Below p = {LEVEL} that is not believed."
        )
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 4, 12, 8)
        column.setSpacing(8)
        column.addWidget(self.grid)
        column.addWidget(self._sentence)
        column.addStretch()
        self.show_test("", "", None)

    @property
    def text(self) -> str:
        """The sentence."""
        return self._sentence.text()

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.grid.theme = theme
        self.grid.update()

    def show_test(self, first: str, second: str, found: Paired | None) -> None:
        """Show a comparison of models of these names, or that there is none."""
        known = found is not None and _table(found)[-1][-1] > 0
        self.grid.setVisible(known)
        if found is not None and known:
            self.grid.show_counts(first, second, found)
        self._sentence.setText(_sentence(first, second, found) if found is not None and known else NOTHING)
        role = QPalette.ColorRole
        self._sentence.setForegroundRole(role.WindowText if known else role.PlaceholderText)
        self.setAccessibleDescription(self._sentence.text())


def images(n: int) -> str:
    """So many images."""
    return "1 image" if n == 1 else f"{count(n)} images"


def _name() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setFont(scaled(1.0, bold=True))
    label.setContentsMargins(0, 2, 5, 2)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return label


def _figure() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    label.setContentsMargins(5, 2, 5, 2)
    return label
