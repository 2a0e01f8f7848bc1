from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from qexplorer.widgets.runs_table import EndedLine, RunLine, RunsTable, Timing
from qexplorer.widgets.theme import DARK, LIGHT

FLOAT = RunLine(
    key=("7", "fp32"),
    title="FP32 · MobileNetV2",
    about="PTQ static, run 7",
    kernels="float32",
    real=True,
    top1=0.989,
    top1_ci95=(0.983, 0.993),
    top5=1.0,
    n=2000,
    flips=0,
    bytes_on_disk=8_947_123,
    bytes_theoretical=8_900_000,
    latency={"1": Timing(10.0, 9.5, 11.0), "64": Timing(100.0, 95.0, 120.0)},
    threads=1,
    first=None,
)
INT8 = replace(
    FLOAT,
    key=("7", "int8"),
    title="PTQ static · PyTorch default",
    kernels="REAL int8 (x86)",
    top1=0.9875,
    flips=1_234,
    bytes_on_disk=2_350_000,
    bytes_theoretical=2_300_000,
    latency={"1": Timing(4.0, 3.9, 4.4)},
    first=FLOAT,
    note="The fixed cost is most of it",
)
FAILED = EndedLine(("9", ""), "QAT · int4", "QAT, run 9", "failed", "The disk is full.")


@pytest.fixture
def table(shown) -> RunsTable:
    table = shown(RunsTable(), 900, 200)
    table.show_lines([FLOAT, INT8])
    return table


def column_of(table: RunsTable, title: str) -> int:
    return [c.title for c in table.lines.columns].index(title)


def cell(table: RunsTable, line: int, title: str, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole):
    return table.lines.index(line, column_of(table, title)).data(role)


def test_the_model_keeps_qt_s_rules(table, qtmodeltester):
    qtmodeltester.check(table.lines)
    table.show_lines([])
    table.show_lines([FLOAT, INT8, FAILED])


@pytest.mark.parametrize(
    ("title", "of_float", "of_int8"),
    [
        ("Run", "FP32 · MobileNetV2", "PTQ static · PyTorch default"),
        ("Kernels", "float32", "REAL int8 (x86)"),
        ("Top-1", "98.90 %", "98.75 %"),
        ("95 % interval", "98.3 – 99.3 %", "98.3 – 99.3 %"),
        ("Top-5", "100.00 %", "100.00 %"),
        ("Flips", "–", "1,234"),
        ("On disk", "8.95 MB", "2.35 MB  3.8×"),
        ("Theoretical", "8.90 MB", "2.30 MB  3.9×"),
        ("n", "2,000", "2,000"),
        ("Batch 1", "10.00 ms", "4.00 ms  2.5×"),
        ("Batch 64", "100.00 ms", "–"),
        ("Note", "", "The fixed cost is most of it"),
    ],
)
def test_each_column_compares_with_the_float_model_of_the_same_run(table, title, of_float, of_int8):
    assert (cell(table, 0, title), cell(table, 1, title)) == (of_float, of_int8)


def test_what_a_figure_means_is_in_its_tooltip(table):
    tip = Qt.ItemDataRole.ToolTipRole
    assert cell(table, 1, "Run", tip) == "PTQ static, run 7"
    assert cell(table, 1, "Top-1", tip) == "98.75 % of 2,000 test samples; with 95 % confidence 98.3 – 99.3 %"
    assert cell(table, 1, "Batch 1", tip) == "median 4.00 ms, 5th to 95th percentile 3.90 to 4.40 ms, 1 thread(s)"
    assert cell(table, 1, "Batch 64", tip) == "–"
    for section in range(table.lines.columnCount()):
        assert table.lines.headerData(section, Qt.Orientation.Horizontal, tip)


def test_simulated_kernels_do_not_look_like_real_ones(table, themes):
    table.show_lines([FLOAT, INT8, replace(INT8, key=("7", "w4"), real=False)])
    role = Qt.ItemDataRole.ForegroundRole
    for theme in (LIGHT, DARK):
        table.show_theme(theme)
        assert cell(table, 1, "Kernels", role) == theme.color("good")
        assert cell(table, 2, "Kernels", role) == theme.color("warn")


def test_a_file_of_floats_that_stand_in_is_compared_with_nothing(table):
    table.show_lines([FLOAT, replace(INT8, real=False)])
    assert cell(table, 1, "On disk") == "2.35 MB"
    assert cell(table, 1, "Theoretical") == "2.30 MB  3.9×"


