"""Bars in order: sorted, chosen, copied; worst first."""

import math

import pytest
from hands import accessible_name, tooltip_at
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from qexplorer.presentation import Bar
from qexplorer.widgets.ranked_bars import BAR, FIGURE, NAME, RankedBars, places_of
from qexplorer.widgets.theme import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton
BARS = (
    Bar("a", "features.10.weight", 2.5, "10th of them", 2.0, 3.0),
    Bar("b", "features.2.weight", 11.25, "", None, None),
    Bar("c", "features.1.weight", -0.5, "<b>odd</b>", None, None),
    Bar("d", "classifier.weight", math.nan, "not measured", None, None),
)


@pytest.fixture
def table(shown):
    table = shown(RankedBars(), 480, 240)
    table.show_bars(BARS, "dB", "SQNR lost")
    return table


def column(table, which=NAME):
    model = table.model()
    return [model.index(row, which).data() for row in range(model.rowCount())]


def center(table, row, which=NAME):
    return table.visualRect(table.model().index(row, which)).center()


def click_header(table, section, qtbot):
    header = table.horizontalHeader()
    at = QPoint(header.sectionViewportPosition(section) + header.sectionSize(section) // 2, header.height() // 2)
    qtbot.mouseClick(header.viewport(), LEFT, pos=at)


def test_the_worst_comes_first_and_what_is_not_known_last(table):
    assert column(table) == ["features.2.weight", "features.10.weight", "features.1.weight", "classifier.weight"]
    assert column(table, FIGURE) == ["11.25", "2.50", "−0.50", "–"]
    table.show_bars(BARS, "dB", "SQNR", low_is_worst=True)
    assert column(table) == ["features.1.weight", "features.10.weight", "features.2.weight", "classifier.weight"]


def test_a_click_on_a_title_sorts(table, qtbot):
    click_header(table, NAME, qtbot)
    assert column(table)[:2] == ["classifier.weight", "features.1.weight"]
    assert column(table)[2:] == ["features.2.weight", "features.10.weight"]
    for section in (BAR, FIGURE):
        click_header(table, NAME, qtbot)
        click_header(table, section, qtbot)
        first = column(table)
        click_header(table, section, qtbot)
        assert column(table)[:3] == first[:3][::-1]
        assert column(table)[3] == first[3] == "classifier.weight"


def test_a_click_or_enter_chooses(table, qtbot):
    chosen = []
    table.chosen.connect(chosen.append)
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1, BAR))
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert chosen == ["a"]
    qtbot.keyClick(table, Qt.Key.Key_Return)
    qtbot.keyClick(table, Qt.Key.Key_Up)
    qtbot.keyClick(table, Qt.Key.Key_Enter)
    assert chosen == ["a", "c", "a"]
    qtbot.mouseClick(table.viewport(), LEFT, pos=QPoint(50, table.viewport().height() - 5))
    assert len(chosen) == 3


def test_the_selected_row_and_the_order_stay_when_values_change(table, qtbot):
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1))
    click_header(table, NAME, qtbot)
    assert column(table)[table.currentIndex().row()] == "features.10.weight"
    order = column(table)
    table.show_bars([Bar(b.key, b.title, b.value * 2, b.detail, None, None) for b in BARS[::-1]], "dB", "SQNR lost")
    assert column(table) == order
    assert column(table)[table.currentIndex().row()] == "features.10.weight"
    table.show_bars(BARS[1:], "dB", "SQNR lost")
    assert not table.selectionModel().hasSelection()


def test_ctrl_c_copies_all_rows_in_their_order(table):
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().split("\n")]
    assert lines[0] == ["Layer", "SQNR lost (dB)", "Low", "High", "Detail"]
    assert lines[2] == ["features.10.weight", "2.5", "2", "3", "10th of them"]
    assert lines[3][1] == "-0.5"
    assert lines[4][1:4] == ["", "", ""]


def test_a_row_tells_its_detail(table):
    tip = tooltip_at(table.viewport(), center(table, 1))
    assert tip == "features.10.weight\n2.50 dB, between 2.00 dB and 3.00 dB\n10th of them"
    assert "<" not in tooltip_at(table.viewport(), center(table, 2))
    assert table.model().index(1, BAR).data(Qt.ItemDataRole.AccessibleTextRole) == (
        "2.50 dB, between 2.00 dB and 3.00 dB"
    )
    assert "SQNR lost" in table.model().headerData(BAR, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)


def test_a_bar_begins_at_zero_and_is_as_long_as_its_value(table):
    image = table.viewport().grab().toImage()

    def filled(row):
        rect = table.visualRect(table.model().index(row, BAR))
        y = rect.center().y() + 3
        return [x for x in range(rect.left(), rect.right()) if image.pixelColor(x, y) == LIGHT.color("original")]

    longest, middle, negative, unknown = (filled(row) for row in range(4))
    assert len(longest) == pytest.approx(4.5 * len(middle), rel=0.05)
    assert min(longest) == pytest.approx(min(middle), abs=1)
    assert max(negative) == pytest.approx(min(longest), abs=2)
    assert unknown == []


def test_five_hundred_rows_are_all_there_and_the_model_keeps_qt_s_rules(table, qtmodeltester):
    table.show_bars([Bar(str(i), f"layer {i}", float(i % 37), "", None, None) for i in range(500)], "%", "Drop")
    qtmodeltester.check(table.model())
    assert table.model().rowCount() == 500
    table.grab()
    table.selectRow(3)
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_End, Qt.KeyboardModifier.ControlModifier)
    assert table.currentIndex().row() == 499


@pytest.mark.parametrize(
    "bars",
    [
        (),
        BARS[:1],
        [Bar("x", "x", 0.0, "", None, None)] * 2,
        [Bar("x", "x", math.nan, "", None, None)],
        [Bar("x", "x", math.inf, "", math.nan, 1.0), BARS[0]],
        [Bar("x", "x", 3.0, "", 3.0, 3.0)] * 3,
    ],
)
def test_nothing_one_equal_and_impossible_values(table, bars):
    for theme in (DARK, LIGHT):
        table.show_theme(theme)
        table.show_bars(bars, "", "Change")
        table.grab()
    assert table.model().rowCount() == len(bars)
    assert bool(table.accessibleDescription())


def test_names_and_words_for_screen_readers(table):
    assert accessible_name(table) == "SQNR lost"
    assert table.accessibleDescription().startswith("4 rows. The worst: features.2.weight: 11.25 dB;")
    assert not table.tabKeyNavigation()
    assert table.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_the_columns_fill_the_width_at_every_size(table, qtbot):
    for width in (260, 480, 900):
        table.resize(width, 240)
        qtbot.waitUntil(lambda width=width: table.width() == width)
        header = table.horizontalHeader()
        assert sum(header.sectionSize(i) for i in range(3)) == table.viewport().width()


def test_figures_have_as_many_places_as_they_need():
    assert places_of([2.0, 1.0]) == 0
    assert places_of([2.0, 0.3]) == 1
    assert places_of([16.854, 0.1234]) == 2
    assert places_of([]) == 0
    assert places_of([123_456.7]) == 0
