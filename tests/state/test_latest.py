"""Of several requests the last is done and told; and work that gives way to what the person waits for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from qexplorer.progress import Progress, Steps
from qexplorer.state.latest import Latest
from qexplorer.state.runner import Done, Failed, Runner
from tests.state.conftest import Log


@pytest.fixture
def told() -> list[Any]:
    """What was told, in order."""
    return []


@pytest.fixture
def latest(new_runner: Callable[..., Runner]) -> Latest:
    return Latest(new_runner())


def test_a_newer_request_cancels_the_older_one_which_is_never_told(
    qtbot: QtBot, latest: Latest, log: Log, told: list[Any]
) -> None:
    for i in range(20):
        latest.ask(partial(log.endless, str(i)), "endless", told.append)
    latest.ask(partial(log.short, "newest"), "short", told.append)
    qtbot.waitUntil(lambda: latest.idle)
    assert told == [Done("newest")]
    assert sum(line.endswith("began") for line in log) == sum(line.endswith("closed") for line in log)


def test_what_comes_late_is_dropped(qtbot: QtBot, latest: Latest, log: Log, told: list[Any]) -> None:
    latest.ask(partial(log.short, "late"), "short", told.append)
    task = latest.task
    assert task is not None
    while task.outcome is None:  # it is done, but not told yet
        log.closed.wait(0.001)
    latest.drop()
    assert not latest.pending
    assert not latest.idle
    qtbot.waitUntil(lambda: latest.idle)
    assert told == []
    latest.ask(partial(log.short, "next"), "short", told.append)
    qtbot.waitUntil(lambda: bool(told))
    assert told == [Done("next")]


def test_it_waits_until_nothing_else_was_asked_for(qtbot: QtBot, latest: Latest, log: Log, told: list[Any]) -> None:
    for i in range(5):
        latest.ask(partial(log.short, str(i)), "short", told.append, calm_ms=60)
        qtbot.wait(5)
        assert not latest.idle
    assert list(log) == []
    qtbot.waitUntil(lambda: latest.idle)
    assert (list(log), told) == (["4"], [Done("4")])


def test_a_failure_is_told_once_and_the_next_request_is_done(
    qtbot: QtBot, latest: Latest, log: Log, told: list[Any]
) -> None:
    def broken() -> Steps[None]:
        yield Progress("About to fail")
        raise ZeroDivisionError("by nothing")

    latest.ask(broken, "broken", told.append)
    qtbot.waitUntil(lambda: latest.idle)
    (failed,) = told
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ZeroDivisionError)
    latest.ask(partial(log.short, "next"), "short", told.append)
    qtbot.waitUntil(lambda: latest.idle)
    assert told[1:] == [Done("next")]


def test_nothing_is_begun_where_nothing_is_to_be_done_after_all(qtbot: QtBot, latest: Latest, told: list[Any]) -> None:
    latest.ask(lambda: None, "nothing", told.append, calm_ms=0)
    qtbot.waitUntil(lambda: latest.idle)
    assert (latest.pending, told) == (False, [])


def test_telling_may_ask_for_the_next(qtbot: QtBot, latest: Latest, log: Log, told: list[Any]) -> None:
    def on_first(outcome: Done | Failed) -> None:
        told.append(outcome)
        latest.ask(partial(log.short, "second"), "short", told.append)

    latest.ask(partial(log.short, "first"), "short", on_first)
    qtbot.waitUntil(lambda: len(told) == 2)
    assert told == [Done("first"), Done("second")]


def test_after_closing_nothing_is_told(qtbot: QtBot, latest: Latest, log: Log, told: list[Any]) -> None:
    latest.ask(log.endless, "endless", told.append)
    assert log.started.wait(5)
    assert latest.close()
    assert log.closed.is_set()
    qtbot.waitUntil(lambda: latest.idle)
    assert told == []


# Several on one runner


@pytest.fixture
def three(new_runner: Callable[..., Runner]) -> tuple[Latest, Latest, Latest]:
    """What the person waits for, and two kinds of background work, on one thread."""
    runner = new_runner()
    return Latest(runner), Latest(runner, rank=1), Latest(runner, rank=2)


def counting(log: Log, name: str, steps: int) -> Steps[str]:
    for i in range(steps):
        log.append(f"{name} {i}")
        log.started.set()
        log.release.wait(0.002)
        yield Progress(name)
    return name


def test_background_work_gives_way_and_goes_on_where_it_was(
    qtbot: QtBot, three: tuple[Latest, Latest, Latest], log: Log, told: list[Any]
) -> None:
    at_once, survey, scan = three
    scan.ask(partial(counting, log, "scan", 300), "scan", told.append)
    assert log.started.wait(5)
    survey.ask(partial(counting, log, "survey", 20), "survey", told.append)
    qtbot.waitUntil(lambda: "survey 3" in log)
    at_once.ask(partial(log.short, "look"), "look", told.append)
    qtbot.waitUntil(lambda: len(told) == 3, timeout=10_000)
    assert told == [Done("look"), Done("survey"), Done("scan")]
    assert [line for line in log if line.startswith("scan")] == [f"scan {i}" for i in range(300)]
    first, last = log.index("survey 0"), log.index("survey 19")
    assert not any(line.startswith("scan") for line in log[first:last])


def test_what_has_given_way_is_closed_when_it_is_dropped(
    qtbot: QtBot, three: tuple[Latest, Latest, Latest], log: Log, told: list[Any]
) -> None:
    at_once, _, scan = three
    scan.ask(partial(log.endless, "scan"), "scan", told.append)
    assert log.started.wait(5)
    survey = Log()
    at_once.ask(partial(survey.endless, "look"), "look", told.append)
    assert survey.started.wait(5)
    scan.drop()
    at_once.drop()
    qtbot.waitUntil(lambda: at_once.idle and scan.idle)
    assert log.closed.is_set()
    assert told == []


def test_while_it_is_held_only_what_the_person_waits_for_is_done(
    qtbot: QtBot, three: tuple[Latest, Latest, Latest], log: Log, told: list[Any]
) -> None:
    at_once, survey, scan = three
    scan.ask(partial(counting, log, "scan", 100), "scan", told.append)
    assert log.started.wait(5)
    scan.hold(True)
    survey.ask(partial(log.short, "survey"), "survey", told.append)
    done = list(log)
    at_once.ask(partial(log.short, "look"), "look", told.append)
    qtbot.waitUntil(lambda: bool(told))
    qtbot.wait(50)
    assert told == [Done("look")]
    assert list(log) == [*done, "look"]
    scan.hold(False)
    qtbot.waitUntil(lambda: len(told) == 3)
    assert told[1:] == [Done("survey"), Done("scan")]


def test_what_is_held_can_be_closed(three: tuple[Latest, Latest, Latest], log: Log, told: list[Any]) -> None:
    _, _, scan = three
    scan.ask(log.endless, "scan", told.append)
    assert log.started.wait(5)
    scan.hold(True)
    assert scan.close()
    assert log.closed.is_set()


def test_one_runner_comes_after_another(
    qtbot: QtBot, new_runner: Callable[..., Runner], log: Log, told: list[Any]
) -> None:
    first = new_runner("first")
    scan = Latest(new_runner("second", after=first), rank=1)
    for name in ("a", "b"):
        scan.ask(partial(counting, log, "scan", 50), "scan", told.append)
        qtbot.waitUntil(lambda: "scan 3" in log)
        look = Log()
        task = first.submit(look.endless(), "look")
        assert look.started.wait(5)
        qtbot.wait(20)  # the step at hand
        seen = list(log)
        qtbot.wait(50)
        assert list(log) == seen
        first.cancel(task)
        same = first.submit(look.endless(), "kernels", rank=1)
        qtbot.waitUntil(lambda: scan.idle)
        assert told.pop() == Done("scan")
        first.cancel(same)
        log.clear()
        log.append(name)


def test_a_task_that_times_its_steps_says_so_from_its_own_thread(
    qtbot: QtBot, new_runner: Callable[..., Runner], log: Log
) -> None:
    jobs = new_runner(timed=lambda timed: log.append(f"timed {timed}"))

    def steps(*, fails: bool) -> Steps[None]:
        yield Progress("Loading")
        log.append("load")
        for i in range(3):
            yield Progress("Timing", timed=True)
            log.append(f"run {i}")
        if fails:
            raise ZeroDivisionError
        yield Progress("Writing")
        log.append("write")

    for fails in (False, True):
        jobs.submit(steps(fails=fails), "job")
        qtbot.waitUntil(lambda: not jobs.unfinished)
    whole = ["load", "timed True", "run 0", "run 1", "run 2", "timed False", "write"]
    assert list(log) == [*whole, *whole[:-1]]
