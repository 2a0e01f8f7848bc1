"""Models as marks over their size: clicked, walked over, told apart without colour, named without overlap."""

import gc
import itertools
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolTip

from qexplorer.widgets.axes import LogAxis, log_ticks
from qexplorer.widgets.size_accuracy_plot import MARKS, SizeAccuracyPlot
from qexplorer.widgets.size_point import SizePoint, front
from qexplorer.widgets.theme import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton


def point(title, megabytes, top1, *, real=True, reference=False, theoretical=None):
    packed = int((theoretical or megabytes) * 1e6)
    return SizePoint(title, title, int(megabytes * 1e6), packed, top1, (top1 - 0.01, top1 + 0.004), real, reference)


POINTS = (
    point("Float", 9.18, 0.99, reference=True),
    point("Static", 2.34, 0.985),
    point("Per channel", 2.64, 0.989),
    point("INT4", 9.2, 0.95, real=False, theoretical=1.2),
    point("INT2", 9.2, 0.6, real=False, theoretical=0.6),
)


@pytest.fixture
def plot(shown):
    plot = shown(SizeAccuracyPlot(), 640, 340)
    plot.show_points(POINTS)
    plot.grab()
    return plot


def place(plot, title):
    at = next(i for i, p in enumerate(plot.points) if p.title == title)
    return plot.place_of(at).toPoint()


def point_at(plot, at):
    for off in (QPoint(0, 3), QPoint(0, 0)):
        where = QPointF(at + off)
        none = Qt.MouseButton.NoButton
        event = QMouseEvent(QEvent.Type.MouseMove, where, plot.viewport().mapToGlobal(where), none, none,
                            Qt.KeyboardModifier.NoModifier)  # fmt: skip
        QApplication.sendEvent(plot.viewport(), event)


def test_real_models_stand_at_what_they_take_on_disk_and_simulated_ones_at_what_they_would(plot):
    sizes = {p.title: 10 ** plot.places[i].x() for i, p in enumerate(plot.points)}
    assert sizes["Float"] == pytest.approx(9.18e6)
    assert sizes["Static"] == pytest.approx(2.34e6)
    assert sizes["INT4"] == pytest.approx(1.2e6)
    assert "on disk; theoretical where simulated" in plot.x_axis.labelText
    plot.show_points(POINTS[:3])
    assert "on disk)" in plot.x_axis.labelText


def test_the_marks_differ_in_form_and_filling(plot):
    looks = {}
    for at, p in enumerate(plot.points):
        dot = plot.dot(at)
        looks[p.kind] = (dot["symbol"], dot["brush"] == plot.theme.color("base"))
    assert len(set(looks.values())) == len(MARKS) == 3


def test_the_front_and_the_intervals_are_drawn(plot):
    xs, _ = plot.front.getData()
    assert [f"{10**x / 1e6:.2f}" for x in xs] == ["0.60", "1.20", "2.34", "2.64", "9.18"]
    _, ends = plot.bars.getData()
    assert len(ends) == 2 * len(POINTS)
    assert max(ends) == pytest.approx(99.4)


def test_a_click_chooses_and_one_beside_a_mark_does_not(plot, qtbot):
    chosen = []
    plot.chosen.connect(chosen.append)
    qtbot.mouseClick(plot.viewport(), LEFT, pos=place(plot, "INT2"))
    assert chosen == ["INT2"]
    qtbot.mouseClick(plot.viewport(), LEFT, pos=place(plot, "INT2") + QPoint(60, -40))
    QTest.mouseClick(plot.viewport(), Qt.MouseButton.RightButton, pos=place(plot, "INT4"))
    plot.menu.menu.hide()
    assert chosen == ["INT2"]
    assert "Selected: INT2" in plot.accessibleDescription()


def test_the_arrow_keys_go_along_the_sizes(plot, qtbot):
    chosen = []
    plot.chosen.connect(chosen.append)
    plot.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Return):
        qtbot.keyClick(plot, key)
    assert chosen == ["INT2", "INT4", "INT2", "INT2"]
    assert "INT2" in QToolTip.text()
    plot.show_chosen(("Float",))
    qtbot.keyClick(plot, Qt.Key.Key_Right)
    assert plot.points[plot.selected].title == "Float"
    before = plot.getViewBox().viewRange()
    for _ in range(5):
        qtbot.keyClick(plot, Qt.Key.Key_Plus)
    assert plot.getViewBox().viewRange() != before
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert plot.getViewBox().viewRect().contains(plot.places[plot.selected])
    QToolTip.hideText()


def test_pointing_at_a_mark_tells_all_about_it(plot):
    point_at(plot, place(plot, "INT4"))
    text = QToolTip.text()
    for word in ("INT4", "SIMULATED", "1.20 MB in theory", "95.00 %", "94.0 – 95.4 %"):
        assert word in text
    QToolTip.hideText()


