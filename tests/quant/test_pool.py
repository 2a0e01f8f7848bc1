"""Work on all cores: results in order, errors passed on, and an end that leaves nothing running."""

import threading
import time

import pytest

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.pool import each


def squared(n: int) -> Steps[int]:
    yield Progress("Squaring")
    time.sleep(0.002 * (n % 3))
    return n * n


def test_results_are_taken_in_order_on_the_callers_thread() -> None:
    taken: list[tuple[int, int, str]] = []
    steps: list[Progress] = []
    finish(
        each("Squaring", range(20), squared, lambda i, r: taken.append((i, r, threading.current_thread().name)),
             lambda _: 1, 20),
        steps.append,
    )  # fmt: skip
    assert [(i, r) for i, r, _ in taken] == [(i, i * i) for i in range(20)]
    assert {name for *_, name in taken} == {threading.current_thread().name}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == 20


def test_a_single_item_is_worked_on_right_here() -> None:
    def work(_: int) -> Steps[str]:
        yield Progress("Working")
        return threading.current_thread().name

    taken: list[str] = []
    finish(each("Working", [1], work, lambda _, name: taken.append(name), lambda _: 1, 1))
    assert taken == [threading.current_thread().name]


def test_an_error_comes_out_and_the_rest_stops() -> None:
    begun: list[int] = []

    def work(n: int) -> Steps[int]:
        begun.append(n)
        yield Progress("Working")
        if n == 2:
            raise ValueError("two")
        return n

    with pytest.raises(ValueError, match="two"):
        finish(each("Working", range(1000), work, lambda *_: None, lambda _: 1, 1000))
    assert len(begun) < 1000


def test_a_timeout_of_the_work_itself_is_an_error_like_any_other() -> None:
    def work(n: int) -> Steps[int]:
        yield Progress("Working")
        raise TimeoutError("the disk is far away")

    with pytest.raises(TimeoutError, match="far away"):
        finish(each("Working", range(3), work, lambda *_: None, lambda _: 1, 3))


def test_closing_waits_for_what_is_underway_and_begins_nothing_more() -> None:
    begun, ended = [], []

    def work(n: int) -> Steps[int]:
        begun.append(n)
        try:
            for _ in range(1000):
                yield Progress("Working")
                time.sleep(0.001)
        finally:
            ended.append(n)
        return n

    steps = each("Working", range(100), work, lambda *_: None, lambda _: 1, 100)
    assert isinstance(next(steps), Progress)  # a heartbeat, long before any result
    steps.close()
    assert sorted(ended) == sorted(begun)
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count < 100


def test_nothing_to_do_is_done() -> None:
    finish(each("Working", [], squared, lambda *_: None, lambda _: 1, 0))
