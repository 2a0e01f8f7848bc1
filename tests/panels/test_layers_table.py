"""The table of layers: its columns, its order while lines come in, its filter, and what it hands out."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from qexplorer.inspection.rows import LayerFigures, LayerRow, Totals
from qexplorer.panels.layer_columns import Layer, columns_of
from qexplorer.panels.layers import LEAST, first_sqnr
from qexplorer.quant import QuantSpec
from qexplorer.quant.flags import NO_FLAGS, Flags
from qexplorer.quant.metrics import ErrorSums, Metrics
from qexplorer.weights.roles import role_of
from qexplorer.widgets.filter_field import fitting
from qexplorer.widgets.growing_table import GrowingTable
from qexplorer.widgets.theme import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton
ASCENDING, DESCENDING = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder
FACTS = ("Tensor", "Flags", "Role", "Shape", "Values", "Type", "Size", "Share", "Histogram")
OF_SPEC = ("SQNR, dB", "Error share", "Spec", "Rel. RMSE", "Quantized")


def scan(*e2: float) -> Any:
    """What is asked of a scan: Σe² of all tensors under each spec."""
    return SimpleNamespace(totals=tuple(Totals(e2=each, quantized=1) for each in e2))


FIRST = scan(10.0)


def layer(name: str, *sqnr: float, n: int = 100, e2: float = 1.0, note: str = "", tied: str = "",
          of: Any = FIRST, flags: Flags = NO_FLAGS) -> Layer:  # fmt: skip
    figures = tuple(
        LayerFigures(Metrics(sqnr_db=db, relative_rmse=10 ** (-db / 20), bytes=n / 2), ErrorSums(e2=e2))
        if not math.isnan(db)
        else LayerFigures(refusal=note or "It does not serve.")
        for db in sqnr
    )
    counts = np.bincount(np.arange(n) % 48, minlength=48)
    specs = (QuantSpec(),) * len(figures)
    role = role_of(name, "int64" if name == "counter" else "float32", (n, 1), {name})
    share = 0.0 if tied else 0.25
    row = LayerRow(name, (n,), "float32", n, 4 * n, share, figures, specs, counts, -1.0, n / 9, role, flags, tied, note)
    return Layer(row, of)


LAYERS = [
    layer("layer.10.weight", 20.0, n=2_000_000, e2=6.0),
    layer("layer.2.weight", 9.5, n=50_000, e2=3.0),
    layer("counter", math.nan, n=1, note="It holds int64, not floating-point weights."),
    layer("layer.2.bias", math.inf, n=300, e2=0.0),
    layer("head.weight", 20.0, n=2_000_000, e2=6.0, tied="layer.10.weight"),
    layer("layer.1.weight", 30.0, n=400, e2=1.0),
]
Table = GrowingTable[Layer]


@pytest.fixture
def shown(qtbot: Any, themes: Any) -> Callable[[Table, int, int], Table]:
    def show(table: Table, width: int, height: int) -> Table:
        qtbot.addWidget(table)
        table.resize(width, height)
        with qtbot.waitExposed(table):
            table.show()
        return table

    return show


@pytest.fixture
def opened() -> list[str]:
    """The tensors that were chosen."""
    return []


@pytest.fixture
def table(shown: Any, opened: list[str]) -> Table:
    columns = columns_of(["INT4"], "", FIRST)
    table = GrowingTable[Layer]("Layers", columns, lambda layer: layer.row.name, LEAST, tier=lambda layer: layer.tier)
    table.opened.connect(lambda layer: opened.append(layer.row.name))
    table.setSortingEnabled(True)
    table.sortByColumn(column(table, "Error share"), DESCENDING)
    table.put(LAYERS)
    table.put_in_order()
    return shown(table, 1400, 320)


def show_filter(table: Table, text: str) -> None:
    table.show_fitting(fitting(text, first_sqnr, lambda layer: layer.marks))


def names(table: Table) -> list[str]:
    return [table.model().index(row, 0).data() for row in range(table.model().rowCount())]


def column(table: Table, title: str) -> int:
    return [each.title for each in table.lines.columns].index(title)


def cell(table: Table, name: str, title: str, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole) -> Any:
    return table.model().index(names(table).index(name), column(table, title)).data(role)


def click_title(table: Table, title: str) -> None:
    header, at = table.horizontalHeader(), column(table, title)
    x = header.sectionViewportPosition(at) + header.sectionSize(at) // 2
    QTest.mouseClick(header.viewport(), LEFT, pos=QPoint(x, 5))


def test_the_models_keep_qts_rules_while_everything_changes(table: Table, qtmodeltester: Any) -> None:
    qtmodeltester.check(table.lines)
    qtmodeltester.check(table.model())
    show_filter(table, "layer")
    table.show_columns(columns_of(["INT5"], "layer.2.bias", None))
    table.put(LAYERS[:3])
    table.put_in_order()
    table.put([*LAYERS[3:], layer("more", 3.0)])
    table.put_in_order()
    table.lines.show_lines(())
    table.show_columns(columns_of(["INT5", "INT8"], "", None))
    show_filter(table, "sqnr<15")
    table.put([layer("a", 3.0, 4.0, of=scan(1.0, 1.0))])
    table.lines.show_lines(())


def test_what_hurts_most_comes_first_and_what_has_no_figure_last(table: Table) -> None:
    assert names(table)[:3] == ["layer.10.weight", "layer.2.weight", "layer.1.weight"]
    assert names(table)[3:] == ["head.weight", "layer.2.bias", "counter"]


@pytest.mark.parametrize(
    ("title", "ascending"),
    [
        ("SQNR, dB", ["layer.2.weight", "layer.10.weight", "layer.1.weight"]),
        ("Error share", ["layer.1.weight", "layer.2.weight", "layer.10.weight"]),
        ("Rel. RMSE", ["layer.1.weight", "layer.10.weight", "layer.2.weight"]),
    ],
)
def test_numbers_sort_as_numbers_and_what_is_no_weight_stays_last(
    table: Table, title: str, ascending: list[str]
) -> None:
    for order, expected in ((ASCENDING, ascending), (DESCENDING, ascending[::-1])):
        table.sortByColumn(column(table, title), order)
        assert [name for name in names(table) if name in ascending] == expected
        assert names(table)[-2:] == ["layer.2.bias", "counter"]


@pytest.mark.parametrize("order", [ASCENDING, DESCENDING])
def test_what_is_odd_comes_before_all_that_is_ranked(table: Table, order: Qt.SortOrder) -> None:
    odd = [
        layer("nan.weight", 20.0, flags=Flags(100, nan=2)),
        layer("zero.weight", math.nan, flags=Flags(100, lo=0.0, hi=0.0)),
        layer("inf.running_var", 12.0, flags=Flags(100, inf=1)),
        layer("zero.bias", math.nan, flags=Flags(100, lo=0.0, hi=0.0)),  # as biases often are
    ]
    table.put(odd)
    table.sortByColumn(column(table, "SQNR, dB"), order)
    assert set(names(table)[:3]) == {"nan.weight", "zero.weight", "inf.running_var"}
    assert "zero.bias" in names(table)[-3:]
    assert cell(table, "nan.weight", "Flags") == "2 NaN"
    assert cell(table, "nan.weight", "Flags", Qt.ItemDataRole.ForegroundRole) == LIGHT.color("clip")
    assert cell(table, "zero.weight", "SQNR, dB") == "–"
    assert "no SQNR" in cell(table, "zero.weight", "SQNR, dB", Qt.ItemDataRole.ToolTipRole)
    show_filter(table, "is:nan")
    assert names(table) == ["nan.weight"]
    show_filter(table, "is:flagged is:bias")
    assert names(table) == ["zero.bias"]
    show_filter(table, "is:other is:statistic")
    assert names(table) == ["inf.running_var"]


def test_a_role_is_told_with_its_reason_and_pales_what_is_no_weight(table: Table) -> None:
    assert (cell(table, "layer.2.bias", "Role"), cell(table, "layer.2.weight", "Role")) == ("bias", "weight")
    tip = cell(table, "layer.2.bias", "Tensor", Qt.ItemDataRole.ToolTipRole)
    assert "“bias” is the name of a bias." in tip
    assert "left out of the ranking, the totals and the shares of the error" in tip
    colors = [
        cell(table, name, "Tensor", Qt.ItemDataRole.ForegroundRole) for name in ("layer.2.bias", "layer.2.weight")
    ]
    assert colors == [LIGHT.color("muted"), None]


def test_the_column_of_flags_is_always_seen_once_there_are_any(table: Table) -> None:
    table.resize(500, 320)
    assert table.isColumnHidden(column(table, "Flags"))
    table.show_columns(columns_of(["INT4"], "", FIRST, flagged=True))
    table.show_widths()
    assert not table.isColumnHidden(column(table, "Flags"))


def test_a_click_on_a_title_sorts_by_it(table: Table) -> None:
    click_title(table, "Tensor")
    assert names(table) == [
        "counter", "head.weight", "layer.1.weight", "layer.2.bias", "layer.2.weight", "layer.10.weight",
    ]  # fmt: skip
    click_title(table, "Tensor")
    assert names(table)[0] == "layer.10.weight"
    click_title(table, "Values")
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
def test_the_filter_has_the_grammar_of_the_tensor_tree(table: Table, words: str, left: set[str]) -> None:
    show_filter(table, words)
    assert set(names(table)) == left
    show_filter(table, "")
    assert len(names(table)) == len(LAYERS)


def test_cells_are_right_aligned_numbers_and_say_why_there_is_none(table: Table) -> None:
    assert cell(table, "layer.2.weight", "SQNR, dB") == "9.50"
    assert cell(table, "layer.2.weight", "Error share") == "30.00 %"
    assert cell(table, "layer.2.bias", "SQNR, dB") == "∞"
    assert cell(table, "layer.10.weight", "Values") == "2 M"
    assert cell(table, "layer.10.weight", "Quantized") == "1.00 MB"
    assert cell(table, "counter", "SQNR, dB") == cell(table, "counter", "Error share") == "–"
    tip = Qt.ItemDataRole.ToolTipRole
    assert "int64" in cell(table, "counter", "SQNR, dB", tip)
    assert cell(table, "head.weight", "Error share") == cell(table, "head.weight", "Share") == "–"
    assert "Tied to layer.10.weight" in cell(table, "head.weight", "Error share", tip)
    for title in ("Values", *(each for each in OF_SPEC if each != "Spec")):
        assert cell(table, "counter", title, Qt.ItemDataRole.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight
    for section in range(len(table.lines.columns)):
        assert table.lines.headerData(section, Qt.Orientation.Horizontal, tip)


def test_rows_that_come_in_find_their_places_soon_and_the_selected_one_stays_selected(table: Table, qtbot: Any) -> None:
    table.sortByColumn(column(table, "SQNR, dB"), ASCENDING)
    row = names(table).index("layer.1.weight")
    QTest.mouseClick(table.viewport(), LEFT, pos=table.visualRect(table.model().index(row, 0)).center())
    table.put([layer("worst", -3.0), layer("best", 80.0)])
    assert names(table)[-2:] == ["worst", "best"]
    qtbot.waitUntil(lambda: names(table)[0] == "worst")
    assert [index.data() for index in table.selectionModel().selectedRows()] == ["layer.1.weight"]
    assert names(table)[-3:] == ["best", "layer.2.bias", "counter"]


def test_many_batches_are_put_in_order_no_oftener_than_the_clock_allows(table: Table) -> None:
    table.sortByColumn(column(table, "SQNR, dB"), ASCENDING)
    ordered = []
    table.lines.layoutChanged.connect(lambda: ordered.append(1))
    for i in range(200):
        table.put([layer(f"t{i}", float(-i))])
    assert not ordered
    table.put_in_order()
    assert len(ordered) == 1
    assert names(table)[0] == "t199"
    assert not any(timer.isActive() for timer in table.findChildren(QTimer))


def test_each_row_of_a_scan_before_is_grey_until_it_is_replaced(table: Table) -> None:
    role = Qt.ItemDataRole.ForegroundRole
    table.show_theme(LIGHT)
    assert cell(table, "layer.1.weight", "SQNR, dB", role) is None
    second = scan(20.0)
    table.show_columns(columns_of(["INT5"], "", second))
    assert len(names(table)) == len(LAYERS)
    assert cell(table, "layer.1.weight", "SQNR, dB", role) == LIGHT.color("edge")
    assert cell(table, "layer.2.weight", "Error share") == "30.00 %"
    again = [layer("layer.10.weight", 26.0, e2=5.0, of=second), layer("layer.2.weight", 16.0, e2=15.0, of=second)]
    table.put(again)
    assert cell(table, "layer.2.weight", "Error share") == "75.00 %"
    assert cell(table, "layer.2.weight", "SQNR, dB", role) is None
    assert cell(table, "layer.1.weight", "SQNR, dB", role) == LIGHT.color("edge")
    table.show_columns(columns_of(["INT5"], "", None))
    assert cell(table, "layer.2.weight", "SQNR, dB", role) == LIGHT.color("edge")


def test_the_tensor_that_the_other_panels_show_is_bold(table: Table) -> None:
    table.show_columns(columns_of(["INT4"], "layer.2.bias", FIRST))
    assert cell(table, "layer.2.bias", "Tensor", Qt.ItemDataRole.FontRole).bold()
    assert cell(table, "layer.1.weight", "Tensor", Qt.ItemDataRole.FontRole) is None


def test_each_spec_has_its_columns_with_its_letter(table: Table) -> None:
    table.lines.show_lines(())
    both = scan(10.0, 5.0)
    table.show_columns(columns_of(["INT4 per tensor", "INT8 per channel"], "", both))
    titles = [each.title for each in table.lines.columns[len(FACTS) :]]
    assert titles == [f"{letter} {title}" for letter in "AB" for title in OF_SPEC]
    table.put([layer("w", 10.0, 20.0, of=both)])
    assert (cell(table, "w", "A SQNR, dB"), cell(table, "w", "B SQNR, dB")) == ("10.00", "20.00")
    assert (cell(table, "w", "A Error share"), cell(table, "w", "B Error share")) == ("10.00 %", "20.00 %")
    tip = Qt.ItemDataRole.ToolTipRole
    assert "INT8 per channel" in table.lines.headerData(column(table, "B Rel. RMSE"), Qt.Orientation.Horizontal, tip)


def test_columns_give_way_to_the_important_ones_where_there_is_no_width(table: Table, qtbot: Any) -> None:
    def seen() -> set[str]:
        return {c.title for i, c in enumerate(table.lines.columns) if not table.isColumnHidden(i)}

    assert seen() == {*FACTS, *OF_SPEC} - {"Flags", "Type"}
    table.resize(600, 320)
    assert {"Tensor", "SQNR, dB", "Error share", "Histogram"} <= seen() < {*FACTS, *OF_SPEC}
    qtbot.waitUntil(lambda: table.horizontalScrollBar().maximum() == 0)
    table.resize(260, 320)
    assert seen() == {"Tensor", "SQNR, dB"}


def test_a_menu_chooses_columns(table: Table, qtbot: Any) -> None:
    table.resize(600, 320)
    hidden = column(table, "Type")
    assert table.isColumnHidden(hidden)
    QTest.mouseClick(table.viewport(), LEFT, pos=QPoint(30, 30))
    table.horizontalHeader().customContextMenuRequested.emit(QPoint(5, 5))
    menu = QGuiApplication.instance().activePopupWidget()
    action = next(each for each in menu.actions() if each.text() == "Type")
    assert not action.isChecked()
    menu.setActiveAction(action)
    QTest.keyClick(menu, Qt.Key.Key_Return)
    assert not table.isColumnHidden(hidden)


def test_a_double_click_or_enter_chooses(table: Table, opened: list[str]) -> None:
    row = names(table).index("layer.1.weight")
    at = table.visualRect(table.model().index(row, 0)).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=at)
    assert opened == []
    QTest.mouseDClick(table.viewport(), LEFT, pos=at)
    QTest.keyClick(table, Qt.Key.Key_Up)
    QTest.keyClick(table, Qt.Key.Key_Return)
    assert opened == ["layer.1.weight", names(table)[row - 1]]


def test_ctrl_c_copies_the_selected_rows_with_their_titles(table: Table) -> None:
    table.sortByColumn(column(table, "SQNR, dB"), ASCENDING)
    for row, keys in ((0, Qt.KeyboardModifier.NoModifier), (5, Qt.KeyboardModifier.ControlModifier)):
        at = table.visualRect(table.model().index(row, 0)).center()
        QTest.mouseClick(table.viewport(), LEFT, keys, at)
    QTest.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [each.split("\t") for each in QGuiApplication.clipboard().text().split("\n")]
    assert lines[0][:3] == ["Tensor", "Role", "Shape"]
    assert "Histogram" not in lines[0]
    assert [each[0] for each in lines[1:]] == ["layer.2.weight", "counter"]
    assert dict(zip(lines[0], lines[1], strict=True))["SQNR, dB"] == "9.50"
    assert dict(zip(lines[0], lines[2], strict=True))["SQNR, dB"] == ""


def test_it_is_drawn_in_both_themes_with_bars_and_outlines(table: Table, themes: Any) -> None:
    pictures = []
    for theme in (LIGHT, DARK):
        themes.choose(theme.name)
        table.show_theme(theme)
        picture = table.viewport().grab().toImage()
        pictures.append(picture)
        index = table.model().index(0, column(table, "Histogram"))
        area = table.visualRect(index)
        colors = {picture.pixelColor(x, area.center().y()).name() for x in range(area.left() + 8, area.right() - 8)}
        assert len(colors) > 1 or theme.base not in colors
    assert pictures[0] != pictures[1]


def test_a_hundred_thousand_rows_come_sort_and_are_filtered(table: Table) -> None:
    table.sortByColumn(column(table, "SQNR, dB"), ASCENDING)
    table.lines.show_lines(())
    row, empty = layer("", 0.0).row, np.zeros(0, np.int64)
    figures = (LayerFigures(Metrics(sqnr_db=i * 7919 % 100_003)) for i in range(100_000))
    layers = [
        Layer(replace(row, name=f"t.{i}", n=i, histogram=empty, figures=(of,)), FIRST) for i, of in enumerate(figures)
    ]
    for at in range(0, len(layers), 20_000):
        table.put(layers[at : at + 20_000])
    table.put_in_order()
    seen = [table.lines.line(row).row.figures[0].metrics.sqnr_db for row in range(0, 100_000, 5_000)]
    assert seen == sorted(seen)
    show_filter(table, ">99990")
    assert len(names(table)) == 10
