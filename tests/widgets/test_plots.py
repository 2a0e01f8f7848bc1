import math

import numpy as np
import pytest
from hands import analysis_of
from plots_by_hand import clipped, heights, pixel, view
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from qexplorer.quant import Analysis
from qexplorer.widgets.distribution_plot import DistributionPlot, position
from qexplorer.widgets.error_plot import ChannelPlot, ErrorPlot
from qexplorer.widgets.plot import Plot
from qexplorer.widgets.theme import DARK, LIGHT

pytestmark = [
    pytest.mark.qt_log_ignore("not accepted by receiving widget"),
    pytest.mark.usefixtures("quick_hands"),
]


PLOTS = (DistributionPlot, ErrorPlot, ChannelPlot)


LEFT = Qt.MouseButton.LeftButton


ODD = {
    "empty": np.zeros((0, 4), np.float32),
    "no values, one axis": np.zeros(0, np.float32),
    "scalar": np.float32(0.3),
    "one value": np.array([[0.7]], np.float32),
    "all zero": np.zeros((4, 8), np.float32),
    "constant": np.full((4, 8), -2.5, np.float32),
    "all NaN": np.full((4, 8), np.nan, np.float32),
    "some NaN": np.array([[1, np.nan], [-1, 2]], np.float32),
    "infinite": np.array([[1, np.inf], [-np.inf, 2]], np.float32),
    "only infinite": np.full((2, 2), np.inf, np.float32),
    "huge": np.array([[-3e38, 3e38], [1, 2]], np.float32),
    "tiny": np.array([[1e-38, -1e-40], [3e-39, 1e-45]], np.float32),
    "nearly constant": np.array([[1, np.nextafter(np.float32(1), np.float32(2))]], np.float32),
    "positive": np.linspace(5, 6, 64, dtype=np.float32).reshape(8, 8),
    "float64": np.linspace(-1, 1, 200).reshape(20, 10),
    "float16": np.array([[0.5, 0.0], [1.0, -65504.0]], np.float16),
}


SPECS = {
    "int8": {},
    "int2 affine": {"format": "int2", "scheme": "affine"},
    "int16": {"format": "int16"},
    "signed extreme": {"format": "int4", "convention": "signed_extreme"},
    "fp16": {"format": "fp16"},
    "channels": {"format": "int4", "granularity": "channel:0"},
    "groups": {"format": "uint4", "scheme": "affine", "granularity": "group:3"},
}


def drag(plot: Plot, start: float, stop: float) -> None:
    """Point at `start`, press, move to `stop` in steps and let go, as a hand does."""
    a, b = pixel(plot, start), pixel(plot, stop)
    for at in (a + QPoint(0, 3), a):
        move(plot, at)
    QTest.mousePress(plot.viewport(), LEFT, pos=a)
    for i in range(1, 9):
        move(plot, a + (b - a) * (i / 8), LEFT)
    QTest.mouseRelease(plot.viewport(), LEFT, pos=b)


def move(plot: Plot, at: QPoint, held: Qt.MouseButton = Qt.MouseButton.NoButton) -> None:
    port, place = plot.viewport(), QPointF(at)
    none = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(QEvent.Type.MouseMove, place, port.mapToGlobal(place), none[0], held, none[1])
    QApplication.sendEvent(port, event)


@pytest.mark.parametrize("log", [False, True], ids=["linear", "log"])
@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("default:.*:RuntimeWarning:qexplorer.quant")
def test_odd_tensors_are_drawn_under_every_kind_of_spec(shown, name, log):
    plots = [shown(kind(), 300, 200) for kind in PLOTS]
    plots[0].show_log(log)
    for i, spec in enumerate(SPECS.values()):
        if name == "scalar" and "channel:0" in spec.values():
            continue
        analysis = analysis_of(ODD[name], **spec)
        _show(plots, analysis, i)
        for each in plots:
            each.grab()
            assert np.isfinite(view(each)).all()


def _show(plots: list[Plot], analysis: Analysis, subject: object) -> None:
    plots[0].show_analysis(analysis, subject)
    for each in plots[1:]:
        each.show_analysis(analysis)


