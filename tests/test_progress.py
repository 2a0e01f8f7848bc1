"""Work as generators: what a larger piece of work reports of a smaller one, and how long it still takes."""

import pytest

from qexplorer.progress import Progress, Steps, TimeLeft, finish, mapped, within


def work(closed: list[str]) -> Steps[str]:
    try:
        yield Progress("Reading", 1, 4)
        yield Progress("Measuring", fraction=0.75, timed=True)
        return "result"
    finally:
        closed.append("inner")


def test_the_steps_of_a_part_are_reported_as_those_of_the_whole() -> None:
    told: list[Progress] = []
    assert finish(within(work([]), 0.5, 0.7), told.append) == "result"
    assert [step.phase for step in told] == ["Reading", "Measuring"]
    assert [step.fraction for step in told] == pytest.approx([0.55, 0.65])
    assert (told[0].done, told[0].total) == (1, 4)
    assert [step.timed for step in told] == [False, True]


def test_what_is_mapped_returns_the_same_and_is_closed_before_what_is_around_it() -> None:
    closed: list[str] = []

    def outer() -> Steps[str]:
        try:
            return (yield from mapped(work(closed), lambda step: Progress(f"Part: {step.phase}")))
        finally:
            closed.append("outer")

    steps = outer()
    assert next(steps) == Progress("Part: Reading")
    steps.close()
    assert closed == ["inner", "outer"]
    assert finish(mapped(work([]), lambda step: step)) == "result"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr("qexplorer.progress.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("fraction", "seconds", "left"),
    [(None, 10, None), (0.1, 10, None), (0.5, 2, None), (0.15, 10, None), (0.2, 10, 80), (0.12, 40, 1760), (1, 9, 0)],
)
def test_the_time_left_is_told_only_when_it_is_no_guess(
    at: list[float], fraction: float | None, seconds: float, left: float | None
) -> None:
    time_left = TimeLeft()
    for now, share in ((20.0, 0.0), (50.0, 0.1), (50.0 + seconds, fraction)):  # loading torch took 50 seconds
        at[0] = now
        time_left.note(Progress("x", fraction=share))
    assert time_left.seconds == (None if left is None else pytest.approx(left))
