"""The table of all tensors: its columns, its order while rows come in, its filter, and what it hands out."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hands import tooltip_at
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from qexplorer.widgets.layers_model import LayerLine
from qexplorer.widgets.layers_table import LayersTable
from qexplorer.widgets.theme import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton
ASCENDING, DESCENDING = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


@dataclass(frozen=True)
class Given:
    sqnr_db: float = math.nan
    relative_rmse: float = math.nan
    e2: float = math.nan
    bytes: float = math.nan
    refusal: str = ""


def line(name: str, *sqnr: float, n: int = 100, e2: float = 1.0, note: str = "", tied: str = "") -> LayerLine:
    figures = tuple(
        Given(db, 10 ** (-db / 20), e2, n / 2) if not math.isnan(db) else Given(refusal=note or "It does not serve.")
        for db in sqnr
    )
    counts = np.bincount(np.arange(n) % 48, minlength=48)
    return LayerLine(name, name, (n,), "float32", n, note, bytes=4 * n, share=0.25, histogram=counts, lo=-1.0, hi=n / 9,
                     tied=tied, figures=figures)  # fmt: skip


LINES = [
    line("layer.10.weight", 20.0, n=2_000_000, e2=6.0),
    line("layer.2.weight", 9.5, n=50_000, e2=3.0),
    line("counter", math.nan, n=1, note="It holds int64, not floating-point weights."),
    line("layer.2.bias", math.inf, n=300, e2=0.0),
    line("head.weight", 20.0, n=2_000_000, e2=6.0, tied="layer.10.weight"),
    line("layer.1.weight", 30.0, n=400, e2=1.0),
]


@pytest.fixture
def table(shown) -> LayersTable:
    table = LayersTable()
    table.names = []
    table.chosen.connect(table.names.append)
    table.restart(["INT4"])
    table.show_totals([10.0])
    table.take(LINES)
    table.put_in_order()
    return shown(table, 1400, 320)


def names(table: LayersTable) -> list[str]:
    return [table.filter.index(row, 0).data() for row in range(table.filter.rowCount())]


def column(table: LayersTable, kind: str, spec: int = -1) -> int:
    return next(i for i, each in enumerate(table.layers.columns) if (each.kind, each.spec) == (kind, spec))


def cell(table: LayersTable, name: str, kind: str, spec: int = -1, role=Qt.ItemDataRole.DisplayRole):
    row = names(table).index(name)
    return table.filter.index(row, column(table, kind, spec)).data(role)


def click_title(table: LayersTable, kind: str, spec: int = -1) -> None:
    header, at = table.horizontalHeader(), column(table, kind, spec)
    x = header.sectionViewportPosition(at) + header.sectionSize(at) // 2
    QTest.mouseClick(header.viewport(), LEFT, pos=QPoint(x, 5))


def test_the_models_keep_qts_rules_while_everything_changes(table, qtmodeltester):
    qtmodeltester.check(table.layers)
    qtmodeltester.check(table.filter)
    table.show_filter("layer")
    table.restart(["INT5"])
    table.take(LINES[:3])
    table.put_in_order()
    table.take([*LINES[3:], line("more", 3.0)])
    table.put_in_order()
    table.restart(["INT5", "INT8"])
    table.show_filter("sqnr<15")
    table.take([line("a", 3.0, 4.0)])
    table.layers.clear()


def test_what_hurts_most_comes_first_and_what_has_no_figure_last(table):
    assert names(table)[:4] == ["layer.10.weight", "layer.2.weight", "layer.1.weight", "layer.2.bias"]
    assert set(names(table)[4:]) == {"head.weight", "counter"}


@pytest.mark.parametrize(
    ("kind", "spec", "ascending"),
    [
        ("sqnr", 0, ["layer.2.weight", "layer.10.weight", "head.weight", "layer.1.weight", "layer.2.bias", "counter"]),
        ("error", 0, ["layer.2.bias", "layer.1.weight", "layer.2.weight", "layer.10.weight", "head.weight", "counter"]),
        ("rmse", 0, ["layer.2.bias", "layer.1.weight", "layer.10.weight", "head.weight", "layer.2.weight", "counter"]),
    ],
)
def test_numbers_sort_as_numbers_and_rows_without_figures_stay_last(table, kind, spec, ascending):
    at = column(table, kind, spec)
    table.sortByColumn(at, ASCENDING)
    last = 2 if kind == "error" else 1  # a tied tensor has no share of its own
    expected = [name for name in ascending if name not in ("counter", "head.weight")]
    assert [name for name in names(table) if name not in ("counter", "head.weight")] == expected
    assert "counter" in names(table)[-last:]
    table.sortByColumn(at, DESCENDING)
    assert [name for name in names(table) if name not in ("counter", "head.weight")] == expected[::-1]
    assert "counter" in names(table)[-last:]


def test_a_click_on_a_title_sorts_by_it(table):
    click_title(table, "name")
    assert names(table) == [
        "counter", "head.weight", "layer.1.weight", "layer.2.bias", "layer.2.weight", "layer.10.weight",
    ]  # fmt: skip
    click_title(table, "name")
    assert names(table)[0] == "layer.10.weight"
    click_title(table, "values")
    assert names(table)[:2] == ["counter", "layer.2.bias"]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("weight", {"layer.10.weight", "layer.2.weight", "head.weight", "layer.1.weight"}),
        ("layer.2 bias", {"layer.2.bias"}),
        (">1M", {"layer.10.weight", "head.weight"}),
        ("<1k layer", {"layer.2.bias", "layer.1.weight"}),
        ("sqnr<15", {"layer.2.weight"}),
        ("sqnr>25", {"layer.2.bias", "layer.1.weight"}),
        ("no such", set()),
    ],
)
def test_the_filter_has_the_grammar_of_the_tensor_tree(table, words, left):
    table.show_filter(words)
    assert set(names(table)) == left
    table.show_filter("")
    assert len(names(table)) == len(LINES)


def test_cells_are_right_aligned_numbers_and_say_why_there_is_none(table):
    assert cell(table, "layer.2.weight", "sqnr", 0) == "9.50"
    assert cell(table, "layer.2.weight", "error", 0) == "30.00 %"
    assert cell(table, "layer.2.bias", "sqnr", 0) == "∞"
    assert cell(table, "layer.10.weight", "values") == "2 M"
    assert cell(table, "layer.10.weight", "quantized", 0) == "1.00 MB"
    assert cell(table, "counter", "sqnr", 0) == cell(table, "counter", "error", 0) == "–"
    tip = Qt.ItemDataRole.ToolTipRole
    assert "int64" in cell(table, "counter", "sqnr", 0, tip)
    assert cell(table, "head.weight", "error", 0) == cell(table, "head.weight", "share") == "–"
    assert "Tied to layer.10.weight" in cell(table, "head.weight", "error", 0, tip)
    for kind, spec in (("values", -1), ("sqnr", 0), ("error", 0), ("rmse", 0), ("quantized", 0)):
        assert cell(table, "counter", kind, spec, Qt.ItemDataRole.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight
    for section in range(len(table.layers.columns)):
        assert table.layers.headerData(section, Qt.Orientation.Horizontal, tip)
    at = table.filter.index(names(table).index("counter"), column(table, "sqnr", 0))
    assert "int64" in tooltip_at(table.viewport(), table.visualRect(at).center())


def test_rows_that_come_in_find_their_places_soon_and_the_selected_one_stays_selected(table, qtbot):
    table.sortByColumn(column(table, "sqnr", 0), ASCENDING)
    row = names(table).index("layer.1.weight")
    QTest.mouseClick(table.viewport(), LEFT, pos=table.visualRect(table.filter.index(row, 0)).center())
    table.take([line("worst", -3.0), line("best", 80.0)])
    assert names(table)[-2:] == ["worst", "best"]
    qtbot.waitUntil(lambda: names(table)[0] == "worst")
    assert [index.data() for index in table.selectionModel().selectedRows()] == ["layer.1.weight"]
    assert names(table)[-3:] == ["best", "layer.2.bias", "counter"]


def test_many_batches_are_put_in_order_no_oftener_than_the_clock_allows(table):
    table.sortByColumn(column(table, "sqnr", 0), ASCENDING)
    ordered = []
    table.layers.layoutChanged.connect(lambda: ordered.append(1))
    for i in range(200):
        table.take([line(f"t{i}", float(-i))])
    assert not ordered
    table.put_in_order()
    assert len(ordered) == 1
    assert names(table)[0] == "t199"
    assert not table._soon.isActive()


def test_each_row_of_a_scan_before_is_grey_until_it_is_replaced(table):
    role = Qt.ItemDataRole.ForegroundRole
    table.show_theme(LIGHT)
    assert cell(table, "layer.1.weight", "sqnr", 0, role) is None
    table.restart(["INT5"])
    assert len(names(table)) == len(LINES)
    assert cell(table, "layer.1.weight", "sqnr", 0, role) == LIGHT.color("edge")
    assert cell(table, "layer.2.weight", "error", 0) == "30.00 %"
    table.show_totals([20.0])
    table.take([line("layer.10.weight", 26.0, e2=5.0), line("layer.2.weight", 16.0, e2=15.0)])
    assert cell(table, "layer.2.weight", "error", 0) == "75.00 %"
    assert cell(table, "layer.2.weight", "sqnr", 0, role) is None
    assert cell(table, "layer.1.weight", "sqnr", 0, role) == LIGHT.color("edge")
    table.show_outdated(True)
    assert cell(table, "layer.2.weight", "sqnr", 0, role) == LIGHT.color("edge")


def test_each_spec_has_its_columns_with_its_letter(table):
    table.restart(["INT4 per tensor", "INT8 per channel"])
    titles = [c.title for c in table.layers.columns if c.spec >= 0]
    assert titles[::4] == ["A SQNR, dB", "B SQNR, dB"]
    table.take([line("w", 10.0, 20.0)])
    assert (cell(table, "w", "sqnr", 0), cell(table, "w", "sqnr", 1)) == ("10.00", "20.00")
    tip = table.layers.headerData(column(table, "rmse", 1), Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert "INT8 per channel" in tip


def test_columns_give_way_to_the_important_ones_where_there_is_no_width(table, qtbot):
    def seen() -> set[str]:
        return {c.kind for i, c in enumerate(table.layers.columns) if not table.isColumnHidden(i)}

    assert seen() == {c.kind for c in table.layers.columns}
    table.resize(600, 320)
    assert {"name", "sqnr", "error", "histogram"} <= seen() < {c.kind for c in table.layers.columns}
    qtbot.waitUntil(lambda: table.horizontalScrollBar().maximum() == 0)
    table.resize(260, 320)
    assert seen() == {"name", "sqnr"}


def test_a_menu_chooses_columns(table, qtbot):
    table.resize(600, 320)
    hidden = column(table, "dtype")
    assert table.isColumnHidden(hidden)
    QTest.mouseClick(table.viewport(), LEFT, pos=QPoint(30, 30))
    table.horizontalHeader().customContextMenuRequested.emit(QPoint(5, 5))
    menu = QGuiApplication.instance().activePopupWidget()
    action = next(each for each in menu.actions() if each.data() == "dtype")
    assert not action.isChecked()
    menu.setActiveAction(action)
    QTest.keyClick(menu, Qt.Key.Key_Return)
    assert not table.isColumnHidden(hidden)


def test_a_double_click_or_enter_chooses(table):
    row = names(table).index("layer.1.weight")
    at = table.visualRect(table.filter.index(row, 0)).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=at)
    assert table.names == []
    QTest.mouseDClick(table.viewport(), LEFT, pos=at)
    QTest.keyClick(table, Qt.Key.Key_Up)
    QTest.keyClick(table, Qt.Key.Key_Return)
    assert table.names == ["layer.1.weight", names(table)[row - 1]]


def test_ctrl_c_copies_the_selected_rows_with_their_titles(table):
    table.sortByColumn(column(table, "sqnr", 0), ASCENDING)
    for row, keys in ((0, Qt.KeyboardModifier.NoModifier), (5, Qt.KeyboardModifier.ControlModifier)):
        at = table.visualRect(table.filter.index(row, 0)).center()
        QTest.mouseClick(table.viewport(), LEFT, keys, at)
    QTest.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [each.split("\t") for each in QGuiApplication.clipboard().text().split("\n")]
    assert lines[0][:2] == ["Tensor", "Shape"]
    assert "Histogram" not in lines[0]
    assert [each[0] for each in lines[1:]] == ["layer.2.weight", "counter"]
    assert dict(zip(lines[0], lines[1], strict=True))["SQNR, dB"] == "9.50"
    assert dict(zip(lines[0], lines[2], strict=True))["SQNR, dB"] == ""


def test_it_is_drawn_in_both_themes_with_bars_and_outlines(table, themes):
    pictures = []
    for theme in (LIGHT, DARK):
        themes.choose(theme.name)
        table.show_theme(theme)
        picture = table.viewport().grab().toImage()
        pictures.append(picture)
        index = table.filter.index(0, column(table, "histogram"))
        area = table.visualRect(index)
        colors = {picture.pixelColor(x, area.center().y()).name() for x in range(area.left() + 8, area.right() - 8)}
        assert len(colors) > 1 or theme.base not in colors
    assert pictures[0] != pictures[1]


def test_a_hundred_thousand_rows_come_sort_and_are_filtered(table):
    table.sortByColumn(column(table, "sqnr", 0), ASCENDING)
    table.layers.clear()
    figures = [(Given(i * 7919 % 100_003, 0.1, 1.0, 1.0),) for i in range(100_000)]
    lines = [LayerLine(f"t.{i}", f"t.{i}", (i,), "bfloat16", i, figures=each) for i, each in enumerate(figures)]
    for at in range(0, len(lines), 20_000):
        table.take(lines[at : at + 20_000])
    table.put_in_order()
    seen = [table.layers.line(row).figures[0].sqnr_db for row in range(0, 100_000, 5_000)]
    assert seen == sorted(seen)
    table.show_filter(">99990")
    assert len(names(table)) == 10
