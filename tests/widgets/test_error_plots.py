"""Plots of the error and of channels, and the axes of all plots."""

import math

import numpy as np
import pytest
from hands import analysis_of
from plots_by_hand import heights, pixel, view
from PySide6.QtCore import QPointF
from PySide6.QtTest import QTest

from qexplorer.widgets.axes import nice
from qexplorer.widgets.distribution_plot import position
from qexplorer.widgets.error_plot import ChannelPlot, ErrorPlot
from qexplorer.widgets.plot import stairs

pytestmark = [
    pytest.mark.qt_log_ignore("not accepted by receiving widget"),
    pytest.mark.usefixtures("quick_hands"),
]


def test_the_error_plot_marks_half_a_step_and_counts_what_lies_beyond(shown, bell):
    plot = shown(ErrorPlot(), 300, 200)
    a = analysis_of(bell, format="int4")
    plot.show_analysis(a)
    half = float(a.params.scale[0]) / 2
    assert [position(line) for line in plot.halves] == pytest.approx([-half, half])
    assert plot.beyond == 0
    clipped = analysis_of(bell, format="int8", observer="fixed:-0.2,0.2")
    plot.show_analysis(clipped)
    assert plot.beyond == bell.size - int(clipped.errors.sum()) > 0
    plot.show_analysis(analysis_of(bell, format="int4", granularity="channel:0"))
    assert not any(line.isVisible() for line in plot.halves)


def test_the_error_axis_moves_in_few_steps(shown, bell):
    plot = shown(ErrorPlot(), 300, 200)
    seen = set()
    for hi in np.linspace(1.0, 1.5, 30):
        plot.show_analysis(analysis_of(bell, format="int4", observer=f"fixed:{-hi:.4f},{hi:.4f}"))
        seen.add(tuple(view(plot)[0]))
        assert view(plot)[0][1] >= float(-analysis_of(bell, format="int4").error_bins.start) * 0.5
    assert len(seen) <= 3


def test_each_channel_has_a_bar_of_its_sqnr(shown, bell):
    plot = shown(ChannelPlot(), 300, 200)
    a = analysis_of(bell, format="int4")
    plot.show_analysis(a)
    np.testing.assert_allclose(heights(plot.bars), np.clip(a.channel_sqnr_db, 0, None))
    assert plot.mean.value() == a.metrics.sqnr_db
    worst = int(np.argmin(a.channel_sqnr_db))
    assert f"the worst is {worst}" in plot.accessibleDescription()


def test_a_channel_without_error_reaches_the_top(shown):
    plot = shown(ChannelPlot(), 300, 200)
    values = np.array([[0, 0, 0], [1.0, -0.3, 0.77], [127, -127, 0]], np.float32)
    plot.show_analysis(analysis_of(values, granularity="channel:0"))
    finite = heights(plot.bars)
    assert finite[2] == finite.max() > finite[1] > 0
    assert finite[0] == 0
    assert "the worst is 1" in plot.accessibleDescription()
    QTest.qWait(1)
    assert plot.reading(QPointF(pixel(plot, 0))) == "channel 0: all its values are zero"


@pytest.mark.parametrize(
    ("x", "up", "down"),
    [(1, 1, 1), (1.1, 2, 1), (3, 5, 2), (7, 10, 5), (0.04, 0.05, 0.02), (0, 1, 1), (math.nan, 1, 1)],
)
def test_axes_end_at_1_2_or_5(x, up, down):
    assert nice(x) == pytest.approx(up)
    assert nice(x, up=False) == pytest.approx(down)


def test_empty_bins_at_the_ends_are_not_drawn():
    edges, counts = stairs(np.arange(7.0), np.array([0, 0, 3, 0, 1, 0]))
    assert (edges.tolist(), counts.tolist()) == ([2, 3, 4, 5], [3, 0, 1])
    edges, counts = stairs(np.arange(4.0), np.zeros(3))
    assert len(edges) == len(counts) + 1
