"""What the tests of this room share: the program's style, a place on screen, and a weight to look at."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtWidgets import QToolTip, QWidget

from qexplorer.widgets.distribution_plot import DistributionPlot


@pytest.fixture(autouse=True)
def _dressed(themes: Any) -> None:
    """Every widget is tested in the program's own style and type."""


@pytest.fixture(scope="session")
def bell() -> np.ndarray:
    """A bell-shaped weight `[32, 256]` with one outlier far out."""
    values = np.random.default_rng(7).normal(0, 0.1, (32, 256)).astype(np.float32)
    values[3, 5] = 1.5
    return values


@pytest.fixture
def shown(qtbot: Any) -> Callable[..., Any]:
    """Put a widget on screen, at a size, and wait until it is there."""

    def show(widget: QWidget, width: int = 420, height: int = 320) -> QWidget:
        qtbot.addWidget(widget)
        widget.resize(width, height)
        with qtbot.waitExposed(widget):
            widget.show()
        return widget

    return show


@pytest.fixture
def plot(shown) -> DistributionPlot:
    return shown(DistributionPlot(), 600, 360)


@pytest.fixture
def quick_hands() -> Iterator[None]:
    """pyqtgraph overlooks moves that come faster than 100 a second; tests make no pauses."""
    usual = pg.getConfigOption("mouseRateLimit")
    pg.setConfigOption("mouseRateLimit", -1)
    yield
    pg.setConfigOption("mouseRateLimit", usual)
    QToolTip.hideText()