def test_names_never_lie_on_each_other_nor_on_the_marks(plot, qtbot):
    plot.show_points([*POINTS, *(point(f"Another one {i}", 1.1 + i / 50, 0.94 + i / 900) for i in range(12))])
    for width, height in ((420, 240), (640, 340), (1100, 520)):
        plot.resize(width, height)
        qtbot.waitUntil(lambda width=width: plot.getViewBox().width() > width - 130)
        plot.grab()
        places = [where for label, where in plot.labels]
        assert 0 < len(places) <= 8
        assert not any(a.intersects(b) for a, b in itertools.combinations(places, 2))
        assert not any(where.contains(plot.place_of(i)) for where in places for i in range(len(plot.points)))


def test_real_models_and_those_that_are_chosen_are_named_sooner_than_small_simulated_ones(plot):
    simulated = [point(f"Sim {i}", 9, 0.5, real=False, theoretical=0.1 + i / 3) for i in range(24)]
    plot.show_points([POINTS[0], point("Real", 4, 0.7), *simulated])
    plot.show_chosen(("Sim 20", "Sim 12"))
    plot.grab()
    names = {label.text for label, _ in plot.labels}
    assert {"Float", "Real", "Sim 20", "Sim 12"} <= names


def test_names_leave_the_line_of_the_front_alone_where_they_can(plot):
    beside = "A rather long name of one"
    plot.show_points([point("Least", 1, 0.80), point("Most", 1.3, 0.99), point(beside, 1.2, 0.90)])
    plot.show_chosen((beside,))
    plot.grab()
    assert beside in {label.text for label, _ in plot.labels}
    ends = [plot.place_of(i) for i in plot.front_at]
    line = [a + (b - a) * (i / 50) for a, b in itertools.pairwise(ends) for i in range(51)]
    assert not any(where.contains(at) for _, where in plot.labels for at in line)


def test_what_is_selected_stays_so_and_items_are_used_again(plot):
    plot.show_chosen(("Static",))
    items, home = set(plot.scene().items()), plot.home
    for theme in (DARK, LIGHT):
        plot.show_theme(theme)
        plot.show_points([replace(p, top1=p.top1 - 0.001) for p in reversed(POINTS)])
        plot.grab()
    assert plot.points[plot.selected].title == "Static"
    assert set(plot.scene().items()) == items
    assert plot.home == home


def test_nothing_one_equal_and_impossible_values(plot):
    plot.show_points(())
    plot.grab()
    assert plot.menu.data is None
    assert "No model" in plot.accessibleDescription()
    assert not plot.x_axis.isVisible()
    for points in (POINTS[:1], [POINTS[0]] * 3, [replace(POINTS[1], top1_ci95=(math.nan, math.nan))]):
        plot.show_points(points)
        plot.grab()
        assert np.isfinite(plot.getViewBox().viewRange()).all()
    plot.show_points([POINTS[0], replace(POINTS[1], top1=math.nan), replace(POINTS[2], bytes_on_disk=0)])
    assert [p.title for p in plot.points] == ["Float"]
    assert "2 without a size" in plot.accessibleDescription()


def test_the_numbers_can_be_taken_out(plot):
    lines = plot.menu.data.as_text("\t").splitlines()
    assert lines[0].split("\t")[:2] == ["model", "kind"]
    assert len(lines) == 1 + len(POINTS)


def test_a_front_has_no_point_that_another_beats():
    assert front([(1, 0.5), (1, 0.6), (2, 0.6), (3, 0.7), (3, 0.65)]) == [1, 3]
    assert front([]) == []


@pytest.mark.parametrize(("low", "high"), [(0.5, 10), (2.3, 2.7), (0.001, 4e6), (9.0, 9.01), (1, 1)])
def test_a_logarithmic_axis_has_round_figures_that_stand_apart(low, high):
    ticks = log_ticks(low, high, 8)
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    assert len(ticks) >= 2 or low == high
    gaps = [math.log10(b / a) for a, b in itertools.pairwise(ticks)]
    assert not gaps or min(gaps) >= math.log10(high / low) / 8 - 1e-9


def test_a_logarithmic_axis_writes_plain_figures():
    axis = LogAxis("bottom")
    axis.unit = 1e6
    assert axis.tickStrings([math.log10(v) for v in (5e5, 1e6, 2.25e6, 1e7, 20.0)], 1, 1) == [
        "0.5", "1", "2.25", "10", "2e−5",
    ]  # fmt: skip
    assert axis.tickValues(-500, 500, 300)


def test_a_plot_that_is_closed_is_gone(qapp):
    plot = SizeAccuracyPlot()
    plot.show_points(POINTS)
    gone = weakref.ref(plot)
    plot.deleteLater()
    del plot
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    assert gone() is None
