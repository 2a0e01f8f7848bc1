"""The specs that are compared: one row each, with what the whole model costs and loses under it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from qexplorer.widgets.controls import GlyphButton, caption
from qexplorer.widgets.elided import Elided
from qexplorer.widgets.theme import scaled

FIGURES = ("Size of all weights: quantized where the spec serves, else as stored; tied ones counted once",
           "Bits per value over all weights, scales and zero points included",
           "SQNR of all weights together, 10·log₁₀(Σx²/Σe²): large values weigh more",
           "Weights that are quantized, of all in the file; the others stay as they are stored")  # fmt: skip


@dataclass(frozen=True)
class SpecLine:
    """One spec: how it is called, what it is in full, its four figures as text, and whether it can be removed."""

    title: str
    about: str
    figures: tuple[str, str, str, str] = ("", "", "", "")
    pinned: bool = False


class SpecRows(QWidget):
    """Value in: a line for each spec, the current one first; signal out: the number of one to remove."""

    removed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(12, 0, 12, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(1)
        self._grid.setColumnStretch(1, 1)
        self._rows: list[tuple[QLabel, Elided, list[QLabel], GlyphButton]] = []

    def show_lines(self, lines: Sequence[SpecLine]) -> None:
        """Show these specs; rows that are there already change in place."""
        while len(self._rows) < len(lines):
            self._rows.append(self._new_row(len(self._rows)))
        for i, (mark, title, figures, remove) in enumerate(self._rows):
            seen = i < len(lines)
            for widget in (mark, title, *figures):
                widget.setVisible(seen)
            remove.setVisible(seen and lines[i].pinned)
            if not seen:
                continue
            mark.setVisible(len(lines) > 1)
            title.setText(lines[i].title)
            title.setToolTip(lines[i].about)
            title.setAccessibleName(
                f"Spec {mark.text()}: {lines[i].title}, {', '.join(filter(None, lines[i].figures))}"
            )
            remove.setAccessibleName(f"Compare {mark.text()} no longer: {lines[i].title}")
            for label, text in zip(figures, lines[i].figures, strict=True):
                label.setText(text)

    def _new_row(self, row: int) -> tuple[QLabel, Elided, list[QLabel], GlyphButton]:
        mark, title = caption(chr(ord("A") + row)), Elided()
        mark.setFont(scaled(1.0, bold=True))
        mark.setToolTip("How the columns of this spec are marked")
        figures = [caption("") for _ in FIGURES]
        remove = GlyphButton("close", "")
        remove.setToolTip("Compare this spec no longer (undo brings it back)")
        remove.setObjectName(f"remove_{row}")
        remove.clicked.connect(lambda: self.removed.emit(row))
        for column, widget in enumerate((mark, title, *figures, remove)):
            self._grid.addWidget(widget, row, column)
        for label, meaning in zip(figures, FIGURES, strict=True):
            label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            label.setToolTip(meaning)
        return mark, title, figures, remove