def test_the_sizes_of_small_models_have_room_for_their_ratios(table):
    table.show_lines([FLOAT, replace(INT8, bytes_on_disk=888_880, bytes_theoretical=108_880)])
    for title in ("Theoretical", "On disk"):
        room = table.columnWidth(column_of(table, title)) - 2 * table.style().pixelMetric(
            table.style().PixelMetric.PM_FocusFrameHMargin
        )
        assert table.fontMetrics().horizontalAdvance(cell(table, 1, title)) < room - 2


def titles(table):
    return [line.title for line in table.lines.shown]


def click_title(table, qtbot, title):
    header, column = table.horizontalHeader(), column_of(table, title)
    table.scrollTo(table.lines.index(0, column))
    at = QPoint(header.sectionViewportPosition(column) + 10, header.height() // 2)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=at)


def test_a_click_on_a_title_sorts_and_one_on_the_first_puts_runs_together_again(table, qtbot):
    second = replace(FLOAT, key=("3", "fp32"), title="Second")
    older = replace(INT8, key=("3", "b"), title="Older", top1=0.5, first=second, latency={})
    table.show_lines([FAILED, replace(FLOAT, title="First"), INT8, second, older])
    given = titles(table)
    table.show_chosen([("3", "b")])
    click_title(table, qtbot, "Top-1")
    assert titles(table)[:2] == ["Older", INT8.title]
    assert titles(table)[-1] == FAILED.title
    assert table.chosen_keys == (("3", "b"),)
    click_title(table, qtbot, "Batch 1")
    assert titles(table)[0] == INT8.title
    assert set(titles(table)[-2:]) == {FAILED.title, "Older"}
    click_title(table, qtbot, "Run")
    assert titles(table) == ["Second", "Older", "First", INT8.title, FAILED.title]
    click_title(table, qtbot, "Run")
    assert titles(table) == given


def test_a_run_without_a_result_says_why_across_the_figures_and_can_be_chosen(table, themes, qtmodeltester):
    table.show_lines([FLOAT, INT8, FAILED])
    qtmodeltester.check(table.lines)
    table.show_theme(LIGHT)
    assert cell(table, 2, "Kernels") == "failed"
    assert cell(table, 2, "Kernels", Qt.ItemDataRole.ForegroundRole) == LIGHT.color("clip")
    assert cell(table, 2, "Top-1") == "The disk is full."
    assert table.columnSpan(2, 2) == table.lines.columnCount() - 2
    assert cell(table, 2, "Note") == cell(table, 2, "Note", Qt.ItemDataRole.ToolTipRole) == "The disk is full."
    assert cell(table, 2, "Run", Qt.ItemDataRole.ToolTipRole) == "QAT, run 9"
    chosen = []
    table.chosen.connect(chosen.append)
    table.selectRow(2)
    assert chosen == [(("9", ""),)]
    table.grab()


def test_selected_lines_stay_selected_when_others_come_without_a_word(table):
    table.show_chosen([INT8.key])
    chosen = []
    table.chosen.connect(chosen.append)
    table.show_lines([FAILED, FLOAT, INT8])
    assert (table.chosen_keys, chosen) == ((INT8.key,), [])
    table.show_lines([FLOAT])
    assert (table.chosen_keys, chosen) == ((), [])


def test_lines_that_are_chosen_elsewhere_are_selected_without_a_word(table):
    chosen = []
    table.chosen.connect(chosen.append)
    table.show_lines([FLOAT, INT8])
    table.show_chosen([("7", "int8")])
    assert table.chosen_keys == (("7", "int8"),)
    table.show_chosen([])
    assert (table.chosen_keys, chosen) == ((), [])


def test_ctrl_c_copies_the_whole_table_with_its_titles(table):
    table.show_lines([FLOAT, INT8, FAILED])
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().split("\n")]
    assert lines[0] == [c.title for c in table.lines.columns]
    assert [line[0] for line in lines[1:]] == [FLOAT.title, INT8.title, FAILED.title]
    assert {len(line) for line in lines} == {table.lines.columnCount()}
    of_failed = dict(zip(lines[0], lines[3], strict=True))
    assert (of_failed["Top-1"], of_failed["Note"]) == ("", FAILED.why)
    assert dict(zip(lines[0], lines[1], strict=True))["Flips"] == ""


def test_other_keys_still_move(table):
    table.setFocus()
    table.selectRow(0)
    QTest.keyClick(table, Qt.Key.Key_Down)
    assert table.currentIndex().row() == 1


def test_it_can_be_drawn_in_both_themes_and_when_empty(table, themes):
    pictures = []
    for theme in ("light", "dark"):
        themes.choose(theme)
        table.show_theme(themes.current)
        pictures.append(table.grab().toImage())
    table.show_lines([])
    pictures.append(table.grab().toImage())
    assert pictures[0] != pictures[1] != pictures[2]
