"""`Runner`: steps generators on one thread of its own, and reports to the thread of the window.

As work stops only between two steps, it can also be put off there and taken up again: a task gives way to those of a
lower rank, of its own runner and of the one that this comes `after`, and all but rank 0 wait while a runner is held.
"""

import itertools
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

from qexplorer.errors import UserError
from qexplorer.log import log
from qexplorer.platform_check import unexpected
from qexplorer.progress import Progress, Steps, TimeLeft

POLL_MS = 100
"""How often progress is read; the worker never emits it, so a fast generator cannot flood the event loop."""
LAST = 100
"""A rank that gives way to all."""
PATIENCE_S = 0.5
"""So long whoever holds a runner waits for the step at hand."""
GRACE_S = 1.5
"""So long a step may go on after a cancel, where the runner can do without it: then its thread is let go."""

given_up: list[threading.Thread] = []
"""Threads in which a step does not end; they are waited for no more."""


@dataclass(frozen=True)
class Done:
    """The generator returned `result`."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """The generator raised `error`; `report` is the traceback as text."""

    error: BaseException
    report: str

    @property
    def message(self) -> str:
        """One line for the person: what they can mend, or that it is a bug."""
        if isinstance(self.error, UserError):
            return str(self.error)
        return unexpected(self.error)

    @property
    def details(self) -> str:
        """The report of a bug; empty for what the person can mend, where the message says it all."""
        return "" if isinstance(self.error, UserError) else self.report


@dataclass(frozen=True)
class Cancelled:
    """The person, or a newer task, stopped it."""


Outcome = Done | Failed | Cancelled


def _alone(error: BaseException) -> BaseException:
    """The error without the calls that led to it, whose variables would be held as long as it is."""
    chain: list[BaseException] = [error]
    for each in chain:
        each.__traceback__ = None
        chain += [e for e in (each.__cause__, each.__context__) if e is not None and e not in chain]
    return error


_numbers = itertools.count(1)


@dataclass(eq=False)
class Task:
    """One generator on its way: queued, running or ended. `about` is the caller's own; of `rank` 0 is what the person
    waits for.
    """

    steps: Steps[Any]
    title: str
    about: Any = None
    rank: int = 0
    number: int = field(default_factory=lambda: next(_numbers))
    progress: Progress | None = None
    started: float | None = None
    time_left: TimeLeft = field(default_factory=TimeLeft)
    outcome: Outcome | None = None
    cancelling: bool = False
    cancelled: float = math.inf

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started if self.started is not None else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate of how long it still takes; `None` while it would be a guess."""
        return self.time_left.seconds

    def note(self, progress: Progress) -> None:
        """Take note of how far it is."""
        self.progress = progress
        self.time_left.note(progress)

    def stop(self) -> None:
        """Ask it to stop at its next step."""
        self.cancelling, self.cancelled = True, min(self.cancelled, time.monotonic())