def test_no_item_is_made_or_thrown_away_while_things_change(shown, bell):
    plots = [shown(kind(), 300, 200) for kind in PLOTS]
    results = [analysis_of(bell, **spec) for spec in SPECS.values()]
    _show(plots, results[0], 0)
    before = [set(each.scene().items()) for each in plots]
    for i in range(50):
        _show(plots, results[i % len(results)], i // 10)
        plots[0].show_log(i % 3 == 0)
        for each in plots:
            each.show_theme((LIGHT, DARK)[i % 2])
    for each, items in zip(plots, before, strict=True):
        assert set(each.scene().items()) == items


def test_the_axes_keep_still_while_bits_change(plot, bell):
    plot.show_analysis(analysis_of(bell), "w")
    still = view(plot)
    for name in ("int4", "int2", "int16", "uint3", "fp16"):
        plot.show_analysis(analysis_of(bell, format=name), "w")
        assert view(plot) == still


def test_another_tensor_sets_the_axes_afresh(plot, bell):
    plot.show_analysis(analysis_of(bell), "w")
    plot.show_analysis(analysis_of(bell * 10), "v")
    (left, right), _ = view(plot)
    assert left < bell.min() * 10
    assert right > bell.max() * 10
    assert right - left < 1.3 * (bell.max() - bell.min()) * 10


def test_where_the_person_zoomed_to_stays_while_bits_change(plot, bell):
    plot.show_analysis(analysis_of(bell), "w")
    plot.getViewBox().setXRange(-0.1, 0.1, padding=0)
    zoomed = view(plot)
    plot.show_analysis(analysis_of(bell, format="int4"), "w")
    assert view(plot) == zoomed
    for spec in SPECS.values():  # an outline may need more room
        plot.show_analysis(analysis_of(bell, **spec), "w")
    zoomed = view(plot)
    for spec in SPECS.values():
        plot.show_analysis(analysis_of(bell, **spec), "w")
        assert view(plot) == zoomed


def test_the_original_is_drawn_in_the_same_heights_whatever_the_bits(plot, bell):
    """Densities: the area under the bins is the number of values, in the axis's own unit."""
    for name in ("int8", "int4", "int2", "int16"):
        a = analysis_of(bell, format=name)
        plot.show_analysis(a, "w")
        assert heights(plot.original).sum() * a.bins.width / plot.unit == pytest.approx(bell.size, rel=1e-6)


def test_each_level_has_a_stem_whose_height_tells_its_count(plot, bell):
    a = analysis_of(bell, format="int4")
    plot.show_analysis(a, "w")
    x, y = plot.stems.getData()
    np.testing.assert_array_equal(x[::2], a.levels)
    np.testing.assert_array_equal(x[1::2], a.levels)
    step = float(a.params.scale[0])
    np.testing.assert_allclose(y[1::2] * step / plot.unit, a.level_counts)
    assert (y[::2] == 0).all()
    assert (plot.stems.isVisible(), plot.outline.isVisible()) == (True, False)


@pytest.mark.parametrize("spec", ["int8", "int16", "channels", "fp16"])
def test_where_levels_stand_too_close_they_are_an_outline(plot, bell, spec):
    plot.show_analysis(analysis_of(bell, **SPECS[spec]), "w")
    assert (plot.stems.isVisible(), plot.outline.isVisible()) == (False, True)
    assert heights(plot.outline).max() > 0


def test_zooming_in_turns_the_outline_into_stems(plot, bell):
    plot.show_analysis(analysis_of(bell), "w")
    plot.getViewBox().setXRange(-0.2, 0.2, padding=0)
    plot.grab()
    assert (plot.stems.isVisible(), plot.outline.isVisible()) == (True, False)
    plot.go_home()
    plot.grab()
    assert (plot.stems.isVisible(), plot.outline.isVisible()) == (False, True)


def test_on_a_logarithmic_axis_a_single_outlier_stays_visible(plot, bell):
    plot.show_log(True)
    for name in ("int8", "int4", "int16"):
        plot.show_analysis(analysis_of(bell, format=name), "w")
        (_, _), (bottom, top) = view(plot)
        edges, y = plot.original.getData()
        at = int(np.searchsorted(edges, 1.5)) - 1
        assert (y[at] - bottom) / (top - bottom) > 0.02, name
        assert y.max() < top
        assert y.min() >= bottom


def test_a_logarithmic_axis_has_the_same_counts_on_a_floor_below_one_value(plot, bell):
    a = analysis_of(bell, format="int4")
    plot.show_analysis(a, "w")
    linear = heights(plot.original).copy()
    plot.show_log(True)
    log = heights(plot.original)
    used = linear > 0
    np.testing.assert_allclose(10 ** log[used], linear[used])
    assert (log[~used] == math.log10(plot.floor)).all()
    assert plot.original.opts["fillLevel"] == math.log10(plot.floor)
    assert plot.floor < linear[used].min()
    plot.show_log(False)
    np.testing.assert_array_equal(heights(plot.original), linear)


def test_ticks_of_a_logarithmic_axis_are_counts(plot):
    plot.show_log(True)
    assert plot.y_axis.tickStrings([0.0, 1.0, 2.0, 3.0, 5.0], 1, 1) == ["1", "10", "100", "1000", "100000"]
    assert plot.y_axis.tickStrings([-1.0], 1, 1) == ["0.1"]


def test_ticks_have_a_true_minus_and_no_minus_zero(plot):
    plot.x_axis.tickValues(-1.0, 1.0, 500)
    assert plot.x_axis.tickStrings([-0.5, -1e-17, 0.5], 1, 0.5)[:2] == ["−0.5", "0.0"]


def test_clip_lines_stand_at_the_ends_of_what_can_be_represented(plot, bell):
    a = analysis_of(bell, format="int4")
    plot.show_analysis(a, "w")
    assert [position(line) for line in plot.clips] == [a.lo, a.hi]
    assert all(line.isVisible() for line in plot.clips)
    plot.show_analysis(analysis_of(bell, format="fp16"), "w")
    assert not any(line.isVisible() for line in plot.clips)


def test_clip_lines_stay_where_the_format_chooses_its_own_range(plot, bell):
    plot.show_analysis(analysis_of(bell, format="q4_0"), "w")
    plot.show_analysis(analysis_of(bell[:32], format="q4_0"), "w")  # one block, one scale
    assert all(line.isVisible() and not line.movable for line in plot.clips)
    plot.show_analysis(analysis_of(bell, format="kmeans"), "w")
    assert not any(line.isVisible() for line in plot.clips)
    plot.show_analysis(analysis_of(bell, format="nf4"), "w")
    assert all(line.movable for line in plot.clips)


def dragged(plot: DistributionPlot) -> tuple[list[tuple[float, float]], list[bool]]:
    limits, released = [], []
    plot.clip_dragged.connect(lambda lo, hi: limits.append((lo, hi)))
    plot.clip_released.connect(lambda: released.append(True))
    return limits, released


@pytest.mark.parametrize("log", [False, True], ids=["linear", "log"])
@pytest.mark.parametrize("line", [0, 1], ids=["lower", "upper"])
def test_dragging_a_limit_of_a_symmetric_grid_moves_both(plot, bell, log, line):
    plot.show_log(log)
    plot.show_analysis(clipped(bell, -0.3, 0.3), "w")
    plot.grab()
    limits, released = dragged(plot)
    plot.clip_dragged.connect(lambda lo, hi: plot.show_analysis(clipped(bell, lo, hi), "w"))
    drag(plot, position(plot.clips[line]), (-0.15, 0.15)[line])
    assert len(limits) > 1
    assert all(lo == -hi for lo, hi in limits)
    (_, hi) = limits[-1]
    assert hi == pytest.approx(0.15, abs=3 * plot.getViewBox().viewPixelSize()[0])
    assert [position(line) for line in plot.clips] == pytest.approx([-hi, hi])
    assert released == [True]


def test_dragging_a_limit_of_an_affine_grid_moves_only_that_one(plot, bell):
    a = analysis_of(bell, format="int4", scheme="affine")
    plot.show_analysis(a, "w")
    plot.grab()
    limits, _ = dragged(plot)
    drag(plot, a.hi, 0.9)
    assert limits
    assert {lo for lo, _ in limits} == {a.lo}
    assert limits[-1][1] == pytest.approx(0.9, abs=3 * plot.getViewBox().viewPixelSize()[0])


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_limits_never_cross(plot, bell, scheme):
    a = analysis_of(bell, format="int4", scheme=scheme)
    plot.show_analysis(a, "w")
    plot.grab()
    limits, _ = dragged(plot)
    drag(plot, a.hi, a.data_lo)
    assert limits
    assert all(lo < hi for lo, hi in limits)


def test_results_that_arrive_during_a_drag_leave_the_line_under_the_hand(plot, bell):
    plot.show_analysis(analysis_of(bell, format="int4"), "w")
    plot.grab()
    before = view(plot)
    late, stood = clipped(bell, -1.4, 1.4), []
    limits, _ = dragged(plot)
    plot.clip_dragged.connect(lambda lo, hi: plot.show_analysis(late, "w"))
    plot.clip_dragged.connect(lambda lo, hi: stood.append(position(plot.clips[1])))
    drag(plot, position(plot.clips[1]), 0.8)
    assert stood == pytest.approx([hi for _, hi in limits])
    assert view(plot)[0] == before[0]
    plot.show_analysis(late, "w")
    assert position(plot.clips[1]) == late.hi


def test_without_a_result_everything_is_empty(shown, bell):
    for kind in PLOTS:
        plot = shown(kind(), 300, 200)
        empty = plot.grab().toImage()
        plot.show_analysis(analysis_of(bell))
        plot.show_analysis(None)
        plot.grab()
        assert empty.size() == plot.grab().toImage().size()
    for kind in PLOTS:
        shown(kind(), 300, 200).show_analysis(None)


def test_the_pointer_reads_the_bin_and_the_level_under_it(plot, bell):
    a = analysis_of(bell, format="int4")
    plot.show_analysis(a, "w")
    plot.grab()
    text = plot.reading(QPointF(pixel(plot, 0.0)))
    assert "values from" in text
    assert f"level 0: {int(a.level_counts[np.argmin(abs(a.levels))]):,} values" in text
    assert plot.reading(QPointF(2, 2)) == ""
    assert plot.reading(QPointF(pixel(plot, 50.0))) == ""


def test_a_screen_reader_hears_the_numbers(shown, bell):
    for kind, words in ((DistributionPlot, "8,192 values"), (ErrorPlot, "Largest error"), (ChannelPlot, "32 channels")):
        plot = shown(kind(), 300, 200)
        plot.show_analysis(analysis_of(bell, format="int4"))
        assert words in plot.accessibleDescription()


def test_arrow_keys_pan_plus_and_minus_zoom_and_home_returns(plot, bell):
    plot.show_analysis(analysis_of(bell), "w")
    home = view(plot)
    (left, right), _ = home

    def after(*keys: str) -> tuple[float, float]:
        plot.go_home()
        for key in keys:
            QTest.keyClick(plot, getattr(Qt.Key, f"Key_{key}"))
        return tuple(view(plot)[0])

    width = right - left
    assert after("Plus") == pytest.approx((left + 0.1 * width, right - 0.1 * width))
    assert after("Plus", "Right") == pytest.approx((left + 0.18 * width, right - 0.02 * width))
    assert after("Plus", "Right", "Left") == pytest.approx((left + 0.1 * width, right - 0.1 * width))
    assert after("Plus", "Minus") == pytest.approx((left, right))
    a = analysis_of(bell)
    least, most = after(*["Minus"] * 20)  # there is nothing beyond
    assert (least, most) == pytest.approx((min(left, 1.1 * a.lo), max(right, 1.1 * a.hi)))
    for back in ("Home", "0"):
        assert after("Plus", "Plus", "Right", back) == pytest.approx((left, right))
        assert view(plot) == home


def test_a_double_click_shows_everything_again(plot, bell):
    plot.show_analysis(analysis_of(bell), "w")
    home = view(plot)
    plot.getViewBox().setXRange(0, 0.1, padding=0)
    QTest.mouseDClick(plot.viewport(), LEFT, pos=plot.rect().center())
    assert view(plot) == home


@pytest.mark.parametrize("kind", PLOTS)
def test_another_theme_repaints_the_plot(shown, bell, kind):
    plot = shown(kind(), 300, 200)
    plot.show_analysis(analysis_of(bell, format="int4"))
    pictures = []
    for theme in (LIGHT, DARK, LIGHT, DARK):
        plot.show_theme(theme)
        picture = plot.grab().toImage()
        pictures.append(picture)
        assert picture.pixelColor(2, 2).name() == theme.base
    assert share_of_other_pixels(pictures[1], pictures[2]) > 0.9
    assert share_of_other_pixels(pictures[1], pictures[3]) < 0.01  # a tick's text may settle by a part of a pixel


def share_of_other_pixels(a: QImage, b: QImage) -> float:
    places = [(x, y) for x in range(a.width()) for y in range(a.height())]
    return sum(a.pixel(*at) != b.pixel(*at) for at in places) / len(places)
