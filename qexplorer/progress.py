"""Work is a generator: it yields `Progress`, returns a result, raises an error.

The window, the command line and a test run the same one. Between two yields nothing is interrupted; at a yield the
runner may stop the work by closing the generator, so that its `finally` clauses run.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work is: `done` of `total` in a phase, and of the whole as a `fraction` where it is known."""

    phase: str
    done: int = 0
    total: int = 0
    fraction: float | None = None

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


def within(steps: Steps[T], start: float, stop: float) -> Steps[T]:
    """Run `steps` as the part `start`..`stop` (fractions of the whole) of a larger piece of work."""
    try:
        while True:
            step = next(steps)
            own = step.fraction if step.fraction is not None else (step.done / step.total if step.total else 0.0)
            yield Progress(step.phase, step.done, step.total, start + (stop - start) * min(own, 1.0))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()  # now, not when it is collected: its own `finally` comes before those around it
