"""Which runs the person looks at: what the table of runs chooses, the panels beside it show."""

import json
from typing import Any

from PySide6.QtCore import QObject, Signal

from qexplorer.engine.history import History, Run
from qexplorer.engine.results import RunResult
from qexplorer.errors import UserError

Line = tuple[str, str]
"""A run's id and the name of one of its rows."""


class ChosenRuns(QObject):
    """The chosen lines, the first one being the one whose details are shown; and the run that is under way."""

    changed = Signal()
    history_changed = Signal()
    """Runs were added, removed or annotated."""

    def __init__(self, history: History, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.history = history
        self.lines: tuple[Line, ...] = ()
        self.running = ""

    def choose(self, lines: tuple[Line, ...]) -> None:
        """Look at these lines."""
        if lines != self.lines:
            self.lines = lines
            self.changed.emit()

    def follow(self, run_id: str) -> None:
        """Look at a run that has just begun; "" when it has ended."""
        self.running = run_id
        self.changed.emit()

    @property
    def run(self) -> Run | None:
        """The run whose details are shown: the first chosen one, or the newest that is done."""
        try:
            if self.lines:
                return self.history.get(self.lines[0][0])
            return next((run for run in self.history.runs(20) if run.status == "done"), None)
        except UserError:
            return None

    def job_settings(self) -> dict[str, Any]:
        """The settings with which that run was started."""
        run = self.run
        return {} if run is None else json.loads(run.config_json)

    @property
    def result(self) -> RunResult | None:
        """The result of that run, if it has one that can be read."""
        run = self.run
        try:
            return None if run is None or run.result_json is None else RunResult.from_json(run.result_json)
        except UserError:
            return None
