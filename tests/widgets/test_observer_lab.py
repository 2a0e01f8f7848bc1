"""The observers' picture and table."""

import math

import numpy as np
import pytest
from hands import tooltip_at
from PySide6.QtCore import QPoint, Qt

from qexplorer.progress import finish
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.observers import observers
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.survey import survey_observers
from qexplorer.widgets.observer_plot import ObserverPlot, line_of
from qexplorer.widgets.observers_table import ObserversTable
from qexplorer.widgets.theme import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def values():
    x = np.random.default_rng(7).normal(0, 0.1, (32, 256)).astype(np.float32)
    x[3, 5] = 1.5
    return x


@pytest.fixture(scope="module")
def survey(values):
    return finish(survey_observers(values, QuantSpec(formats["int4"], granularity=PerChannel(0))))


@pytest.fixture
def table(shown, survey):
    table = shown(ObserversTable(), 640, 300)
    table.show_current("minmax")
    table.show_survey(survey)
    return table


def cell(table, row, column=0):
    return table.lines.index(row, column)


def center(table, row, column=0):
    return table.visualRect(cell(table, row, column)).center()


def test_the_best_comes_first_and_is_marked_like_the_one_in_use(table, survey):
    figures = [float(cell(table, row, 4).data().replace("−", "-")) for row in range(len(survey.points))]
    assert figures == sorted(figures, reverse=True)
    assert "best" in cell(table, 0).data()
    used = next(r for r, p in enumerate(survey.points) if p.spec.observer.name == "minmax")
    assert "in use" in cell(table, used).data()
    assert sum("in use" in cell(table, row).data() for row in range(len(survey.points))) == 1


def test_those_that_do_not_serve_stand_greyed_at_the_end_and_say_why(table, survey):
    assert survey.refused
    for i, refused in enumerate(survey.refused):
        row = len(survey.points) + i
        assert cell(table, row).data() == refused.title
        assert not table.lines.flags(cell(table, row)) & Qt.ItemFlag.ItemIsEnabled
    table.scrollToBottom()
    row = len(survey.points)
    table.scrollTo(cell(table, row))
    assert tooltip_at(table.viewport(), center(table, row)) == survey.refused[0].reason


def test_a_double_click_or_enter_chooses_and_a_refused_one_cannot_be_chosen(table, survey, qtbot):
    chosen = []
    table.chosen.connect(chosen.append)
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1))
    qtbot.mouseDClick(table.viewport(), LEFT, pos=center(table, 1))
    assert chosen == [survey.points[1].spec]
    table.setFocus()
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 0))
    qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert chosen == [survey.points[1].spec, survey.points[2].spec]
    for _ in range(20):
        qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Enter)
    assert chosen[-1] == survey.points[-1].spec
    table.scrollTo(cell(table, len(survey.points)))
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, len(survey.points)))
    qtbot.mouseDClick(table.viewport(), LEFT, pos=center(table, len(survey.points)))
    assert len(chosen) == 3


def test_pointing_at_a_row_tells_of_it(table, survey, qtbot):
    pointed = []
    table.pointed.connect(pointed.append)
    qtbot.mouseMove(table.viewport(), center(table, 2) - QPoint(3, 0))
    qtbot.mouseMove(table.viewport(), center(table, 2))
    qtbot.waitUntil(lambda: pointed[-1:] == [survey.points[2].spec.observer.name])


def test_the_selected_row_stays_selected_in_another_order(table, survey, qtbot, values):
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1))
    name = table.selected.observer.name
    table.show_survey(finish(survey_observers(values, QuantSpec(formats["int8"], granularity=PerChannel(0)))))
    assert table.selected.observer.name == name
    assert table.selected.format.name == "int8"


def test_the_model_is_one_that_qt_accepts(survey, qtmodeltester):
    table = ObserversTable()
    table.show_survey(survey)
    qtmodeltester.check(table.lines)
    table.deleteLater()


def test_no_two_observers_have_lines_alike():
    for theme in (LIGHT, DARK):
        looks = [(line_of(cls.name, theme).color().name(), str(line_of(cls.name, theme).dashPattern()))
                 for cls in observers]  # fmt: skip
        assert len(set(looks)) == len(looks)


def test_the_picture_shows_the_values_and_a_name_for_each_pair_of_clips_that_has_room(shown, survey, values):
    plot = shown(ObserverPlot(), 700, 320)
    plot.show_survey(survey, "w")
    plot.grab()
    assert sum(survey.counts) == values.size
    named = [title for title, _ in plot.overlay.labels]
    (left, right), _ = plot.getViewBox().viewRange()
    assert set(named) <= {p.spec.observer.title for p in survey.points if left <= p.hi <= right}
    assert len(named) >= 2
    places = [place for _, place in plot.overlay.labels]
    assert not any(a.intersects(b) for i, a in enumerate(places) for b in places[:i])
    assert str(survey.n // 1000) in plot.accessibleDescription()
    plot.show_pointed(survey.points[1].spec.observer.name)
    plot.grab()
    if left <= survey.points[1].hi <= right:
        assert plot.overlay.labels[0][0] == survey.points[1].spec.observer.title


def test_the_count_axis_can_be_logarithmic(shown, survey):
    plot = shown(ObserverPlot(), 700, 320)
    plot.show_log(True)
    plot.show_survey(survey, "w")
    assert plot.home[2] == pytest.approx(math.log10(0.5))
    assert plot.curve.getData()[1].max() == pytest.approx(math.log10(survey.counts.max()))
    plot.show_survey(None)
    assert plot.menu.data is None
