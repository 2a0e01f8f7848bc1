"""Plots, as their tests read and touch them."""

from typing import Any

import numpy as np
from hands import analysis_of
from PySide6.QtCore import QPoint, QPointF

from qexplorer.quant import Analysis
from qexplorer.widgets.plot import Plot


def heights(item: Any) -> np.ndarray:
    return np.asarray(item.getData()[1])


def view(plot: Plot) -> list[list[float]]:
    return [list(each) for each in plot.getViewBox().viewRange()]


def pixel(plot: Plot, x: float, y: float | None = None) -> QPoint:
    """Where a point of the plot lies on the screen; without `y`, half way up."""
    (_, _), (bottom, top) = plot.getViewBox().viewRange()
    scene = plot.getViewBox().mapViewToScene(QPointF(x, (bottom + top) / 2 if y is None else y))
    return plot.mapFromScene(scene)


def clipped(values: np.ndarray, lo: float, hi: float) -> Analysis:
    return analysis_of(values, format="int4", observer=f"fixed:{lo!r},{hi!r}")
