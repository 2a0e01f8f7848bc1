"""The chart of formats: dots that are clicked and walked over, marks that are told apart, labels that do not meet."""

import itertools
import math

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolTip

from qexplorer.progress import finish
from qexplorer.quant.formats import formats
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.survey import survey_formats
from qexplorer.widgets.bits_chart import NARROW, BitsChart, words
from qexplorer.widgets.bits_overlay import marks
from qexplorer.widgets.theme import DARK

LEFT = Qt.MouseButton.LeftButton
INT4 = QuantSpec(formats["int4"])


@pytest.fixture(scope="module")
def survey():
    values = np.random.default_rng(7).normal(0, 0.1, (32, 256)).astype(np.float32)
    return finish(survey_formats(values, INT4))


@pytest.fixture
def chart(shown, survey, qtbot):
    chart = shown(BitsChart(), 640, 360)
    chart.show_current("int4")
    chart.show_survey(survey, "w")
    qtbot.waitUntil(lambda: bool(chart.overlay.labels))
    return chart


def seen(chart):
    (left, right), _ = chart.getViewBox().viewRange()
    return [i for i, point in enumerate(chart.points) if left <= point.bits_per_weight <= right]


def lonely(chart):
    """A dot with no other near it."""
    places = {i: chart.place_of(i) for i in seen(chart)}
    return max(places, key=lambda i: min(math.dist((p.x(), p.y()), (places[i].x(), places[i].y()))
                                         for j, p in places.items() if j != i))  # fmt: skip


def test_each_format_has_a_dot_where_its_figures_are(chart, survey):
    x, y = chart.dots.getData()
    assert sorted(zip(x.tolist(), y.tolist(), strict=True)) == sorted(
        (p.bits_per_weight, chart.height_of(p)) for p in survey.points
    )
    front = [(p.bits_per_weight, chart.height_of(p)) for p in survey.points if p.on_front]
    assert list(zip(*chart.front.getData(), strict=True)) == front


def test_an_estimate_has_an_error_bar_and_what_is_not_known_yet_is_hollow_and_says_so(shown, qtbot):
    x = np.random.default_rng(7).normal(0, 0.1, (300, 300)).astype(np.float32)
    rough = finish(survey_formats(x, QuantSpec.parse("int4 channel:0")))
    chart = shown(BitsChart(), 640, 360)
    chart.show_survey(rough, "w")
    bars = [point for point in rough.points if point.bounds]
    assert len(bars) > 30
    ends = [end for point in bars for end in point.bounds]
    np.testing.assert_allclose(chart.doubts.getData()[1], ends)
    assert "±" in words(bars[0])
    pending = [point for point in rough.points if point.coverage == "pending"]
    assert pending
    assert "not measured yet" in words(pending[0])
    x_of_dots, y_of_dots = chart.dots.getData()
    assert len(x_of_dots) == len(rough.points)
    assert np.isfinite(y_of_dots).all()
    assert not any(point.on_front for point in pending)
    assert list(chart.menu.data.columns["coverage"]) == [point.coverage for point in rough.points]


def test_every_family_has_a_form_of_its_own():
    symbols = [mark.symbol for mark in marks().values()]
    titles = [mark.title for mark in marks().values()]
    assert len(set(symbols)) == len(symbols)
    assert len(set(titles)) == len(titles)


def empty_place(chart):
    """The place of the plot that is farthest from all dots."""
    area = chart.getViewBox().sceneBoundingRect()
    dots = [chart.place_of(i) for i in range(len(chart.points))]
    places = [area.topLeft() + QPointF(area.width() * i / 20, area.height() * j / 20)
              for i in range(1, 20) for j in range(1, 20)]  # fmt: skip
    return max(places, key=lambda p: min((p - dot).manhattanLength() for dot in dots)).toPoint()


def test_a_click_on_a_dot_chooses_its_format_and_one_beside_it_nothing(chart, qtbot):
    chosen = []
    chart.chosen.connect(chosen.append)
    at = lonely(chart)
    qtbot.mouseClick(chart.viewport(), LEFT, pos=chart.place_of(at).toPoint())
    assert chosen == [chart.points[at].spec]
    qtbot.mouseClick(chart.viewport(), LEFT, pos=empty_place(chart))
    assert len(chosen) == 1


