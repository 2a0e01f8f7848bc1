import pytest
from hands import tooltip_at
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from qexplorer.widgets.segmented import Segmented

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def chosen() -> list[object]:
    return []


@pytest.fixture
def bits(shown, chosen) -> Segmented:
    widget = Segmented([(2, "2"), (4, "4"), (8, "8"), (16, "16")], "Bits")
    widget.chosen.connect(chosen.append)
    widget.show_value(4)
    return shown(widget, 300, 30)


def click(widget: Segmented, value: object, button: Qt.MouseButton = LEFT) -> None:
    QTest.mouseClick(widget, button, pos=widget.rect_of(value).center().toPoint())


def press(widget: Segmented, *keys: str) -> None:
    for key in keys:
        QTest.keyClick(widget, getattr(Qt.Key, f"Key_{key}"))


def test_showing_a_value_tells_nobody(bits, chosen):
    bits.show_value(8)
    assert (bits.value, chosen) == (8, [])


@pytest.mark.parametrize("value", [2, 8, 16])
def test_a_click_chooses_what_is_under_it(bits, chosen, value):
    click(bits, value)
    assert (bits.value, chosen) == (value, [value])


def test_a_click_at_the_outermost_pixels_chooses_the_outermost(bits, chosen):
    QTest.mouseClick(bits, LEFT, pos=QPoint(0, 5))
    QTest.mouseClick(bits, LEFT, pos=QPoint(bits.width() - 1, 5))
    assert chosen == [2, 16]


def test_choosing_what_is_chosen_tells_nobody(bits, chosen):
    click(bits, 4)
    assert chosen == []


def test_only_the_left_button_chooses(bits, chosen):
    click(bits, 8, Qt.MouseButton.RightButton)
    assert chosen == []


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        (["Right"], [8]),
        (["Down", "Down"], [8, 16]),
        (["Right", "Right", "Right"], [8, 16]),
        (["Left"], [2]),
        (["Up", "Left"], [2]),
        (["Left", "Right", "Right"], [2, 4, 8]),
        (["Space"], []),
    ],
)
def test_the_arrow_keys_move_and_stop_at_the_ends(bits, chosen, keys, values):
    press(bits, *keys)
    assert chosen == values


def test_a_refused_option_cannot_be_chosen_and_is_passed_over(bits, chosen):
    bits.show_refusals({8: "Not for this tensor.", 2: ""})
    click(bits, 8)
    assert (bits.value, chosen) == (4, [])
    press(bits, "Right")
    assert bits.value == 16
    press(bits, "Left")
    assert bits.value == 4


def test_where_all_others_are_refused_the_keys_stay(bits, chosen):
    bits.show_refusals(dict.fromkeys((2, 8, 16), "no"))
    press(bits, "Right", "Left")
    assert (bits.value, chosen) == (4, [])


def test_each_option_explains_itself_under_the_pointer(bits):
    bits.setToolTip("How many bits")
    bits.show_refusals({8: "Not for this tensor."}, {8: "Eight bits", 2: "Two bits"})
    said = [tooltip_at(bits, bits.rect_of(v).center().toPoint()) for v in (2, 4, 8)]
    assert said == ["Two bits", "How many bits", "Not for this tensor."]


@pytest.mark.qt_log_ignore("not accepted by receiving widget")
def test_a_disabled_row_chooses_nothing(bits, chosen):
    bits.setEnabled(False)
    click(bits, 8)
    press(bits, "Right")
    assert chosen == []


def test_a_click_or_the_tab_key_gives_it_the_keyboard(bits, qtbot):
    bits.clearFocus()
    click(bits, 8)
    assert bits.hasFocus()
    assert bits.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_focus_refusals_and_the_choice_can_be_seen(bits):
    def picture():
        return bits.grab().toImage()

    bits.clearFocus()
    plain = picture()
    bits.setFocus()
    focused = picture()
    bits.show_refusals({8: "no"})
    refused = picture()
    bits.show_value(2)
    assert plain != focused != refused != picture()


def test_other_options_can_be_offered(bits, chosen):
    bits.show_options([("a", "A"), ("b", "B")])
    click(bits, "b")
    press(bits, "Left")
    assert chosen == ["b", "a"]


def test_a_value_that_is_not_offered_is_shown_as_none_and_the_keys_find_back(bits, chosen):
    bits.show_value(99)
    bits.grab()
    press(bits, "Left")
    assert chosen == []
    press(bits, "Right")
    assert chosen == [2]


def test_a_row_without_options_does_no_harm(shown):
    empty = shown(Segmented([], "Nothing"), 200, 30)
    empty.grab()
    press(empty, "Right", "Left")
    QTest.mouseClick(empty, LEFT)
    assert empty.value is None


def test_it_fits_its_labels_and_tells_a_screen_reader_what_is_chosen(bits):
    widest = bits.fontMetrics().horizontalAdvance("16")
    assert bits.sizeHint().width() >= 4 * widest
    assert bits.accessibleName() == "Bits"
    assert bits.accessibleDescription().startswith("4,")
