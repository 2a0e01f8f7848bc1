import traceback

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QLabel, QPlainTextEdit, QWidget

from qexplorer.widgets.controls import Badge, Field
from qexplorer.widgets.messages import Banner, Placeholder
from qexplorer.widgets.task_row import TaskRow, ThinBar
from qexplorer.widgets.theme import LIGHT

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def banner(shown) -> Banner:
    banner = Banner()
    shown(banner, 500, 120)
    banner.hide()
    return banner


def press(widget: QWidget, name: str) -> None:
    (button,) = [b for b in widget.findChildren(QAbstractButton) if b.accessibleName() == name]
    QTest.mouseClick(button, LEFT)


def report_of(error: Exception) -> str:
    try:
        raise error
    except type(error):
        return traceback.format_exc()


def test_nothing_is_said_at_first(banner):
    assert banner.isHidden()
    assert banner.text == ""


def test_a_message_stays_until_it_is_dismissed(banner, qtbot):
    banner.show_message("The file is empty.")
    assert (banner.isVisible(), banner.text) == (True, "The file is empty.")
    with qtbot.waitSignal(banner.dismissed):
        press(banner, "Dismiss the message")
    assert (banner.isVisible(), banner.text) == (False, "")


def test_the_report_has_the_message_and_the_line_of_the_exception(banner):
    banner.show_message("Something failed.", report_of(LookupError("no such layer")))
    press(banner, "Copy the report")
    copied = QGuiApplication.clipboard().text()
    assert copied == banner.report
    assert copied.startswith("Something failed.")
    assert "LookupError: no such layer" in copied
    assert "in report_of" in copied


def test_details_unfold_and_fold(banner):
    banner.show_message("Something failed.", "line 1\nline 2")
    details = banner.findChild(QPlainTextEdit)
    seen = [details.isVisible()]
    for _ in range(2):
        press(banner, "Show the details of the message")
        seen.append(details.isVisible())
    assert seen == [False, True, False]
    assert details.isReadOnly()


def test_without_details_there_is_nothing_to_unfold_or_copy(banner):
    banner.show_message("Mind the step.")
    visible = {b.accessibleName() for b in banner.findChildren(QAbstractButton) if b.isVisible()}
    assert visible == {"Dismiss the message"}


def test_the_same_message_again_only_counts_up(banner):
    for _ in range(100):
        banner.show_message("Again.")
    assert banner.text == "Again.  (100 times)"
    banner.show_message("Another.")
    assert banner.text == "Another."
    banner.clear()
    banner.show_message("Another.")
    assert banner.text == "Another."


def test_messages_are_shown_as_they_are(banner):
    banner.show_message("<b>bold</b> <img src='http://x'>")
    (label,) = [w for w in banner.findChildren(QLabel) if "bold" in w.text()]
    assert label.textFormat() == Qt.TextFormat.PlainText


def test_a_placeholder_says_what_to_do_and_its_button_does_it(shown, qtbot):
    empty = shown(Placeholder("Nothing here", "Drop a file.", "&Open …"))
    with qtbot.waitSignal(empty.pressed):
        QTest.mouseClick(empty.button, LEFT)
    assert empty.button.accessibleName() == "Open …"
    empty.show_text("Still nothing", "Drop another.")
    assert {w.text() for w in empty.findChildren(QLabel)} == {"Still nothing", "Drop another."}


def test_a_task_tells_its_phase_share_and_time_left(shown):
    row = shown(TaskRow(7, "PTQ static"), 600, 40)
    row.show_progress("Calibrating 3/10", 0.25, 95)
    assert {"PTQ static", "Calibrating 3/10", "2 min left"} <= {w.text() for w in row.findChildren(QLabel)}
    assert row.bar.share == 0.25
    row.show_progress("Timing", None, None)
    assert row.bar.share == 0.25


def test_cancelling_is_acknowledged_at_once_and_asked_for_once(shown, qtbot):
    row = shown(TaskRow(7, "PTQ static"), 600, 40)
    pressed = []
    row.cancel_pressed.connect(pressed.append)
    QTest.mouseClick(row.cancel, LEFT)
    row.show_progress("Calibrating 4/10", 0.4, 10)
    assert pressed == [7]
    assert not row.cancel.isEnabled()
    assert "Cancelling …" in {w.text() for w in row.findChildren(QLabel)}


@pytest.mark.parametrize(("share", "shown_share"), [(-1, 0.0), (0.5, 0.5), (2, 1.0)])
def test_a_bar_never_runs_over(shown, share, shown_share):
    bar = shown(ThinBar(), 100, 6)
    bar.show_share(share)
    bar.grab()
    assert bar.share == shown_share
    assert bar.accessibleDescription() == f"{shown_share:.0%}"


def test_a_badge_without_text_is_not_there(shown):
    badge = shown(Badge(), 80, 20)
    badge.show_badge("exact", LIGHT.color("good"), "Every value")
    assert (badge.isVisible(), badge.toolTip()) == (True, "Every value")
    badge.show_badge("", LIGHT.color("good"), "")
    assert not badge.isVisible()


def test_a_field_that_is_mended_has_its_own_tooltip_again(shown):
    field = shown(Field(), 80, 24)
    field.setToolTip("A number")
    field.show_wrong("That is none.")
    field.show_wrong("That is still none.")
    assert (field.wrong, field.toolTip()) == (True, "That is still none.")
    field.show_wrong("")
    assert (field.wrong, field.toolTip()) == (False, "A number")
