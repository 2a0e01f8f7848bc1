"""The repairs of a recipe as ticks with their settings, in the order in which they are applied."""

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.settings import Choosable
from qexplorer.widgets.settings_row import SettingsRow


class RepairTicks(QWidget):
    """Value in: the text of the repairs, `fold,gptq`; signals out: another text, or why a setting is not possible."""

    edited = Signal(str)
    refused = Signal(str)

    def __init__(self, known: Choosable, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known = known
        self._steps: dict[str, Plugin] = {}
        self.ticks: dict[str, QCheckBox] = {}
        self.rows: dict[str, SettingsRow] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        for i, cls in enumerate(sorted(known, key=lambda cls: cls.order)):
            tick, row = QCheckBox(cls.title), SettingsRow()
            tick.setObjectName(f"repair_{cls.name}")
            tick.setAccessibleName(cls.title)
            tick.setToolTip(cls.help)
            tick.clicked.connect(lambda on, name=cls.name: self._on_ticked(name, on))
            row.edited.connect(partial(self._on_edited, cls.name))
            row.refused.connect(self.refused)
            row.show_plugin(known.read(cls.name))
            policy = row.sizePolicy()
            policy.setRetainSizeWhenHidden(True)  # so that a tick moves nothing
            row.setSizePolicy(policy)
            grid.addWidget(tick, i, 0)
            grid.addWidget(row, i, 1, Qt.AlignmentFlag.AlignLeft)
            self.ticks[cls.name], self.rows[cls.name] = tick, row

    def show_text(self, text: str) -> None:
        """Show which repairs there are; a word that is none of them is passed over."""
        self._steps.clear()
        for word in filter(None, map(str.strip, text.split(","))):
            try:
                step = self._known.read(word)
            except UserError:
                continue
            self._steps[step.name] = step
        for name, tick in self.ticks.items():
            tick.setChecked(name in self._steps)
            self.rows[name].show_plugin(self._steps[name] if name in self._steps else self._known.read(name))
            if name not in self._steps:
                self.rows[name].hide()

    def _on_ticked(self, name: str, on: bool) -> None:
        steps = {**self._steps, name: self._known.read(name)}
        self._tell({key: step for key, step in steps.items() if key != name or on})

    def _on_edited(self, name: str, step: Plugin) -> None:
        self._tell({**self._steps, name: step})

    def _tell(self, steps: dict[str, Plugin]) -> None:
        self.edited.emit(",".join(steps[name].text for name in self.ticks if name in steps))
