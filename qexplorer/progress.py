"""Work is a generator: it yields `Progress`, returns a result, raises an error.

The window, the command line and a test run the same one. Between two yields nothing is interrupted; at a yield the
runner may stop the work by closing the generator, so that its `finally` clauses run.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work is: `done` of `total` in a phase, and of the whole as a `fraction` where it is known.

    `timed` says that the next step is being timed, so that other work should leave the machine alone.
    """

    phase: str
    done: int = 0
    total: int = 0
    fraction: float | None = None
    timed: bool = False

    def __str__(self) -> str:
        return f"{self.phase} {self.done}/{self.total}" if self.total else self.phase


Steps = Generator[Progress, None, T]


def finish(steps: Steps[T], report: Callable[[Progress], None] | None = None) -> T:
    """Run `steps` to their end, hand every progress to `report`, and return the result."""
    try:
        while True:
            progress = next(steps)
            if report is not None:
                report(progress)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def mapped(steps: Steps[T], report: Callable[[Progress], Progress]) -> Steps[T]:
    """Run `steps` as part of a larger piece of work, which reports each of their steps in its own way."""
    try:
        while True:
            yield report(next(steps))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()  # now, not when it is collected: its own `finally` comes before those around it


def within(steps: Steps[T], start: float, stop: float) -> Steps[T]:
    """Run `steps` as the part `start`..`stop` (fractions of the whole) of a larger piece of work."""

    def report(step: Progress) -> Progress:
        own = step.fraction if step.fraction is not None else (step.done / step.total if step.total else 0.0)
        return replace(step, fraction=start + (stop - start) * min(own, 1.0))

    return mapped(steps, report)


class TimeLeft:
    """An estimate of the seconds that a piece of work still takes, from its pace so far."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._share: float | None = None

    def note(self, progress: Progress) -> None:
        """Take note of how far it is. What came before the first share, such as loading torch, says nothing."""
        self._share = progress.fraction
        if self._first is None and progress.fraction:
            self._first = time.monotonic(), progress.fraction

    @property
    def seconds(self) -> float | None:
        """`None` while it would be a guess: in the first three seconds, and in the first half minute until a tenth is
        done.
        """
        if self._first is None or self._share is None:
            return None
        seconds, done = time.monotonic() - self._first[0], self._share - self._first[1]
        if done <= 0 or seconds < 3 or (seconds < 30 and done < 0.1):
            return None
        return seconds * (1 - self._share) / done