def test_a_drag_over_a_dot_chooses_nothing(chart):
    chosen = []
    chart.chosen.connect(chosen.append)
    place = chart.place_of(lonely(chart)).toPoint()
    QTest.mousePress(chart.viewport(), LEFT, pos=place)
    QTest.mouseMove(chart.viewport(), place + QPointF(40, 0).toPoint())
    QTest.mouseRelease(chart.viewport(), LEFT, pos=place + QPointF(40, 0).toPoint())
    assert chosen == []


def test_the_arrow_keys_go_along_the_bits_and_enter_chooses(chart, qtbot, survey):
    chosen = []
    chart.chosen.connect(chosen.append)
    chart.setFocus()
    order = [p.spec.format.name for p in survey.points]
    qtbot.keyClick(chart, Qt.Key.Key_Right)
    qtbot.keyClick(chart, Qt.Key.Key_Right)
    qtbot.keyClick(chart, Qt.Key.Key_Return)
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    qtbot.keyClick(chart, Qt.Key.Key_Enter)
    names = [spec.format.name for spec in chosen]
    assert names == [order[order.index("int4") + 2], order[order.index("int4") + 1]]
    assert chart.accessibleDescription().count(chosen[1].format.title) >= 1


def test_the_arrow_keys_stop_at_the_ends_of_what_is_shown(chart, qtbot):
    chart.setFocus()
    for _ in range(len(chart.points) + 3):
        qtbot.keyClick(chart, Qt.Key.Key_Right)
    assert chart.selected == seen(chart)[-1]
    assert chart.points[chart.selected].bits_per_weight <= NARROW
    chart.show_wide(True)
    for _ in range(len(chart.points)):
        qtbot.keyClick(chart, Qt.Key.Key_Right)
    assert chart.selected == len(chart.points) - 1


def test_pointing_at_a_dot_tells_all_about_it(chart, qtbot):
    at = lonely(chart)
    point = chart.points[at]

    def told():
        for off in (QPointF(0, 20), QPointF(0, 0)):
            QTest.mouseMove(chart.viewport(), (chart.place_of(at) + off).toPoint())
            QApplication.processEvents()
        return point.spec.format.title in QToolTip.text()

    qtbot.waitUntil(told)
    text = QToolTip.text()
    assert f"{point.sqnr_db:.1f}"[:-1] in text
    assert "bits per weight" in text
    assert point.spec.format.family in text
    assert chart.hovered == at
    QToolTip.hideText()


def test_labels_never_lie_on_each_other_and_the_format_in_use_has_one(chart, qtbot):
    for wide, size in itertools.product((False, True), ((520, 250), (640, 360), (1100, 520))):
        chart.show_wide(wide)
        chart.resize(*size)
        qtbot.waitUntil(lambda size=size: chart.getViewBox().width() > size[0] - 130)
        chart.grab()
        places = [place for label, place in chart.overlay.labels if not label.must]
        assert not any(a.intersects(b) for a, b in itertools.combinations(places, 2))
        assert "INT4" in [label.text for label, _ in chart.overlay.labels]
        assert all(chart.getViewBox().sceneBoundingRect().contains(place) for place in places)


def test_a_format_without_error_stands_at_the_top_and_is_told_so(shown):
    halves = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float16)
    chart = shown(BitsChart())
    chart.show_survey(finish(survey_formats(halves, INT4)))
    at = next(i for i, p in enumerate(chart.points) if p.spec.format.name == "fp16")
    assert chart.points[at].sqnr_db == math.inf
    assert chart.home[3] * 0.9 < chart.height_of(chart.points[at]) < chart.home[3]
    assert "no error" in chart.accessibleDescription()


def test_the_axes_keep_still_for_the_same_tensor_and_the_bound_of_theory_is_drawn(chart, survey):
    home = chart.home
    chart.show_survey(survey, "w")
    assert chart.home == home
    bits, sqnr = chart.curves["bound"].getData()
    np.testing.assert_allclose(sqnr, 20 * math.log10(2) * bits, atol=1e-9)


def test_nothing_is_left_of_a_survey_that_is_taken_away(chart):
    chart.show_theme(DARK)
    assert chart.menu.data is not None
    assert list(chart.menu.data.columns)[:3] == ["format", "bits_per_weight", "sqnr_db"]
    chart.show_survey(None)
    assert chart.menu.data is None
    assert not chart.dots.isVisible()
    chart.grab()
    assert "No formats" in chart.accessibleDescription()
