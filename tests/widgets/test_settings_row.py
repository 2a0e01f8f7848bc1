import pytest
from hands import type_text
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from qexplorer.quant.granularity import PerChannel, PerGroup, PerTensor
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.observers.percentile import Percentile
from qexplorer.widgets.settings_row import SettingsRow


@pytest.fixture
def row(shown) -> SettingsRow:
    row = SettingsRow()
    row.edits, row.reasons = [], []
    row.edited.connect(row.edits.append)
    row.refused.connect(row.reasons.append)
    return shown(row, 300, 30)


def test_each_field_of_the_plugin_has_a_control_with_its_value(row):
    row.show_plugin(Fixed(-0.25, 1.5))
    assert {name: field.text() for name, field in row.fields.items()} == {"lo": "-0.25", "hi": "1.5"}
    row.show_plugin(PerGroup(64))
    assert {name: field.text() for name, field in row.fields.items()} == {"size": "64"}
    row.show_plugin(PerGroup(64, "1"))
    assert {name: field.text() for name, field in row.fields.items()} == {"size": "64", "axis": "1"}
    type_text(row.fields["axis"], "0")
    assert row.edits == [PerGroup(64, "0")]
    assert row.isVisible()


def test_a_plugin_without_settings_hides_the_row(row):
    row.show_plugin(PerTensor())
    assert row.isHidden()
    assert row.fields == {}


def test_a_number_and_return_make_a_copy_with_it(row):
    row.show_plugin(Fixed(-1, 1))
    type_text(row.fields["hi"], "0.5")
    assert row.edits == [Fixed(-1, 0.5)]
    assert row.reasons[-1] == ""


@pytest.mark.parametrize("text", ["−0.5", "-.5", "-5e-1", "  -0.5 "])
def test_minus_signs_and_powers_of_ten_are_understood(row, text):
    row.show_plugin(Fixed(-1, 1))
    row.fields["lo"].setText(text)
    QTest.keyClick(row.fields["lo"], Qt.Key.Key_Return)
    assert row.edits == [Fixed(-0.5, 1)]


@pytest.mark.parametrize("text", ["", "abc", "1,5", "0x10", "1e", "--1"])
def test_what_is_no_number_is_refused_with_a_reason_and_changes_nothing(row, text):
    row.show_plugin(Percentile(99))
    field = row.fields["percentile"]
    before = field.toolTip()
    field.setText(text)
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert row.edits == []
    assert "must be a number" in row.reasons[-1]
    assert f"“{text.strip()}”" in row.reasons[-1]
    assert field.wrong
    assert field.toolTip() == row.reasons[-1]
    type_text(field, "95")
    assert row.edits == [Percentile(95)]
    assert (row.reasons[-1], field.wrong, field.toolTip()) == ("", False, before)


@pytest.mark.parametrize(
    ("plugin", "field", "text", "reason"),
    [
        (Percentile(99), "percentile", "20", "50 or more"),
        (Percentile(99), "percentile", "nan", "50 or more"),
        (Fixed(-1, 1), "lo", "2", "is not below"),
        (Fixed(-1, 1), "hi", "inf", "or less"),
        (PerGroup(32), "size", "0", "1 or more"),
        (PerChannel(0), "axis", "1.5", "must be a whole number, not “1.5”"),
    ],
)
def test_an_impossible_number_is_refused_in_the_plugin_s_own_words(row, plugin, field, text, reason):
    row.show_plugin(plugin)
    type_text(row.fields[field], text)
    assert row.edits == []
    assert reason in row.reasons[-1]
    assert row.fields[field].wrong


def test_the_same_number_again_is_no_edit(row):
    row.show_plugin(PerGroup(32))
    type_text(row.fields["size"], "32")
    assert row.edits == []


def test_the_arrow_keys_step_whole_numbers_by_one_and_others_by_a_hundredth(row):
    row.show_plugin(PerGroup(32))
    QTest.keyClick(row.fields["size"], Qt.Key.Key_Up)
    row.show_plugin(PerGroup(33))
    QTest.keyClick(row.fields["size"], Qt.Key.Key_Down)
    row.show_plugin(Fixed(-1, 1))
    QTest.keyClick(row.fields["hi"], Qt.Key.Key_Up)
    assert row.edits == [PerGroup(33), PerGroup(32), Fixed(-1, 1.01)]


def test_the_arrow_keys_leave_what_is_no_number_alone(row):
    row.show_plugin(PerGroup(32))
    row.fields["size"].setText("x")
    QTest.keyClick(row.fields["size"], Qt.Key.Key_Up)
    assert (row.fields["size"].text(), row.edits) == ("x", [])


def test_a_value_that_comes_from_elsewhere_takes_the_mark_away(row):
    row.show_plugin(PerGroup(32))
    type_text(row.fields["size"], "0")
    row.show_plugin(PerGroup(16))
    assert (row.fields["size"].text(), row.fields["size"].wrong) == ("16", False)


def test_a_value_that_is_written_there_already_keeps_its_spelling(row):
    row.show_plugin(Fixed(-1, 1))
    row.fields["hi"].setText("1.000")
    row.show_plugin(Fixed(-1, 1))
    assert row.fields["hi"].text() == "1.000"
