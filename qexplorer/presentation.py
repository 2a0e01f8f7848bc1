"""What is drawn or listed of a result, whoever draws it: bars, curves, points and tables, without Qt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bar:
    """One row: what is measured, how much it is, and between which bounds where they are known."""

    key: str
    title: str
    value: float
    detail: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ranking:
    """Bars to be ranked: a `name` for a choice of few, what they are and their unit."""

    name: str
    title: str
    unit: str
    bars: tuple[Bar, ...]
    low_is_worst: bool = False


@dataclass(frozen=True, eq=False)
class Curve:
    """A series with a name and a unit: its points in their order; gaps are NaN."""

    title: str
    xs: Sequence[float] | Any
    ys: Sequence[float] | Any
    unit: str
    kind: Literal["line", "dashed", "points"]


@dataclass(frozen=True)
class Curves:
    """Curves over one axis, and what that is."""

    x_title: str = ""
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class FrontPoint:
    """One choice of bits: the size of the model, the average bits of a weight and the relative error of the output (1
    for 100 %); accuracy, a share as well, where it was measured; and the choice as Overrides takes it.
    """

    bytes: int
    average_bits: float
    error: float
    top1: float | None = None
    top1_ci95: tuple[float, float] | None = None
    overrides: str = ""
    chosen: bool = False


@dataclass(frozen=True)
class Paired:
    """On how many samples both models are right, one alone, or neither; `p` is McNemar's, exact and two-sided.

    `changed` are the places of the samples on which the two say different classes, [k].
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float
    changed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Advice:
    """What is wrong, in a sentence with its figures; a remedy in a few words, empty where nothing can be done, and the
    figures that were measured with it, empty where none were.

    `picture` names the panel in which it is to be seen.
    """

    sentence: str
    remedy: str = ""
    figure: str = field(default="", kw_only=True)
    picture: str = field(default="result", kw_only=True)


@dataclass(frozen=True)
class Table:
    """Titles of columns, the first being the names of the rows, and the rows as text."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
