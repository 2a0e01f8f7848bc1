"""Which runs the person looks at, and what is known of the history: the panels beside the table of runs show it."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from qexplorer.engine.runs.curve_points import CurvePoint
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.state.latest import Latest
from qexplorer.state.runner import Done, Failed, Runner, Task

Line = tuple[str, str]
"""A run's id and the name of one of its rows; "" where it has none."""
Points = tuple[CurvePoint, ...]
CHANGE = object()
"""What the task of a change is about."""
WATCH_MS = 1000
"""So often it is asked whether the history has changed."""
PATIENCE_S = 10.0
"""How long the window stays for a change that is under way when it is closed."""
SHOWN = 50
"""So many runs are shown; `qexplorer runs` lists them all."""


@dataclass(frozen=True)
class Known:
    """The runs of the history, newest first and without the text of their results; the newest `SHOWN` results by
    their runs' ids, None where one cannot be read; and how many steps each run that is not under way has done.
    """

    runs: tuple[Run, ...] = ()
    results: Mapping[str, RunResult | None] = dataclasses.field(default_factory=dict[str, RunResult | None])
    steps: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    stamp: object = dataclasses.field(default=None, compare=False)


class ChosenRuns(QObject):
    """The chosen lines, the first one being the one whose details are shown; and the run that is under way.

    The history is read and changed by a thread of its own: properties say what was found there the last time. While
    it is `watch`ed, what other programs write into it is seen as well.
    """

    changed = Signal()
    history_changed = Signal()
    """The history was read again."""
    grew = Signal()
    """The run under way has more `points`."""
    done = Signal(object)
    """What was to be `do`ne with the history has ended: its task, with how."""

    def __init__(self, history: History, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.history, self._runner = history, runner
        self.lines: tuple[Line, ...] = ()
        self.running, self._ended = "", ""
        self.points: Points = ()
        self.known = Known()
        self.failed: Failed | None = None
        self._older: dict[str, RunResult | None] = {}
        self._listing, self._curves, self._checking = (Latest(runner, rank=1, parent=self) for _ in range(3))
        self._beat = QTimer(self, interval=WATCH_MS)
        self._beat.timeout.connect(self._check)
        runner.ended.connect(self._on_done)

    def choose(self, lines: tuple[Line, ...]) -> None:
        """Look at these lines."""
        if lines != self.lines:
            self.lines = lines
            self.changed.emit()

    def follow(self, run_id: str) -> None:
        """Look at a run that has just begun; "" when it has ended, and then at its newest row, if it is done."""
        self._ended = self._ended if run_id else self.running
        self.running, self.points = run_id, ()
        if run_id:
            self.changed.emit()
        else:
            self.reload()

    def reload(self) -> None:
        """Read the history again, for runs were added, removed or annotated: once, however often that is asked for."""
        self._read(self._on_listed)

    def watch(self, watched: bool) -> None:
        """Say whether somebody looks: only then is it asked whether other programs have written into the history."""
        if watched:
            self._beat.start()
        else:
            self._beat.stop()

    @Slot()
    def _check(self) -> None:
        if self.idle and self._checking.idle:
            self._checking.ask(partial(_read_stamp, self.history), "Looking at the run history", self._on_checked)

    def _on_checked(self, outcome: Done | Failed) -> None:
        if isinstance(outcome, Done) and outcome.result != self.known.stamp and self.idle:
            self._read(self._on_listed_again)

    def _read(self, tell: Callable[[Done | Failed], None]) -> None:
        steps = partial(_read, self.history, self.known.results)
        self._listing.ask(steps, "Reading the run history", tell, calm_ms=0)

    def reload_points(self) -> None:
        """Read again what the run under way has found so far, unless that is being done."""
        if self.running and self.idle:
            steps, tell = partial(_read_points, self.history, self.running), partial(self._on_points, self.running)
            self._curves.ask(steps, "Reading its curves", tell)

    def do(self, work: Callable[[], object], title: str) -> None:
        """Do something with the history; `done` tells how it ended, and the history is read again."""
        self._runner.submit(_at_once(work, title), title, CHANGE)

    @property
    def idle(self) -> bool:
        """Whether nothing is being read or changed."""
        changing = any(task.about is CHANGE for task in self._runner.unfinished)
        return self._listing.idle and self._curves.idle and not changing

    def hold(self, held: bool) -> None:
        """Let the history be read later, or now."""
        self._runner.hold(held)

    def close(self) -> bool:
        """Stop reading, once what was to be done is done; whether it stopped in time."""
        self._beat.stop()
        for latest in (self._listing, self._curves, self._checking):
            latest.drop()
        give_up = time.monotonic() + PATIENCE_S
        while any(task.about is CHANGE for task in self._runner.tasks) and time.monotonic() < give_up:
            time.sleep(0.01)
        return self._runner.close()

    def _on_listed(self, outcome: Done | Failed) -> None:
        if isinstance(outcome, Done):
            self.known, self._older = outcome.result, {}
            self._settle()
        self.failed = outcome if isinstance(outcome, Failed) else None
        self.history_changed.emit()

    def _on_listed_again(self, outcome: Done | Failed) -> None:
        """Somebody has written into the history: tell of it if that can be seen."""
        if isinstance(outcome, Done) and self.failed is None and outcome.result == self.known:
            self.known = outcome.result
        else:
            self._on_listed(outcome)

    def _on_points(self, run_id: str, outcome: Done | Failed) -> None:
        if run_id == self.running and isinstance(outcome, Done) and outcome.result != self.points:
            self.points = outcome.result
            self.grew.emit()

    @Slot(object)
    def _on_done(self, task: Task) -> None:
        if task.about is CHANGE:
            self.done.emit(task)
            self.reload()

    def _settle(self) -> None:
        """Look at the run that has ended, if it is done; and no more at lines of runs that are gone."""
        result = self.known.results.get(self._ended)
        if result is not None:
            self.lines = ((self._ended, result.rows[-1].name),)
        self._ended = ""
        present = {run.run_id for run in self.known.runs}
        self.lines = tuple(line for line in self.lines if line[0] in present)

    @property
    def run(self) -> Run | None:
        """The run whose details are shown: the first chosen one, or the newest that is done."""
        if self.lines:
            return next((run for run in self.known.runs if run.run_id == self.lines[0][0]), None)
        return next((run for run in self.known.runs if run.status == "done"), None)

    def job_settings(self) -> dict[str, Any]:
        """The settings with which that run was started."""
        run = self.run
        return {} if run is None else json.loads(run.config_json)

    @property
    def result(self) -> RunResult | None:
        """The result of that run, if it has one that can be read."""
        run = self.run
        if run is None or run.status != "done":
            return None
        if run.run_id in self.known.results:
            return self.known.results[run.run_id]
        if run.run_id not in self._older:  # of so old a run it is read when it is asked for: one row of the history
            self._older[run.run_id] = None
            with suppress(UserError):
                self._older[run.run_id] = RunResult.from_json(self.history.get(run.run_id).result_json or "")
        return self._older[run.run_id]


def _read(history: History, before: Mapping[str, RunResult | None]) -> Steps[Known]:
    """What the history has; a result that was read before stays as it is."""
    yield Progress("Reading the run history")
    stamp, runs = history.stamp(), history.runs(results=False)
    done = [run.run_id for run in runs if run.status == "done"][:SHOWN]
    results = {run_id: before.get(run_id) for run_id in done}
    for run_id, text in history.results([each for each in done if results[each] is None]).items():
        yield Progress("Reading results")
        with suppress(UserError):  # written by another version, or damaged: the others are shown
            results[run_id] = RunResult.from_json(text)
    running = {run.run_id for run in runs if run.status == "running"}
    steps = {run_id: n for run_id, n in history.steps_done().items() if run_id not in running}
    return Known(tuple(runs), results, steps, stamp)


def _read_stamp(history: History) -> Steps[object]:
    yield Progress("Looking at the run history")
    return history.stamp()


def _at_once(work: Callable[[], object], title: str) -> Steps[object]:
    """A piece of work without steps; once begun, it is done to its end."""
    yield Progress(title)
    return work()


def _read_points(history: History, run_id: str) -> Steps[Points]:
    yield Progress("Reading its curves")
    return history.journal(run_id).points()
