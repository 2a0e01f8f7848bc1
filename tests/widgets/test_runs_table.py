from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from qexplorer.widgets.runs_table import COLUMNS, RunLine, RunsTable, Timing
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


@pytest.fixture
def table(shown) -> RunsTable:
    table = shown(RunsTable(), 900, 200)
    table.show_lines([FLOAT, INT8])
    return table


def cell(table: RunsTable, line: int, title: str, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole):
    column = [c.title for c in COLUMNS].index(title)
    return table.runs.index(line, column).data(role)


def test_the_model_keeps_qt_s_rules(table, qtmodeltester):
    qtmodeltester.check(table.runs)
    table.show_lines([])
    table.show_lines([FLOAT, INT8, FLOAT])


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
        ("Theoretical", "8.90 MB", "2.30 MB"),
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
    for section in range(len(COLUMNS)):
        assert table.runs.headerData(section, Qt.Orientation.Horizontal, tip)


def test_simulated_kernels_do_not_look_like_real_ones(table, themes):
    table.show_lines([FLOAT, INT8, replace(INT8, real=False)])
    role = Qt.ItemDataRole.ForegroundRole
    for theme in (LIGHT, DARK):
        table.show_theme(theme)
        assert cell(table, 1, "Kernels", role) == theme.color("good")
        assert cell(table, 2, "Kernels", role) == theme.color("warn")


def test_ctrl_c_copies_the_whole_table_with_its_titles(table):
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().split("\n")]
    assert lines[0] == [c.title for c in COLUMNS]
    assert [line[0] for line in lines[1:]] == [FLOAT.title, INT8.title]
    assert {len(line) for line in lines} == {len(COLUMNS)}


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
