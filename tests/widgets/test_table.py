"""The kit of every table: columns over lines, their order, the selection, the keys, and what is copied."""

import math
from dataclasses import dataclass

import pytest
from hands import accessible_name, tooltip_at
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from qexplorer.numbers import figure
from qexplorer.widgets.lines import NONE, Column, Lines
from qexplorer.widgets.table import Table
from qexplorer.widgets.theme import DARK, LIGHT

LEFT, CONTROL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier
ASCENDING, DESCENDING = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


@dataclass(frozen=True)
class Thing:
    name: str
    size: float | None = 0.0
    kind: str | None = ""
    usable: bool = True


NAME = Column[Thing]("Name", "What it is called", "a long name", lambda x: x.name, lambda x: x.name, right=False,
                     bold=lambda x: x.name == "b", spoken=lambda x: f"thing {x.name}")  # fmt: skip
SIZE = Column[Thing]("Size", "How large it is", "1,000.0", lambda x: NONE if x.size is None else figure(x.size, 2),
                     lambda x: x.size, tip=lambda x: f"size <{x.size}>",
                     color=lambda x: "good" if x.size == 2.0 else "")  # fmt: skip
KIND = Column[Thing]("Kind", "Of what kind", "some kind", lambda x: x.kind or NONE, lambda x: x.kind, right=False)
PICTURE = Column[Thing]("Picture", "", "a picture", lambda x: "", picture=True,
                        paint=lambda painter, option, x, theme: painter.fillRect(option.rect, theme.color("clip")),
                        )  # fmt: skip
COLUMNS = (NAME, SIZE, KIND, PICTURE)
THINGS = (
    Thing("a", 3.0, "z"),
    Thing("b", math.nan, None),
    Thing("c", 1.0, "y"),
    Thing("d", None, "x"),
    Thing("e", 2.0),
)


@pytest.fixture
def lines() -> Lines[Thing]:
    lines = Lines(COLUMNS, lambda x: x.name)
    lines.show_lines(THINGS)
    return lines


@pytest.fixture
def table(shown) -> Table[Thing]:
    table = Table("Things", COLUMNS, lambda x: x.name, enabled=lambda x: x.usable)
    table.lines.show_lines(THINGS)
    table.setSortingEnabled(True)
    table.sortByColumn(0, ASCENDING)
    return shown(table, 500, 300)


def names(lines: Lines[Thing]) -> str:
    return "".join(thing.name for thing in lines.shown)


def center(table: Table[Thing], row: int, column: int = 0) -> QPoint:
    return table.visualRect(table.model().index(row, column)).center()


def selected(table: Table[Thing]) -> str:
    return "".join(thing.name for thing in table.selected_lines)


def test_the_model_keeps_qt_s_rules_while_everything_changes(lines, qtmodeltester):
    qtmodeltester.check(lines)
    lines.sort(1, DESCENDING)
    lines.put([Thing("a", 0.5), Thing("f", 9.0)])
    lines.sort_again()
    lines.show_columns(COLUMNS[:2])
    lines.show_lines(THINGS[2:])
    lines.show_lines(())
    lines.deleteLater()


@pytest.mark.parametrize(
    ("column", "order", "expected"),
    [
        (0, DESCENDING, "edcba"),
        (1, ASCENDING, "cea" + "bd"),
        (1, DESCENDING, "aec" + "bd"),
        (2, ASCENDING, "edca" + "b"),
        (2, DESCENDING, "acde" + "b"),
        (3, ASCENDING, "abcde"),
        (-1, ASCENDING, "abcde"),
    ],
)
def test_what_is_not_known_stays_last_in_either_order(lines, column, order, expected):
    lines.sort(column, order)
    assert names(lines) == expected
    assert [lines.row_of(name) for name in expected] == list(range(5))


def test_lines_that_are_put_replace_those_of_their_keys_and_others_wait_at_the_end_for_their_places(lines):
    lines.sort(1, ASCENDING)
    lines.put([Thing("f", 0.1), Thing("a", 0.2)])
    assert names(lines) == "ceabdf"
    assert lines.line(2).size == 0.2
    lines.sort_again()
    assert names(lines) == "facebd"


def test_lines_with_the_same_keys_change_in_place(lines):
    resets: list[int] = []
    lines.modelReset.connect(lambda: resets.append(1))
    lines.sort(1, ASCENDING)
    lines.show_lines([Thing(thing.name, 5.0 - (thing.size or 0.0)) for thing in THINGS])
    assert names(lines) == "aecd" + "b"
    assert not resets
    lines.show_lines(THINGS[1:])
    assert (names(lines), len(resets)) == ("cebd", 1)


