"""Curves over time: plots by unit on one x axis, legends, live updates that make no items."""

import itertools
import math
import time

import numpy as np
import pytest
from hands import accessible_name, focusable
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor

from qexplorer.presentation import Curve
from qexplorer.widgets.curve import thinned
from qexplorer.widgets.curves_plot import CurvesPlot
from qexplorer.widgets.theme import DARK, LIGHT
from qexplorer.widgets.unit_plot import FEW, many_of

N = np.arange(400)
LOSS = 2.3 * np.exp(-N / 60) + 0.01
CURVES = (
    Curve("Training", N, LOSS, "Loss", "line"),
    Curve("Validation", N[::20], LOSS[::20] + 0.1, "Loss", "dashed"),
    Curve("Top-1", N[::20], 100 - 90 * np.exp(-N[::20] / 40), "Top-1 (%)", "points"),
)


def scales(n, unit="scale", length=100):
    return [Curve(f"features.{i}", N[:length], 0.01 * i + 0.001 * np.sin(N[:length]), unit, "line") for i in range(n)]


@pytest.fixture
def widget(shown):
    widget = shown(CurvesPlot(), 600, 480)
    widget.show_curves([*CURVES, *scales(53)], "Step")
    widget.grab()
    return widget


def visible(widget):
    plots = [plot for plot in widget.plots.values() if plot.isVisible()]
    return sorted(plots, key=lambda plot: plot.y())


def test_each_unit_has_a_plot_of_its_own_and_only_the_last_the_x_axis(widget):
    plots = visible(widget)
    assert [plot.unit for plot in plots] == ["Loss", "Top-1 (%)", "scale"]
    assert [plot.y_axis.labelText for plot in plots] == ["Loss", "Top-1 (%)", "scale"]
    assert [plot.x_axis.labelText for plot in plots] == ["", "", "Step"]
    assert [plot.x_axis.style["showValues"] for plot in plots] == [False, False, True]
    heights = [plot.getViewBox().height() for plot in plots]
    assert max(heights) - min(heights) < 0.25 * max(heights)


def ticks(plot):
    """The figures that are to be seen at the upright axis, and where they stand, from above."""
    axis = plot.y_axis
    low, high = axis.range
    ((spacing, values),) = axis.tickValues(low, high, axis.height())
    places = [axis.height() * (high - v) / (high - low) for v in reversed(values)]
    texts = reversed(axis.tickStrings(values, 1, spacing))
    half = 7 - axis.style["hideOverlappingLabels"]
    return [(at, text) for at, text in zip(places, texts, strict=True) if half <= at <= axis.height() - half]


@pytest.mark.parametrize("height", [215, 400, 700])
def test_titles_and_figures_have_room_however_low_the_plots_are(widget, qtbot, height):
    curves = [Curve("Loss", [1, 2, 3], [3.0637, 3.055, 3.0341], "Loss", "line"),
              Curve("Validation", [1, 2, 3], [97.2, 100, 100], "Top-1 (%)", "line"),
              Curve("Training", [1, 2, 3], [99.6, 99.7, 100], "Top-1 (%)", "dashed"),
              *(Curve(f"l{i}", [1, 2, 3], [1, 1, 1 + i / 350], "Scale", "line") for i in range(-10, 24))]  # fmt: skip
    widget.show_curves(curves, "Epoch")
    widget.resize(560, height)

    def settled():
        widget.grab()
        heights = [plot.getViewBox().height() for plot in visible(widget)]
        return sum(plot.height() for plot in visible(widget)) == height and max(heights) - min(heights) < 2

    qtbot.waitUntil(settled)
    assert [[text for _, text, _ in plot.legend] for plot in visible(widget)] == [
        [], ["Validation", "Training"], ["34 scales"]
    ]  # fmt: skip
    for plot in visible(widget):
        places = [plot.title_place, *(place for _, _, place in plot.legend)]
        assert all(plot.rect().contains(place.toRect()) for place in places)
        assert not any(a.intersects(b) for i, a in enumerate(places) for b in places[:i])
        assert max(place.bottom() for place in places) < plot.getViewBox().sceneBoundingRect().top()
        seen = ticks(plot)
        assert len({text for _, text in seen}) == len(seen) >= 2
        assert min(b - a for (a, _), (b, _) in itertools.pairwise(seen)) >= 10
        assert all(0 <= float(text) <= 100 for _, text in seen)
    axis = visible(widget)[-1].x_axis
    (_, epochs), *_ = axis.tickValues(*axis.range, axis.width())
    assert epochs == [1.0, 2.0, 3.0]