class Runner(QObject):
    """A queue and one long-lived thread. Each task ends in exactly one of `Done`, `Failed`, `Cancelled`.

    `timed` is told by the runner's own thread when a task begins and ends to time its steps. A task that does not
    stop within `GRACE_S` ends as `Cancelled` all the same where `let_go`, which is told the number of its thread, says
    that it can be done without: the thread goes on without anybody hearing of it, and another takes its place.
    """

    started = Signal(object)  # Task
    progressed = Signal(object)  # Task
    ended = Signal(object)  # Task
    _crossed = Signal(object, str)  # from the worker to the window's thread

    def __init__(self, name: str, *, after: "Runner | None" = None, timed: Callable[[bool], None] | None = None,
                 let_go: Callable[[int], bool] | None = None, parent: QObject | None = None) -> None:  # fmt: skip
        super().__init__(parent)
        self._after, self._followers = after, list[Runner]()
        if after is not None:
            after._followers.append(self)
        self._queue: deque[Task] = deque()
        self._wake = threading.Condition()
        self._closing = self._held = False
        self._tell_timed, self._timed, self._let_go = timed, False, let_go
        self._untold: list[Task] = []
        self.current: Task | None = None
        self._crossed.connect(self._on_crossed, Qt.ConnectionType.QueuedConnection)
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._on_poll)
        self._thread = self._start(name)

    def _start(self, name: str) -> threading.Thread:
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        with self._wake:
            self._thread = thread
        thread.start()
        return thread

    def submit(self, steps: Steps[Any], title: str, about: Any = None, *, rank: int = 0) -> Task:
        """Queue a generator."""
        task = Task(steps, title, about, rank)
        with self._wake:
            if not self._closing:
                self._queue.append(task)
                self._wake.notify_all()
                return task
        self._drop(task)
        return task

    def cancel(self, task: Task) -> None:
        """Ask a task to stop; it ends as `Cancelled` at its next step, or at once if it was never begun."""
        with self._wake:
            task.stop()
            self._wake.notify_all()
            if task not in self._queue or task.started is not None:
                return
            self._queue.remove(task)
        self._drop(task)
        self._let_follow()

    def hold(self, held: bool) -> None:
        """Let all tasks but those of rank 0 wait, or go on. Where one is in the middle of a step, wait for its end."""
        with self._wake:
            self._held = held
            self._wake.notify_all()
            if held:
                self._wake.wait_for(lambda: self.current is None or not self.current.rank, PATIENCE_S)

    def _drop(self, task: Task) -> None:
        """End a task that was never started."""
        task.stop()
        task.steps.close()
        task.outcome = Cancelled()
        with self._wake:
            self._untold.append(task)
        self._crossed.emit(task, "ended")

    @property
    def tasks(self) -> list[Task]:
        """The running task and those that wait, in their order."""
        with self._wake:
            return [*([self.current] if self.current else []), *self._queue]

    @property
    def unfinished(self) -> list[Task]:
        """The tasks, and before them those whose end was not told yet."""
        with self._wake:
            return [*self._untold, *([self.current] if self.current else []), *self._queue]

    def close(self, timeout: float = 10.0) -> bool:
        """Cancel everything and end the thread; whether it ended within `timeout` seconds."""
        with self._wake:
            self._closing = True
            for task in (*self._queue, *([self.current] if self.current else [])):
                task.stop()
            self._wake.notify_all()
        self._thread.join(min(timeout, GRACE_S))
        self._give_up()
        self._thread.join(timeout)
        self._timer.stop()
        return not self._thread.is_alive()

    def _give_up(self) -> None:
        """End the task whose step does not end, if it can be done without, and go on with another thread."""
        task, thread = self.current, self._thread
        if task is None or self._let_go is None or not self._let_go(thread.ident or 0):
            return
        with self._wake:
            if self.current is not task:
                return
            self.current, task.outcome = None, Cancelled()
            self._untold.append(task)
            self._start(thread.name)
        given_up.append(thread)
        self._note_timed(False)
        self._tell(task, "ended")

    def _work(self) -> None:
        while True:
            with self._wake:
                while (task := self._next()) is None and not self._closing:
                    self._wake.wait()
                if task is None:
                    return
                self._queue.remove(task)
                self.current, begins = task, task.started is None
                task.started = time.monotonic() if task.started is None else task.started
            if begins:
                self._tell(task, "started")
            outcome = self._advance(task)
            with self._wake:
                if self._thread is not threading.current_thread():
                    return
                self.current, task.outcome = None, outcome
                if outcome is None:
                    self._queue.appendleft(task)
                else:
                    self._untold.append(task)
                self._wake.notify_all()
            if outcome is not None:
                self._tell(task, "ended")
            del task, outcome
            self._let_follow()

    def _let_follow(self) -> None:
        """Nothing may be left to do here: let those go on that come after."""
        for runner in self._followers:
            with runner._wake:
                runner._wake.notify_all()

    def _next(self) -> Task | None:
        """The task to be stepped now: of those of the lowest rank the first; one that is to stop comes before all."""
        lowest = self._first_rank()
        ready = [task for task in self._queue if task.cancelling or not self._waits(task, lowest)]
        return min(ready, key=lambda task: -1 if task.cancelling else task.rank, default=None)

    def _waits(self, task: Task, lowest: int) -> bool:
        return task.rank > 0 and (self._held or lowest < task.rank)

    def _first_rank(self) -> int:
        """The lowest rank of what the runner has to do that this one comes after."""
        return min((task.rank for task in self._after.tasks), default=LAST) if self._after else LAST

    def _gives_way(self, task: Task) -> bool:
        if not task.rank:
            return False
        with self._wake:
            waits = self._waits(task, self._first_rank())
            return waits or any(other.rank < task.rank or other.cancelling for other in self._queue)

    def _advance(self, task: Task) -> Outcome | None:
        """Step a task to its end, or until it gives way: None."""
        try:
            while not task.cancelling:
                if self._gives_way(task):
                    return None
                progress = next(task.steps)
                task.note(progress)
                self._note_timed(progress.timed)
            task.steps.close()
        except StopIteration as end:
            return Done(end.value)
        except BaseException as error:  # noqa: BLE001  even SystemExit is an outcome, and must not end the thread
            report = traceback.format_exc()
            if not isinstance(error, UserError):
                log.error("%s: %s", task.title, report)
            return Failed(_alone(error), report)
        finally:
            if self._thread is threading.current_thread():
                self._note_timed(False)
        return Cancelled()

    def _note_timed(self, timed: bool) -> None:
        if timed != self._timed:
            self._timed = timed
            if self._tell_timed is not None:
                self._tell_timed(timed)

    def _tell(self, task: Task, what: str) -> None:
        with suppress(RuntimeError):  # the window is gone already, and with it whoever would hear of it
            self._crossed.emit(task, what)

    @Slot(object, str)
    def _on_crossed(self, task: Task, what: str) -> None:
        if what == "started":
            self._timer.start()
            self.started.emit(task)
            return
        with self._wake:
            self._untold.remove(task)
        if not self.tasks:
            self._timer.stop()
        self.ended.emit(task)

    @Slot()
    def _on_poll(self) -> None:
        task = self.current
        if task is not None:
            if time.monotonic() - task.cancelled > GRACE_S:
                self._give_up()
            self.progressed.emit(task)