def test_cells_answer_for_every_role(lines):
    lines.theme = DARK
    role = Qt.ItemDataRole

    def data(row: int, column: int, which: Qt.ItemDataRole) -> object:
        return lines.index(row, column).data(which)

    assert (data(0, 1, role.DisplayRole), data(3, 1, role.DisplayRole)) == ("3", NONE)
    assert "<" not in str(data(0, 1, role.ToolTipRole))
    assert data(0, 0, role.ToolTipRole) == "a"
    assert data(0, 0, role.AccessibleTextRole) == "thing a"
    assert (data(0, 0, role.TextAlignmentRole), data(0, 1, role.TextAlignmentRole)) != (None, None)
    assert (data(0, 1, role.ForegroundRole), data(4, 1, role.ForegroundRole)) == (None, DARK.color("good"))
    assert (data(0, 0, role.FontRole), data(1, 0, role.FontRole).bold()) == (None, True)
    assert [lines.headerData(i, Qt.Orientation.Horizontal) for i in range(4)] == ["Name", "Size", "Kind", "Picture"]
    assert lines.headerData(1, Qt.Orientation.Horizontal, role.ToolTipRole) == "How large it is"
    assert lines.headerData(0, Qt.Orientation.Vertical) is None


def test_the_selected_line_and_the_current_one_stay_so_in_another_order_and_when_others_come(table, qtbot):
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 2))
    assert selected(table) == "c"
    table.sortByColumn(1, ASCENDING)
    assert (selected(table), table.currentIndex().row()) == ("c", 0)
    table.lines.show_lines((Thing("0", 0.0), *THINGS))
    assert (selected(table), table.currentIndex().row()) == ("c", 1)
    table.lines.show_lines(THINGS[:2])
    assert selected(table) == ""


def test_lines_that_are_not_enabled_cannot_be_selected_or_chosen(table, qtbot):
    chosen = []
    table.opened.connect(chosen.append)
    table.lines.show_lines((Thing("a"), Thing("b", usable=False)))
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1))
    qtbot.mouseDClick(table.viewport(), LEFT, pos=center(table, 1))
    assert (selected(table), chosen) == ("", [])


def test_a_double_click_or_enter_chooses_and_other_keys_move(table, qtbot):
    chosen = []
    table.opened.connect(lambda thing: chosen.append(thing.name))
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1))
    assert chosen == []
    qtbot.mouseDClick(table.viewport(), LEFT, pos=center(table, 1))
    qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert chosen == ["b", "c"]


def test_one_click_chooses_where_the_table_is_made_so(shown, qtbot):
    table = Table("Things", COLUMNS, lambda x: x.name, one_click=True)
    table.lines.show_lines(THINGS)
    shown(table, 500, 300)
    chosen = []
    table.opened.connect(lambda thing: chosen.append(thing.name))
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1))
    qtbot.mouseClick(table.viewport(), LEFT, pos=QPoint(50, table.viewport().height() - 5))
    assert chosen == ["b"]


def test_ctrl_c_copies_all_lines_without_pictures_and_with_plain_signs(table):
    table.lines.show_lines((Thing("a", -1.0), Thing("=b()", None)))
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_C, CONTROL)
    assert QGuiApplication.clipboard().text() == "Name\tSize\tKind\n'=b()\t\t\na\t-1\t", "no formula"
    table.setColumnHidden(2, True)
    assert table.as_text() == "Name\tSize\n'=b()\t\na\t-1"
    table.show_columns(COLUMNS, copied=[SIZE])
    assert table.as_text() == "Size\n\n-1"


def test_ctrl_c_copies_the_selected_lines_where_the_table_is_made_so(shown, qtbot):
    table = Table("Things", COLUMNS[:1], lambda x: x.name, copy_selected=True)
    table.lines.show_lines(THINGS)
    shown(table, 500, 300)
    assert table.as_text() == ""
    qtbot.mouseClick(table.viewport(), LEFT, pos=center(table, 1))
    assert table.as_text() == "Name\nb"


def test_columns_are_as_wide_as_their_samples_and_everything_has_a_name(table):
    advance = table.fontMetrics().horizontalAdvance
    widths = [table.columnWidth(i) - advance(column.sample) for i, column in enumerate(COLUMNS)]
    assert len(set(widths)) == 1
    assert accessible_name(table) == "Things"
    assert not table.tabKeyNavigation()
    assert tooltip_at(table.viewport(), center(table, 0, 1)) == "size ‹3.0>"


def test_a_column_paints_over_its_text_in_the_colours_of_the_theme(table):
    for theme in (LIGHT, DARK):
        table.show_theme(theme)
        assert table.viewport().grab().toImage().pixelColor(center(table, 0, 3)) == theme.color("clip")
