"""Observers: which range of values the grid shall cover. An observer is a fold over blocks of values.

The same one serves one tensor (one `update`) and a calibration stream (many).
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.bins import Bins
from qexplorer.quant.weighted import Sample

Asks = Literal["nothing", "extremes", "values"]

Ends = tuple[Floats, Floats]
"""The ranges of groups: the lowest and the highest value of each, `[G]`, `[G]`."""


@dataclass(frozen=True)
class Grid:
    """A table of levels with one free scale: `levels` ascending `[K]`, in units of the scale; `ends(scale)` are the
    ranges that give the groups those scales `[G]`.
    """

    levels: Doubles
    ends: Callable[[Doubles], Ends]


@dataclass(frozen=True)
class Target:
    """What an observer may ask about the grid that it finds a range for.

    `levels` is the number of codes, of `bits` bits. `error(rows, lo, hi, weights, power)` is the sum of |e|^power of
    each group, `[G]`, when values `[G, N]` are quantized with the ranges `lo`..`hi`, each `[G]`, each value counting
    `weights` times `[G, N]` (once if `None`). `grids()` are the tables among which the spec can choose; none where
    there are too many of them, or too many levels. `swept` says whether the best of all scales is worth a sweep over
    them: levels are few or unevenly spaced, values go to the nearest one, and scales are float32. `two_ended`: the
    range need not be symmetric. `pilot` is the sum of what the observer's `pilot` gives over all groups, where it is
    asked for the ranges of some.
    """

    levels: int
    bits: int
    error: Callable[[Floats, Floats, Floats, Doubles | None, float], Doubles]
    grids: Callable[[], tuple[Grid, ...]]
    swept: bool = False
    two_ended: bool = False
    pilot: Doubles | None = None


class Passes(Protocol):
    """One group of more values than are looked at together: they come piece by piece, on all cores."""

    @property
    def ends(self) -> tuple[float, float]:
        """The least and greatest finite value; +∞ and −∞ for none."""
        ...

    def sum(self, of: Callable[[Floats], AnyArray]) -> Steps[AnyArray]:
        """The sum of `of(piece)`, an array, over pieces that hold each finite value once."""
        ...

    def magnitudes(self, bins: Bins) -> Steps[Counts]:
        """How many |x| lie in each bin."""
        ...

    def quantiles(self, *shares: float) -> Steps[Floats]:
        """Quantiles of the values, interpolated as `Sample.quantile` has them; NaN for no values."""
        ...


class Observer(Plugin):
    """A way to choose the range. NaN and infinite values are left out by every observer."""

    order: ClassVar[int] = 100
    asks: ClassVar[Asks] = "values"
    """What of a tensor the range depends on."""
    nearest_only: ClassVar[str] = ""
    """Empty, or the reason why the observer serves only roundings to the nearest level."""
    piloted: ClassVar[bool] = False
    """Whether groups depend on each other, so that those of a part need the `pilot` of all."""
    least_squares: ClassVar[bool] = False
    """Whether the range is meant to err no more than the extremes would, in Σe²."""

    def refusal(self, spec: Any) -> str:
        """Why the observer cannot serve this spec; empty if it can."""
        del spec
        return ""

    def update(self, stats: Any, rows: Floats) -> Any:
        """Fold a block of values `[G, N]` into the statistics; `None` stands for nothing seen yet.

        Without an own one the statistics are a `Sample` of the values.
        """
        return Sample.of(rows) if stats is None else stats.and_also(rows)

    def of_sample(self, sample: Sample) -> Any:
        """The statistics of values that count more than once each."""
        return sample

    def by_passes(self, passes: Passes) -> Steps[Any] | None:
        """The statistics of one group of very many values, just as `update` has them; `None` where a few passes over
        the values do not give them, so that the observer has to make do with their sketch.
        """
        del passes
        return None

    def nearby(self, lo: Floats, hi: Floats) -> tuple[Ends, ...]:
        """All ranges that the true values can have where their sketch has `lo`..`hi`; empty where that is unknown."""
        return ((lo, hi),) if self.asks != "values" else ()

    def pilot(self, stats: Any, target: Target) -> Doubles:
        """What the ranges of single groups depend on beside their own values, as sums over the groups."""
        raise NotImplementedError

    @abstractmethod
    def range(self, stats: Any, target: Target) -> Ends:
        """The lowest and highest value to cover, `[G]` float32 each; both 0 for a group without finite values."""

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        """`range` as work that may be stopped between its steps, for observers that try many ranges."""
        yield Progress("Finding the range")
        return self.range(stats, target)


observers: Registry[Observer] = Registry("observer")


def extremes(rows: Floats) -> Ends:
    """The least and greatest finite value of each row: `[G]`, `[G]`; +∞ and −∞ for a row without any."""
    finite = np.isfinite(rows)
    if finite.all() and rows.size:
        return rows.min(axis=1), rows.max(axis=1)
    infinity = np.float32(np.inf)
    return (np.where(finite, rows, infinity).min(axis=1, initial=infinity),
            np.where(finite, rows, -infinity).max(axis=1, initial=-infinity))  # fmt: skip


def zero_if_empty(lo: Floats, hi: Floats) -> Ends:
    """Replace the range of a group in which nothing finite was seen by 0..0."""
    seen = lo <= hi
    return np.where(seen, lo, np.float32(0)), np.where(seen, hi, np.float32(0))


def no_ends(groups: int) -> Ends:
    """The extremes of groups in which nothing finite was seen: +∞ and −∞."""
    return np.full(groups, np.inf, np.float32), np.full(groups, -np.inf, np.float32)


def as_float32(end: Doubles) -> Floats:
    """One end of some ranges in float32; what lies beyond float32 is put on its largest number."""
    largest = float(np.finfo(np.float32).max)
    return np.clip(end, -largest, largest).astype(np.float32)


observers.discover(__name__, list(__path__))
