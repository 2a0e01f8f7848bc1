"""Sentences that say what is wrong, each with a button that mends it and one that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from qexplorer.widgets.controls import Button, caption


@dataclass(frozen=True)
class Hint:
    """A sentence; the words of its remedy, empty where there is none; `picture` names where it is to be seen."""

    key: object
    sentence: str
    remedy: str
    picture: str = ""


class AdviceList(QScrollArea):
    """Value in: hints; signals out: the key of one to be applied, the picture to be shown."""

    applied = Signal(object)
    shown = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Advice")
        self.viewport().setAutoFillBackground(False)
        self.hints: tuple[Hint, ...] = ()
        self.buttons: list[Button] = []

    def show_hints(self, hints: Sequence[Hint], nothing: str) -> None:
        """Show these; `nothing` is said where there are none."""
        if tuple(hints) == self.hints and self.widget() is not None and hints:
            return
        self.hints = tuple(hints)
        self.buttons = []
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(12, 4, 12, 8)
        column.setSpacing(6)
        for hint in hints:
            self._add(column, hint)
        if not hints:
            label = caption(nothing)
            label.setWordWrap(True)
            column.addWidget(label)
        column.addStretch()
        self.setWidget(content)
        content.setAutoFillBackground(False)  # which `setWidget` has set
        self.setAccessibleDescription(" ".join(hint.sentence for hint in hints) or nothing)

    def _add(self, column: QVBoxLayout, hint: Hint) -> None:
        sentence = QLabel(hint.sentence)
        sentence.setTextFormat(Qt.TextFormat.PlainText)
        sentence.setWordWrap(True)
        column.addWidget(sentence)
        row = QHBoxLayout()
        row.setSpacing(8)
        if hint.remedy:
            button = Button(hint.remedy.replace("&", "&&"))
            button.setAccessibleName(hint.remedy)
            button.setToolTip(hint.remedy)
            button.clicked.connect(lambda _=False, key=hint.key: self.applied.emit(key))
            row.addWidget(button)
            self.buttons.append(button)
        if hint.picture:
            show = Button("Show")
            show.setAccessibleName(f"Show: {hint.sentence}")
            show.setToolTip("Show where it is to be seen")
            show.clicked.connect(lambda _=False, picture=hint.picture: self.shown.emit(picture))
            row.addWidget(show)
        row.addStretch()
        column.addLayout(row)
