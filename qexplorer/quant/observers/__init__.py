"""Observers: which range of values the grid shall cover. An observer is a fold over blocks of values.

The same one serves one tensor (one `update`) and a calibration stream (many).
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import Doubles, Floats


@dataclass(frozen=True)
class Target:
    """What an observer may ask about the grid that it finds a range for.

    `levels` is the number of codes; `squared_error(rows, lo, hi)` is the sum of squared errors of each group, `[G]`,
    when values `[G, N]` are quantized with the ranges `lo`..`hi`, each `[G]`.
    """

    levels: int
    squared_error: Callable[[Floats, Floats, Floats, Doubles | None], Doubles]


class Observer(Plugin):
    """A way to choose the range. NaN and infinite values are left out by every observer."""

    order: ClassVar[int] = 100
    per_tensor_only: ClassVar[str] = ""
    """Empty, or the reason why the observer serves only one group."""

    even_steps_only: ClassVar[str] = ""
    """Empty, or the reason why the observer serves only evenly spaced levels."""

    def refusal(self, spec: Any) -> str:
        """Why the observer cannot serve this spec; empty if it can."""
        if spec.granularity.name != "tensor" and self.per_tensor_only:
            return self.per_tensor_only
        return self.even_steps_only if not spec.format.uniform else ""

    @abstractmethod
    def update(self, stats: Any, rows: Floats) -> Any:
        """Fold a block of values `[G, N]` into the statistics; `None` stands for nothing seen yet."""

    @abstractmethod
    def range(self, stats: Any, target: Target) -> tuple[Floats, Floats]:
        """The lowest and highest value to cover, `[G]` float32 each; both 0 for a group without finite values."""

    def search(self, stats: Any, target: Target) -> Steps[tuple[Floats, Floats]]:
        """`range` as work that may be stopped between its steps, for observers that try many ranges."""
        yield Progress("Finding the range")
        return self.range(stats, target)


observers: Registry[Observer] = Registry("observer")


def extremes(rows: Floats) -> tuple[Floats, Floats]:
    """The least and greatest finite value of each row: `[G]`, `[G]`; +∞ and −∞ for a row without any."""
    finite = np.isfinite(rows)
    if finite.all() and rows.size:
        return rows.min(axis=1), rows.max(axis=1)
    infinity = np.float32(np.inf)
    return (np.where(finite, rows, infinity).min(axis=1, initial=infinity),
            np.where(finite, rows, -infinity).max(axis=1, initial=-infinity))  # fmt: skip


def zero_if_empty(lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """Replace the range of a group in which nothing finite was seen by 0..0."""
    seen = lo <= hi
    return np.where(seen, lo, np.float32(0)), np.where(seen, hi, np.float32(0))


observers.discover(__name__, list(__path__))
