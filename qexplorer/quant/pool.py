"""Work on all cores: the same generator for each of many items, on threads that everyone shares."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

from qexplorer.progress import Progress, Steps

T = TypeVar("T")
R = TypeVar("R")
PATIENCE_S = 0.05
"""So often a chance to cancel is given while a result is waited for."""


def each(
    phase: str, items: Iterable[T], work: Callable[[T], Steps[R]], take: Callable[[T, R], None],
    size: Callable[[T], int], total: int,
) -> Steps[None]:  # fmt: skip
    """`take(item, result)` of `work(item)` for each item, in the order of the items; `take` runs on this thread.

    `size(item)` of `total` is done with each. Where the generator is closed, work that is underway stops at its next
    step and is waited for. A single item is worked on right here.
    """
    queue = deque(items)
    if len(queue) == 1:
        take(queue[0], (yield from work(queue[0])))
        return
    stopped = threading.Event()
    underway: deque[tuple[T, Future[R]]] = deque()
    done = 0
    try:
        while queue or underway:
            while queue and len(underway) < 2 * cores():
                item = queue.popleft()
                underway.append((item, _pool().submit(_run, work, item, stopped)))
            item, future = underway[0]
            if not wait([future], PATIENCE_S).done:
                yield Progress(phase, done, total)
                continue
            underway.popleft()
            take(item, future.result())
            done += size(item)
            yield Progress(phase, done, total)
    finally:
        stopped.set()
        for _, future in underway:
            if not future.cancel():
                future.exception()


def _run(work: Callable[[T], Steps[R]], item: T, stopped: threading.Event) -> R:
    steps = work(item)
    while not stopped.is_set():
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
    steps.close()
    raise InterruptedError


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="quant")


@cache
def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