def test_all_plots_share_the_x_axis(widget, qtbot):
    plots = visible(widget)
    plots[1].setFocus()
    qtbot.keyClick(plots[1], Qt.Key.Key_Plus)
    ranges = [plot.getViewBox().viewRange()[0] for plot in plots]
    assert ranges[0] == pytest.approx(ranges[1])
    assert ranges[0] == pytest.approx(ranges[2])
    assert ranges[0][0] > plots[0].home[0]
    qtbot.keyClick(plots[1], Qt.Key.Key_Home)
    assert plots[2].getViewBox().viewRange()[0] == pytest.approx(list(plots[2].home[:2]))


def test_the_legend_names_few_curves_and_counts_many(widget):
    loss, _, many = visible(widget)
    assert [text for _, text, _ in loss.legend] == ["Training", "Validation"]
    assert [text for _, text, _ in many.legend] == ["53 scales"]
    assert not any(line.isVisible() for line in many.lines)
    assert many_of(9, "Loss") == "9 losses"
    assert many_of(9, "Top-1 (%)") == "9 curves"


def test_names_in_a_legend_stay_in_view_and_apart(widget, qtbot):
    widget.show_curves([Curve(f"A long name of layer {i}", N, LOSS + i, "Loss", "line") for i in range(FEW)], "Step")
    for width, height in ((320, 200), (900, 300)):
        widget.resize(width, height)
        (plot,) = visible(widget)
        qtbot.waitUntil(lambda width=width, plot=plot: plot.width() == width)
        places = [place for _, _, place in plot.legend]
        assert all(plot.rect().contains(place.toRect()) for place in places)
        assert not any(a.intersects(b) for i, a in enumerate(places) for b in places[:i])
        bottom = max(place.bottom() for place in places)
        qtbot.waitUntil(lambda plot=plot, bottom=bottom: plot.getViewBox().sceneBoundingRect().top() > bottom)


def test_kinds_and_curves_are_told_apart_without_colour(widget):
    loss, top1, _ = visible(widget)
    assert loss.lines[0].opts["pen"].style() == Qt.PenStyle.SolidLine
    assert loss.lines[1].opts["pen"].style() == Qt.PenStyle.DashLine
    assert not top1.lines[0].isVisible()
    assert len(top1.dots[0].getData()[0]) == 20
    symbols = [dots.opts["symbol"] for dots in loss.dots]
    assert len(set(symbols)) == FEW
    assert len(loss.dots[1].getData()[0]) == 1


def test_pointing_at_a_curve_reads_it(widget):
    for plot, title, x, y in ((visible(widget)[0], "Training", 100, LOSS[100]),
                              (visible(widget)[2], "features.40", 50, 0.4 + 0.001 * math.sin(50))):  # fmt: skip
        at = plot.getViewBox().mapViewToScene(QPointF(x, y))
        text = plot.reading(at)
        assert text.startswith(f"{title}\nStep ")
        assert plot.reading(QPointF(-5, -5)) == ""


