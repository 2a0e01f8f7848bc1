"""Choose one option for each item so that the sizes fit a budget and the errors add up to as little as possible.

The multiple-choice knapsack problem, solved by dynamic programming over the size. Sizes are counted in units of
`capacity / cells`, rounded up, so that a budget is kept for certain; with no more bytes than cells the result is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELLS = 20_000


@dataclass(frozen=True)
class Choice:
    """Which option each item takes, and what they add up to."""

    options: tuple[int, ...]
    size: int
    error: float


def front(sizes: Sequence[Sequence[int]], errors: Sequence[Sequence[float]], cells: int = CELLS) -> list[Choice]:
    """The choices that no other one beats in both size and error, the smallest first; items may differ in options."""
    least, most = (sum(pick(s) for s in sizes) for pick in (min, max))
    unit = max(-(-(most - least) // cells), 1)
    spare = -(-(most - least) // unit) + len(sizes)
    best: NDArray[np.float64] = np.zeros(spare + 1)
    taken: list[NDArray[np.int16]] = []
    for own_sizes, own_errors in zip(sizes, errors, strict=True):
        steps = [-(-(size - min(own_sizes)) // unit) for size in own_sizes]
        trials = np.full((len(own_sizes), spare + 1), np.inf)
        for k, (step, error) in enumerate(zip(steps, own_errors, strict=True)):
            if step <= spare:
                trials[k, step:] = best[: spare + 1 - step] + error
        choice = trials.argmin(axis=0)
        taken.append(choice.astype(np.int16))
        best = trials[choice, np.arange(spare + 1)]
    found: list[Choice] = []
    for cell in range(spare + 1):
        if found and not best[cell] < found[-1].error:
            continue
        options = _trace(taken, sizes, unit, cell)
        size = sum(own[k] for own, k in zip(sizes, options, strict=True))
        while found and found[-1].size >= size:  # rounding up may let a later choice be as small
            found.pop()
        found.append(Choice(options, size, float(best[cell])))
    return found


def _trace(taken: list[NDArray[np.int16]], sizes: Sequence[Sequence[int]], unit: int, cell: int) -> tuple[int, ...]:
    """The options that led to a cell, from the last item back to the first."""
    options: list[int] = []
    for own_sizes, choice in zip(reversed(sizes), reversed(taken), strict=True):
        k = int(choice[cell])
        options.append(k)
        cell -= -(-(own_sizes[k] - min(own_sizes)) // unit)
    return tuple(reversed(options))
