"""The settings of the steps that a text names, such as `fold,smooth_quant:0.5`, a row for each step that has any."""

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.settings import Choosable, schema
from qexplorer.widgets.settings_row import SettingsRow


class StepsRows(QWidget):
    """Value in: the text; signal out: the text with other settings of a step, or why they are not possible."""

    edited = Signal(str)
    refused = Signal(str)

    def __init__(self, known: Choosable, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known = known
        self._words: list[str] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 2, 0, 0)
        self._column.setSpacing(2)
        self.rows: list[SettingsRow] = []
        self.hide()

    def show_text(self, text: str) -> None:
        """Show the settings of the steps; what is no step has none."""
        self._words = [word.strip() for word in text.split(",")]
        while len(self.rows) < len(self._words):
            row = SettingsRow()
            row.edited.connect(partial(self._on_edited, len(self.rows)))
            row.refused.connect(self.refused)
            self._column.addWidget(row)
            self.rows.append(row)
        steps = [self._step(word) for word in self._words]
        for row, step in zip(self.rows, [*steps, *[None] * len(self.rows)], strict=False):
            row.hide()
            if step is not None:
                row.show_plugin(step)
        self.setVisible(any(step is not None for step in steps))

    def _step(self, word: str) -> Plugin | None:
        """The step of a word, where it has settings."""
        try:
            step = self._known.read(word)
        except UserError:
            return None
        return step if schema(type(step)) else None

    def _on_edited(self, at: int, step: Plugin) -> None:
        self._words[at] = step.text
        self.edited.emit(",".join(self._words))
