"""Axes with plain figures, and ranges that end on round ones."""

import math
from itertools import pairwise

import pyqtgraph as pg
from PySide6.QtGui import QFontMetricsF

from qexplorer.numbers import figure
from qexplorer.widgets.theme import scaled

FIGURES = 0.88
"""How large the figures are, against the application's font."""
ROOM = (1.6, 1.1, 0.85)
"""So many times their height two figures of an upright axis are apart: less where else there would be but one."""
BEYOND = 7
"""So many pixels a figure may stand beyond the end of its axis."""


class FigureAxis(pg.AxisItem):
    """An axis whose ticks are plain numbers: no SI prefixes, a true minus sign, and counts where it is logarithmic.

    `whole` leaves whole numbers alone.
    """

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.enableAutoSIPrefix(False)
        self.powers_of_ten = False
        self.whole = False
        self._places = 0

    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:  # noqa: N802, N803
        if self.orientation == "left":
            steps = [upright_step(minVal, maxVal, size)]
        else:
            steps = [step for step, _ in super().tickSpacing(minVal, maxVal, size)]
        if self.whole:
            steps = [step for step in steps if step >= 1] or [1.0]
        return [(step, 0.0) for step in steps]

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802, N803
        if not self.powers_of_ten:
            levels: list[tuple[float, list[float]]] = super().tickValues(minVal, maxVal, size)
            finest = min((spacing for spacing, values in levels[:2] if values), default=1.0)
            self._places = max(0, -math.floor(math.log10(finest) + 1e-9)) if finest > 0 else 0
            return levels
        decades = range(math.ceil(minVal), math.floor(maxVal) + 1)
        return [(1.0, [float(d) for d in decades])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if self.powers_of_ten:
            return [figure(10.0**v, 3) for v in values]
        places = self._places
        if places > 4 or (values and max(abs(v) for v in values) >= 1e6):
            return [figure(0.0 if abs(v) < spacing / 10 else v, 3) for v in values]
        return [f"{0.0 if abs(v) < spacing / 10 else v:.{places}f}".replace("-", "−") for v in values]


class PercentAxis(FigureAxis):
    """An axis of percentages, of which there are none beyond 0 and 100."""

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802, N803
        levels = super().tickValues(minVal, maxVal, size)
        return [(spacing, [v for v in values if -1e-9 < v < 100 + 1e-9]) for spacing, values in levels]


class LogAxis(FigureAxis):
    """A logarithmic axis with as many round figures as fit; `unit` is what one of them stands for."""

    def __init__(self, orientation: str, unit: float = 1.0) -> None:
        super().__init__(orientation)
        self.unit = unit

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802, N803
        low, high = (10.0 ** min(max(end, -30.0), 30.0) / self.unit for end in (minVal, maxVal))
        ticks = log_ticks(low, high, size / (48 if self.orientation == "bottom" else 24))
        return [(1.0, [math.log10(tick * self.unit) for tick in ticks])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [figure(float(f"{10.0**v / self.unit:.6g}"), 6).replace(".00000e", "e") for v in values]


MANTISSAS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


def log_ticks(low: float, high: float, most: float) -> list[float]:
    """Round figures between two; no two of them nearer on a logarithmic axis than a `most`-th of it."""
    if not 0 < low < high:
        return []
    apart = math.log10(high / low) / max(most, 1.0)
    ladders = [multiples(nice((high - low) / 20) * m, low, high) for m in (1, 2, 5, 10)] if high < 5 * low else []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ladders += [[m * 10.0**decade for decade in decades for m in mantissas] for mantissas in MANTISSAS]
    ladders += [[10.0**decade for decade in decades if decade % step == 0] for step in (2, 5, 10)]
    found: list[float] = []
    for ladder in ladders:
        ticks = [tick for tick in ladder if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        found = ticks or found
        if len(ticks) > 1 and all(math.log10(b / a) >= apart for a, b in pairwise(ticks)):
            return ticks
    return found[:1]


def upright_step(low: float, high: float, size: float) -> float:
    """The step from figure to figure on an upright axis of so many pixels."""
    line, pixel, step = QFontMetricsF(scaled(FIGURES)).height(), (high - low) / max(size, 1.0), 1.0
    cut = max(line / 2 - BEYOND, 0.0) * pixel  # where a figure would not be whole
    for room in ROOM:
        step = nice(room * line * pixel)
        if math.floor((high - cut) / step) > math.ceil((low + cut) / step):
            break
    return step


def multiples(step: float, low: float, high: float) -> list[float]:
    """All multiples of a step within a range."""
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def nice(x: float, *, up: bool = True) -> float:
    """The nearest of 1, 2, 5 · 10ᵏ at or above `x` (or at or below), so that axes change in few steps."""
    if x <= 0 or not math.isfinite(x):
        return 1.0
    power = 10.0 ** math.floor(math.log10(x))
    ladder = [m * power for m in (1, 2, 5, 10)]
    if up:
        return next(v for v in ladder if v >= x * (1 - 1e-9))
    return next(v for v in reversed(ladder) if v <= x * (1 + 1e-9))


def padded(low: float, high: float, share: float, least: float) -> tuple[float, float]:
    """A range with room at both ends; where both are equal, so much on either side."""
    room = share * (high - low) or least
    return low - room, high + room


def stepped(low: float, high: float, steps: int) -> tuple[float, float]:
    """A range around two numbers that ends on round steps, about so many."""
    if not high > low:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    step = nice((high - low) / steps)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def unit_of(largest: float) -> tuple[float, str]:
    """The unit in which sizes up to so many bytes are easily read."""
    return next(((factor, name) for factor, name in ((1e9, "GB"), (1e6, "MB")) if largest >= factor / 10), (1e3, "kB"))
