"""`Latest`: of the things that are asked for one after the other, only the last is done and told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from qexplorer.progress import Steps
from qexplorer.state.runner import Cancelled, Done, Failed, Runner, Task

CALM_MS = 120
"""A choice has to stand so long before work begins that need not be seen at once: a drag starts none."""


class Service(Protocol):
    """What the window has of whatever works in the background."""

    @property
    def idle(self) -> bool:
        """Whether nothing is being done or about to be."""
        ...

    def hold(self, held: bool) -> None:
        """Let background work wait, or go on; any thread may say so. What runs stops at its next step."""

    def close(self) -> bool:
        """Stop all work for good; whether it stopped in time."""
        ...


@dataclass(frozen=True)
class Request:
    """What was asked for. `steps` are made when it begins; none where nothing is to be done after all."""

    steps: Callable[[], Steps[Any] | None]
    title: str
    tell: Callable[[Done | Failed], None]


class Latest(QObject):
    """A newer request cancels the older one, whose result is dropped. Several may share one runner, where those of a
    higher `rank` give way to others.
    """

    began = Signal()
    progressed = Signal(object)  # Task
    ended = Signal(object)  # Task: one that was begun has ended, whether it was told or dropped

    def __init__(self, runner: Runner, *, rank: int = 0, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runner, self._rank = runner, rank
        self._request: Request | None = None
        self.task: Task | None = None
        self._calm = QTimer(self, singleShot=True)
        self._calm.timeout.connect(self._begin)
        runner.progressed.connect(self._on_progressed)
        runner.ended.connect(self._on_ended)

    def ask(self, steps: Callable[[], Steps[Any] | None], title: str, tell: Callable[[Done | Failed], None], *,
            calm_ms: int | None = None) -> None:  # fmt: skip
        """Do this and tell how it ended, once: at once, or when nothing else was asked for `calm_ms` long."""
        self.drop()
        self._request = Request(steps, title, tell)
        if calm_ms is None:
            self._begin()
        else:
            self._calm.start(calm_ms)

    def drop(self) -> None:
        """Take the request back."""
        self._calm.stop()
        self._request = None
        task, self.task = self.task, None
        if task is not None:
            self._runner.cancel(task)

    @property
    def pending(self) -> bool:
        """Whether something was asked for that has not been told."""
        return self._request is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is pending, and all that was dropped has stopped."""
        return not self.pending and not any(task.about is self for task in self._runner.unfinished)

    def hold(self, held: bool) -> None:
        """Let background work wait, or go on."""
        self._runner.hold(held)

    def close(self) -> bool:
        """Drop the request and end the runner; whether it stopped in time."""
        self.drop()
        return self._runner.close()

    @Slot()
    def _begin(self) -> None:
        request = self._request
        steps = request.steps() if request is not None else None
        if request is not self._request:  # making the steps has led to another request
            return
        if request is None or steps is None:
            self._request = None
        else:
            self.task = self._runner.submit(steps, request.title, self, rank=self._rank)
            self.began.emit()

    @Slot(object)
    def _on_progressed(self, task: Task) -> None:
        if task is self.task:
            self.progressed.emit(task)

    @Slot(object)
    def _on_ended(self, task: Task) -> None:
        if task.about is not self:
            return
        if task is self.task:
            request, self.task, self._request = self._request, None, None
            if request is not None and task.outcome is not None and not isinstance(task.outcome, Cancelled):
                request.tell(task.outcome)
        self.ended.emit(task)
