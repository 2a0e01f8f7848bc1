"""A walk along a front with slider, keys and clicks."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hands import accessible_name, focusable
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QStyle

from qexplorer.presentation import FrontPoint
from qexplorer.widgets.front_plot import FrontPlot
from qexplorer.widgets.theme import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton


def front(n=12, measured=True):
    points = []
    for i, bits in enumerate(np.linspace(2, 8, n)):
        top1 = 1 - 0.5 * math.exp(-bits) if measured and i % 3 == 1 else None
        ci = (top1 - 0.02, min(top1 + 0.01, 1.0)) if top1 else None
        points.append(FrontPoint(int(bits * 280_000), float(bits), 0.5 * 4.0 ** -(bits - 2), top1, ci))
    return points


@pytest.fixture
def widget(shown):
    widget = shown(FrontPlot(), 560, 420)
    widget.show_front(front(), 3)
    widget.grab()
    return widget


def handle(widget):
    return widget.slider.part(QStyle.SubControl.SC_SliderHandle).center().toPoint()


def marked(widget):
    """Where the mark on the curve stands: the size in MB and the error."""
    xs, ys = widget.marks[0].getData()
    return float(xs[0]), 10 ** float(ys[0])


def test_it_shows_the_point_that_is_chosen_without_a_word_of_its_own(widget):
    moved = []
    widget.moved.connect(moved.append)
    widget.show_front(front(), 4)
    point = front()[4]
    assert marked(widget) == pytest.approx((point.bytes / 1e6, point.error))
    assert widget.text.startswith(f"{point.average_bits:.1f} bits · {point.bytes / 1e6:.2f} MB · error ")
    assert f"top-1 {point.top1 * 100:.2f} %" in widget.text
    assert widget.text in widget.accessibleDescription()
    assert widget.slider.accessibleDescription() == widget.text
    assert moved == []


def test_arrow_keys_move_along_the_front(widget, qtbot):
    moved = []
    widget.moved.connect(moved.append)
    widget.slider.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_End, Qt.Key.Key_Home):
        qtbot.keyClick(widget.slider, key)
    assert moved == [4, 5, 4, 11, 0]
    assert marked(widget)[0] == pytest.approx(front()[0].bytes / 1e6)


def test_dragging_the_slider_tells_of_every_point_it_passes(widget, qtbot):
    moved = []
    widget.moved.connect(moved.append)
    start = handle(widget)
    QTest.mousePress(widget.slider, LEFT, pos=start)
    for dx in range(0, 200, 10):
        QTest.mouseMove(widget.slider, start + QPoint(dx, 0))
        qtbot.wait(1)
    QTest.mouseRelease(widget.slider, LEFT, pos=start + QPoint(200, 0))
    assert moved == sorted(moved)
    assert len(moved) >= 3


def test_the_slider_comes_to_where_it_is_pressed(widget, qtbot):
    qtbot.mouseClick(widget.slider, LEFT, pos=QPoint(widget.slider.width() - 3, handle(widget).y()))
    assert widget.slider.value() == 11
    qtbot.mouseClick(widget.slider, LEFT, pos=QPoint(3, handle(widget).y()))
    assert widget.slider.value() == 0


def test_a_click_on_a_point_of_either_plot_goes_there(widget, qtbot):
    moved = []
    widget.moved.connect(moved.append)
    qtbot.mouseClick(widget.errors.viewport(), LEFT, pos=widget.errors.place_of(8).toPoint())
    qtbot.mouseClick(widget.accuracies.viewport(), LEFT, pos=widget.accuracies.place_of(2).toPoint())
    assert moved == [8, 7]


def test_indices_are_those_of_the_points_that_came_in(widget, qtbot):
    moved = []
    widget.moved.connect(moved.append)
    backwards = front()[::-1]
    widget.show_front(backwards, 11)
    assert widget.slider.value() == 0
    qtbot.keyClick(widget.slider, Qt.Key.Key_Right)
    assert moved == [10]


def test_the_second_plot_is_there_only_for_what_was_measured(widget):
    assert widget.accuracies.isVisible()
    xs, _ = widget.dots[1].getData()
    assert len(xs) == 4
    assert widget.errors.home[:2] == widget.accuracies.home[:2]
    assert not widget.errors.x_axis.style["showValues"]
    widget.show_front(front(measured=False), 0)
    assert not widget.accuracies.isVisible()
    assert widget.errors.x_axis.style["showValues"]
    assert "Size (MB)" in widget.errors.x_axis.labelText
    assert "top-1" not in widget.text


def test_a_long_line_gives_up_its_interval_first(widget, qtbot):
    widget.show_front(front(), 4)
    assert "(" in widget.text
    widget.resize(320, 420)
    qtbot.waitUntil(lambda: "(" not in widget.text)
    assert "top-1" in widget.text


def test_nothing_one_equal_and_impossible_values(widget):
    widget.show_front((), 0)
    widget.grab()
    assert "No front" in widget.accessibleDescription()
    one, odd = front()[4], replace(front()[2], error=0.0)
    for points in ([one], [one] * 3, [one, odd], [odd], [one, replace(odd, error=math.nan)],
                   [replace(one, top1=math.nan, top1_ci95=None)], [replace(one, top1_ci95=None)]):  # fmt: skip
        widget.show_front(points, 99)
        widget.grab()
        for plot in (widget.errors, widget.accuracies):
            assert np.isfinite(plot.getViewBox().viewRange()).all()
    nowhere = [replace(odd, error=math.nan), one]
    widget.show_front(nowhere, 0)
    assert widget.errors.nearest(widget.errors.place_of(1)) == 1
    widget.show_front([one, odd], 1)
    assert "no error" in widget.text
    assert widget.slider.isEnabled()
    widget.show_front([one], 0)
    assert not widget.slider.isEnabled()


def test_items_are_used_again_in_both_themes(widget):
    plots = (widget.errors, widget.accuracies)
    items = [set(plot.scene().items()) for plot in plots]
    for i in range(6):
        widget.show_theme((DARK, LIGHT)[i % 2])
        widget.show_front(front(8 + i, measured=i % 2 == 0), i)
        widget.grab()
    assert [set(plot.scene().items()) for plot in plots] == items


def test_everything_has_a_name_and_the_slider_says_how_to_use_it(widget):
    assert all(accessible_name(w) for w in (widget, *focusable(widget), widget.slider))
    assert "Arrow keys" in widget.slider.toolTip()
    assert "12 points from 560.00 kB to 2.24 MB" in widget.errors.accessibleDescription()


def test_the_numbers_can_be_taken_out(widget):
    lines = widget.errors.menu.data.as_text(",").splitlines()
    assert lines[1] == "bytes,average_bits,relative_error,top1,top1_low,top1_high"
    assert len(lines) == 2 + 12
