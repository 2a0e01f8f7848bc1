"""`Runner`: steps generators on one thread of its own, and reports to the thread of the window."""

import itertools
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, TimeLeft

POLL_MS = 100
"""How often progress is read; the worker never emits it, so a fast generator cannot flood the event loop."""


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
        return f"Unexpected error: {type(self.error).__name__}: {self.error}"

    @property
    def details(self) -> str:
        """The report of a bug; empty for what the person can mend, where the message says it all."""
        return "" if isinstance(self.error, UserError) else self.report


@dataclass(frozen=True)
class Cancelled:
    """The person, or a newer task, stopped it."""


Outcome = Done | Failed | Cancelled
_numbers = itertools.count(1)


@dataclass(eq=False)
class Task:
    """One generator on its way: queued, running or ended. `about` is the caller's own."""

    steps: Steps[Any]
    title: str
    about: Any = None
    number: int = field(default_factory=lambda: next(_numbers))
    progress: Progress | None = None
    started: float | None = None
    time_left: TimeLeft = field(default_factory=TimeLeft)
    outcome: Outcome | None = None
    cancelling: bool = False

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


class Runner(QObject):
    """A queue and one long-lived thread. Each task ends in exactly one of `Done`, `Failed`, `Cancelled`."""

    started = Signal(object)  # Task
    progressed = Signal(object)  # Task
    ended = Signal(object)  # Task
    _crossed = Signal(object, str)  # from the worker to the window's thread

    def __init__(self, name: str, *, newest_wins: bool = False, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._newest_wins = newest_wins
        self._queue: deque[Task] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._untold: list[Task] = []
        self.current: Task | None = None
        self._crossed.connect(self._on_crossed, Qt.ConnectionType.QueuedConnection)
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._on_poll)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, steps: Steps[Any], title: str, about: Any = None) -> Task:
        """Queue a generator. With `newest_wins` everything older is cancelled first."""
        task = Task(steps, title, about)
        with self._wake:
            if self._newest_wins:
                for old in (*self._queue, *([self.current] if self.current else [])):
                    old.cancelling = True
            if not self._closing:
                self._queue.append(task)
                self._wake.notify()
                return task
        self._drop(task)
        return task

    def cancel(self, task: Task) -> None:
        """Ask a task to stop; it ends as `Cancelled` at its next step, or at once if it is still queued."""
        with self._wake:
            task.cancelling = True
            if task not in self._queue:
                return
            self._queue.remove(task)
        self._drop(task)

    def _drop(self, task: Task) -> None:
        """End a task that was never started."""
        task.cancelling = True
        task.outcome = _step(task)
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
                task.cancelling = True
            self._wake.notify()
        self._thread.join(timeout)
        self._timer.stop()
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                task = self.current = self._queue.popleft()
                task.started = time.monotonic()
            self._tell(task, "started")
            task.outcome = _step(task)
            with self._wake:
                self.current = None
                self._untold.append(task)
            self._tell(task, "ended")
            del task

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
            self.progressed.emit(task)


def _step(task: Task) -> Outcome:
    try:
        while not task.cancelling:
            task.note(next(task.steps))
        task.steps.close()
    except StopIteration as end:
        return Done(end.value)
    except BaseException as error:  # noqa: BLE001  even SystemExit is an outcome, and must not end the thread
        return Failed(error, traceback.format_exc())
    return Cancelled()
