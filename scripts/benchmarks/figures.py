"""A performance figure: what was timed, its peer, its limit, and the bars that it is held to."""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


class DifferenceError(Exception):
    """Ours and a peer's results for the same work are not the same."""


@dataclass(frozen=True)
class Bar:
    """A bar in its own words, and how many times better than it the figure is: below 1 it is missed."""

    text: str
    by: float

    @property
    def holds(self) -> bool:
        """Whether the figure keeps to it."""
        return self.by >= 1


def at_least(text: str, value: float, wanted: float) -> Bar:
    """A bar that `value` shall reach."""
    return Bar(text, value / wanted)


def at_most(text: str, value: float, limit: float) -> Bar:
    """A bar that `value` shall not exceed."""
    return Bar(text, limit / value)


@dataclass(frozen=True)
class Figure:
    """One line of the benchmark; times are medians in seconds.

    `peer` is the fastest of the peers for the same work. `limit` is what cannot be beaten, or a fixed budget. `more`
    is what the line has besides, `others` the part of all cores that other programs used meanwhile.
    """

    name: str
    work: str
    ours_s: float
    peer: str
    peer_s: float
    limit: str
    limit_s: float
    runs: int
    bars: tuple[Bar, ...]
    note: str = ""
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    others: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The line as plain JSON values; `misses_by` is the factor of the bar that is missed most."""
        values = {k: v for k, v in asdict(self).items() if k not in ("bars", "more")}
        worst = min(bar.by for bar in self.bars)
        return {
            **values,
            "ratio": self.peer_s / self.ours_s,
            "over_limit": self.ours_s / self.limit_s,
            "bar": "; ".join(bar.text for bar in self.bars),
            "holds": worst >= 1,
            "misses_by": None if worst >= 1 else 1 / worst,
            "bars": [{"bar": bar.text, "holds": bar.holds, "by": bar.by} for bar in self.bars],
            **self.more,
        }


@dataclass(frozen=True)
class Failure:
    """The line of a figure that there is none of, with the reason."""

    name: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        return asdict(self)


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def alternate(jobs: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """The median seconds of each job: all take turns, `runs` times after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for i in range(runs + 1):
        for name, job in jobs.items():
            gc.collect()
            began = time.perf_counter()
            result = job()
            taken = time.perf_counter() - began
            del result
            if i:
                seconds[name].append(taken)
    return {name: statistics.median(times) for name, times in seconds.items()}


def fastest(seconds: Mapping[str, float]) -> tuple[str, float]:
    """The name and the time of the quickest."""
    return min(seconds.items(), key=lambda item: item[1])


def require_equal(what: str, ours: Any, theirs: Any) -> None:
    """Raise `DifferenceError` where two arrays of counts are not the same."""
    if not np.array_equal(ours, theirs):
        shapes = np.shape(ours), np.shape(theirs)
        off = int(np.count_nonzero(np.asarray(ours) != np.asarray(theirs))) if shapes[0] == shapes[1] else shapes
        raise DifferenceError(f"{what}: the results are not equal ({off} counts differ)")


def require_close(what: str, ours: float, theirs: float, tolerance: float) -> None:
    """Raise `DifferenceError` where two numbers are further apart than `tolerance`, relative to theirs."""
    if not abs(ours - theirs) <= tolerance * abs(theirs):
        raise DifferenceError(f"{what}: ours is {ours:.9g}, theirs {theirs:.9g}; {tolerance:g} apart is allowed")
