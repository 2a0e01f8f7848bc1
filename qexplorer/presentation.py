"""What is drawn or listed of a result, whoever draws it: bars, curves, points and tables, without Qt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


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
class Table:
    """Titles of columns, the first being the names of the rows, and the rows as text."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