def test_it_is_updated_live_without_new_items_and_with_axes_that_move_in_steps(widget):
    plots = visible(widget)
    items = [set(plot.scene().items()) for plot in plots]
    homes = set()
    for n in range(200, 400, 10):
        live = [Curve(c.title, c.xs[:n], c.ys[:n], c.unit, c.kind) for c in (*CURVES, *scales(53, length=400))]
        widget.show_curves(live, "Step")
        homes.add(plots[0].home)
        widget.show_theme((DARK, LIGHT)[n // 10 % 2])
    assert visible(widget) == plots
    assert [set(plot.scene().items()) for plot in plots] == items
    assert len(homes) <= 5


def test_a_part_that_one_looks_at_stays_in_view_while_curves_grow(widget, qtbot):
    loss, top1, _ = visible(widget)
    qtbot.keyClick(loss, Qt.Key.Key_Plus)
    before = loss.getViewBox().viewRange()[0]
    longer = Curve("Training", np.arange(900), np.linspace(9, 1, 900), "Loss", "line")
    widget.show_curves([longer, *CURVES[1:]], "Step")
    for plot in (loss, top1):
        assert plot.getViewBox().viewRange()[0] == pytest.approx(before)
    assert loss.getViewBox().viewRange()[1][1] > 9
    qtbot.keyClick(loss, Qt.Key.Key_Home)
    for plot in (loss, top1):
        assert plot.getViewBox().viewRange()[0][1] > 900
    widget.show_curves([Curve("Training", np.arange(2000), np.ones(2000), "Loss", "line"), *CURVES[1:]], "Step")
    assert top1.getViewBox().viewRange()[0][1] > 2000


def test_a_plot_comes_and_goes_with_its_unit(widget):
    loss = widget.plots["Loss"]
    widget.show_curves(CURVES[2:], "Epoch")
    assert [plot.unit for plot in visible(widget)] == ["Top-1 (%)"]
    widget.show_curves(CURVES[::-1], "Epoch")
    widget.grab()
    assert [plot.unit for plot in visible(widget)] == ["Top-1 (%)", "Loss"]
    assert widget.plots["Loss"] is loss


def test_nothing_one_equal_and_impossible_values(widget):
    widget.show_curves((), "Step")
    widget.grab()
    assert visible(widget) == []
    assert "No curves" in widget.accessibleDescription()
    nan = math.nan
    odd = [([], []), ([0], [1]), ([0, 1], [nan, nan]), ([0, 1, 2], [1, nan, 3]), ([1, 1], [2, 2]), ([0, 1, 2], [1]),
           ([nan, 1], [1, 2]), ([0, 1], [math.inf, 1.0]), ([0, 1, 2], [5, 5, 5])]  # fmt: skip
    for xs, ys in odd:
        for n in (1, FEW + 1):
            for kind in ("line", "dashed", "points"):
                widget.show_curves([Curve(f"c{i}", xs, ys, "Loss", kind) for i in range(n)], "Step")
                widget.grab()
                (plot,) = visible(widget)
                assert np.isfinite(plot.getViewBox().viewRange()).all()
                assert plot.reading(QPointF(plot.width() / 2, plot.height() / 2)) is not None


def test_every_plot_has_a_name_and_tells_its_numbers(widget):
    for plot in visible(widget):
        assert accessible_name(plot)
        assert any(letter.isdigit() for letter in plot.accessibleDescription())
    assert "Training: 0.01298 at 399" in widget.plots["Loss"].accessibleDescription()
    assert "53 scales between" in widget.accessibleDescription()
    assert accessible_name(widget)
    assert focusable(widget)


def test_the_numbers_can_be_taken_out(widget):
    lines = widget.plots["Loss"].table().as_text("\t").splitlines()
    assert lines[0] == "curve\tx\ty"
    assert len(lines) == 1 + 400 + 20
    widget.show_curves([Curve("a", [], [], "Loss", "line")], "Step")
    assert widget.plots["Loss"].table() is None


def test_a_long_curve_keeps_its_ends_and_its_peaks():
    xs, ys = np.arange(10_000.0), np.zeros(10_000)
    ys[7_777], ys[3], ys[5_000:5_100] = 9.0, -2.0, np.nan
    short_x, short_y = thinned(xs, ys, 200)
    assert len(short_x) < 500
    assert (short_x[0], short_x[-1]) == (0.0, 9999.0)
    assert (np.diff(short_x) > 0).all()
    assert np.nanmax(short_y) == 9.0
    assert np.nanmin(short_y) == -2.0
    assert np.isnan(short_y).any()
    assert thinned(xs[:300], ys[:300], 200)[0].size == 300


def test_two_hundred_curves_of_two_thousand_points_are_drawn_quickly(widget):
    xs = np.arange(2000)
    curves = [Curve(str(i), xs, np.sin(xs / 50 + i), "scale", "line") for i in range(200)]
    widget.show_curves(curves, "Step")
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        widget.show_curves(curves, "Step")
        best = min(best, time.perf_counter() - start)
    assert best < 0.3  # about 25 ms where nothing else runs


def test_it_is_drawn_in_the_colours_of_the_theme(widget):
    backgrounds = []
    for theme in (LIGHT, DARK):
        widget.show_theme(theme)
        image = widget.plots["Loss"].grab().toImage()
        backgrounds.append(image.pixelColor(image.width() - 3, image.height() - 3))
        assert widget.plots["Loss"].lines[0].opts["pen"].color() == QColor(theme.original)
    assert backgrounds == [QColor(LIGHT.base), QColor(DARK.base)]
