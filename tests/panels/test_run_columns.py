from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from qexplorer.engine.runs.results import Latency, Row, RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.panels.run_columns import Line, runs_table
from qexplorer.widgets.table import Table
from qexplorer.widgets.theme import DARK, LIGHT
from tests.results import a_result

FP32 = Row(
    "fp32", "REAL", "float", 8_900_000, 8_947_123, 0.989, (0.983, 0.993), 1.0, 2000, 0,
    {"1": Latency(10.0, 9.5, 11.0), "64": Latency(100.0, 95.0, 120.0)}, 1,
)  # fmt: skip
X86 = replace(
    FP32, name="x86", engine="x86", bytes_theoretical=2_300_000, bytes_on_disk=2_350_000, top1=0.9875, flips=1_234,
    latency_ms={"1": Latency(4.0, 3.9, 4.4), "64": Latency(40.0, 39.0, 44.0)}, note="The fixed cost is most of it",
)  # fmt: skip


def lines_of(number: int, job: str, *rows: Row) -> list[Line]:
    run_id = str(9 - number)
    model = {"name": "vit_digits", "sha256": ""}
    result: RunResult = a_result(job, FP32, *rows, run_id=run_id, model=model)
    return [Line(number, Run(run_id, job, "done", "", None, "{}", None, None), result, row) for row in result.rows]


def changed(line: Line, **changes: Any) -> Line:
    assert line.row is not None
    return replace(line, row=replace(line.row, **changes))


FLOAT, INT8 = lines_of(2, "ptq-static", X86)
INT8 = changed(INT8, latency_ms={"1": Latency(4.0, 3.9, 4.4)})
FAILED = Line(8, Run("9", "qat", "failed", "", None, '{"weight_spec": "int4"}', None, "The disk is full."))


@pytest.fixture
def table(qtbot) -> Table[Line]:
    table = runs_table()
    qtbot.addWidget(table)
    table.resize(900, 200)
    table.lines.show_lines([FLOAT, INT8])
    with qtbot.waitExposed(table):
        table.show()
    return table


def column_of(table: Table[Line], title: str) -> int:
    return [c.title for c in table.lines.columns].index(title)


def cell(table: Table[Line], line: int, title: str, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole):
    return table.lines.index(line, column_of(table, title)).data(role)


def test_the_model_keeps_qt_s_rules(table, qtmodeltester):
    qtmodeltester.check(table.lines)
    table.lines.show_lines([])
    table.lines.show_lines([FLOAT, INT8, FAILED])


@pytest.mark.parametrize(
    ("title", "of_float", "of_int8"),
    [
        ("Run", "FP32 · ViT · digits", "PTQ static · x86"),
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
    assert cell(table, 1, "Run", tip).startswith("PTQ static, run 7\n")
    assert cell(table, 1, "Top-1", tip) == "98.75 % of 2,000 test samples; with 95 % confidence 98.3 – 99.3 %"
    assert cell(table, 1, "Batch 1", tip) == "median 4.00 ms, 5th to 95th percentile 3.90 to 4.40 ms, 1 thread(s)"
    assert cell(table, 1, "Batch 64", tip) == "–"
    for section in range(table.lines.columnCount()):
        assert table.lines.headerData(section, Qt.Orientation.Horizontal, tip)


def test_simulated_kernels_do_not_look_like_real_ones(table, themes):
    table.lines.show_lines([FLOAT, INT8, changed(INT8, name="w4", kind="SIMULATED")])
    role = Qt.ItemDataRole.ForegroundRole
    for theme in (LIGHT, DARK):
        table.show_theme(theme)
        assert cell(table, 1, "Kernels", role) == theme.color("good")
        assert cell(table, 2, "Kernels", role) == theme.color("warn")


def test_a_file_of_floats_that_stand_in_is_compared_with_nothing(table):
    table.lines.show_lines([FLOAT, changed(INT8, kind="SIMULATED")])
    assert cell(table, 1, "On disk") == "2.35 MB"
    assert cell(table, 1, "Theoretical") == "2.30 MB  3.9×"


def test_the_sizes_of_small_models_have_room_for_their_ratios(table):
    table.lines.show_lines([FLOAT, changed(INT8, bytes_on_disk=888_880, bytes_theoretical=108_880)])
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
    second, older = lines_of(6, "weight-only", replace(X86, name="b"))
    older = changed(older, top1=0.5, latency_ms={})
    table.lines.show_lines([replace(FAILED, number=0), FLOAT, INT8, second, older])
    given = titles(table)
    table.show_selected([("3", "b")])
    click_title(table, qtbot, "Top-1")
    assert titles(table)[:2] == [older.title, INT8.title]
    assert titles(table)[-1] == FAILED.title
    assert table.selected_keys == (("3", "b"),)
    click_title(table, qtbot, "Batch 1")
    assert titles(table)[0] == INT8.title
    assert set(titles(table)[-2:]) == {FAILED.title, older.title}
    click_title(table, qtbot, "Run")
    assert titles(table) == [second.title, older.title, FLOAT.title, INT8.title, FAILED.title]
    click_title(table, qtbot, "Run")
    assert titles(table) == given


def test_a_run_without_a_result_says_why_across_the_figures_and_can_be_chosen(table, themes, qtmodeltester):
    table.lines.show_lines([FLOAT, INT8, FAILED])
    qtmodeltester.check(table.lines)
    table.show_theme(LIGHT)
    assert cell(table, 2, "Kernels") == "failed"
    assert cell(table, 2, "Kernels", Qt.ItemDataRole.ForegroundRole) == LIGHT.color("clip")
    assert cell(table, 2, "Top-1") == "The disk is full."
    assert table.columnSpan(2, 2) == table.lines.columnCount() - 2
    assert cell(table, 2, "Note") == cell(table, 2, "Note", Qt.ItemDataRole.ToolTipRole) == "The disk is full."
    assert cell(table, 2, "Run", Qt.ItemDataRole.ToolTipRole) == "QAT, run 9\nweights int4"
    chosen = []
    table.lines_selected.connect(lambda: chosen.append(table.selected_keys))
    table.selectRow(2)
    assert chosen == [(("9", ""),)]
    table.grab()


def test_selected_lines_stay_selected_when_others_come_without_a_word(table):
    table.show_selected([INT8.key])
    chosen = []
    table.lines_selected.connect(lambda: chosen.append(table.selected_keys))
    table.lines.show_lines([replace(FAILED, number=0), FLOAT, INT8])
    assert (table.selected_keys, chosen) == ((INT8.key,), [])
    table.lines.show_lines([FLOAT])
    assert (table.selected_keys, chosen) == ((), [])


def test_lines_that_are_chosen_elsewhere_are_selected_without_a_word(table):
    chosen = []
    table.lines_selected.connect(lambda: chosen.append(table.selected_keys))
    table.lines.show_lines([FLOAT, INT8])
    table.show_selected([("7", "x86")])
    assert table.selected_keys == (("7", "x86"),)
    table.show_selected([])
    assert (table.selected_keys, chosen) == ((), [])


def test_ctrl_c_copies_the_whole_table_with_its_titles(table):
    table.lines.show_lines([FLOAT, INT8, FAILED])
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
    table.lines.show_lines([])
    pictures.append(table.grab().toImage())
    assert pictures[0] != pictures[1] != pictures[2]
