"""Sentences that say what is wrong, each with a button that mends it and one that shows it."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from qexplorer.presentation import Advice
from qexplorer.widgets.controls import Button, caption


class AdviceList(QScrollArea):
    """Value in: advice; signals out: the one to be applied, the picture to be shown."""

    applied = Signal(object)
    shown = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Advice")
        self.viewport().setAutoFillBackground(False)
        self._shown: tuple[object, ...] | None = None
        self.buttons: list[Button] = []

    def show_advice(self, advice: Sequence[Advice], nothing: str, pending: str = "") -> None:
        """Show these. `nothing` is said where there are none, or before them what is still `pending`. What follows each
        other with the same sentence has it in common.
        """
        said = pending or ("" if advice else nothing)
        if (said, *advice) == self._shown:
            return
        self._shown = (said, *advice)
        self.buttons = []
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(12, 4, 12, 8)
        column.setSpacing(6)
        if said:
            label = caption(said)
            label.setWordWrap(True)
            column.addWidget(label)
        sentence = ""
        for each in advice:
            self._add(column, each, repeated=each.sentence == sentence)
            sentence = each.sentence
        column.addStretch()
        self.setWidget(content)
        content.setAutoFillBackground(False)  # which `setWidget` has set
        sentences = dict.fromkeys(each.sentence for each in advice)
        self.setAccessibleDescription(" ".join([*filter(None, [said]), *sentences]))

    def _add(self, column: QVBoxLayout, advice: Advice, *, repeated: bool) -> None:
        if not repeated:
            sentence = QLabel(advice.sentence)
            sentence.setTextFormat(Qt.TextFormat.PlainText)
            sentence.setWordWrap(True)
            column.addWidget(sentence)
        row = QHBoxLayout()
        row.setSpacing(8)
        if advice.remedy:
            button = Button(advice.remedy.replace("&", "&&"))
            button.setAccessibleName(advice.remedy)
            button.setAccessibleDescription(advice.figure)
            button.setToolTip(f"{advice.remedy}\n{advice.figure}" if advice.figure else advice.remedy)
            button.clicked.connect(lambda _=False, advice=advice: self.applied.emit(advice))
            row.addWidget(button)
            self.buttons.append(button)
        if advice.picture and not repeated:
            show = Button("Show")
            show.setAccessibleName(f"Show: {advice.sentence}")
            show.setToolTip("Show where it is to be seen")
            show.clicked.connect(lambda _=False, picture=advice.picture: self.shown.emit(picture))
            row.addWidget(show)
        row.addStretch()
        column.addLayout(row)
        if advice.figure:
            figure = caption(advice.figure)
            figure.setWordWrap(True)
            column.addWidget(figure)
