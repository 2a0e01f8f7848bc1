from dataclasses import dataclass
from typing import ClassVar

import pytest
from hands import pick, type_text
from PySide6.QtCore import QEvent, QPoint, QRect, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLabel

from qexplorer import settings
from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.settings import Choice
from qexplorer.widgets.job_form import JobForm


def setting(default, title, **more):
    return settings.setting(default, title, f"About {title}", **more)


@dataclass(frozen=True)
class Bake(Plugin):
    oven: str = setting("gas", "Oven", choices=(Choice("gas", "Gas oven"), "electric"))
    recipe: str = setting("", "Recipe", browse="file")
    minutes: int = setting(30, "Minutes")
    seed: int = setting(0, "Seed", minor=True)

    name: ClassVar[str] = "bake"
    title: ClassVar[str] = "Bake"

    def __post_init__(self) -> None:
        if self.minutes > 90:
            raise UserError(f"{self.minutes} minutes burn it.", "Take 90 or less.", field="minutes")


@pytest.fixture
def form(shown) -> JobForm:
    form = JobForm(Bake())
    form.edits = []
    form.edited.connect(form.edits.append)
    return shown(form, 640, 140)


def button(form: JobForm, name: str) -> QAbstractButton:
    return next(b for b in form.findChildren(QAbstractButton) if b.accessibleName() == name)


def place(form: JobForm, name: str) -> QRect:
    control = form.controls[name]
    return QRect(control.mapTo(form, QPoint()), control.size())


def said(form: JobForm) -> list[str]:
    return [w.text() for w in form.findChildren(QLabel) if w.isVisible() and w.text() and w.buddy() is None]


def test_every_field_has_a_control_with_its_title_and_help(form):
    assert list(form.controls) == ["oven", "recipe", "minutes", "seed"]
    titles = {w.buddy(): w.text() for w in form.findChildren(QLabel) if w.buddy()}
    for name, control in form.controls.items():
        assert titles[control] == control.accessibleName() == name.capitalize()
        assert control.toolTip() == f"About {name.capitalize()}"


def test_choices_come_with_their_names_on_screen(form):
    combo = form.controls["oven"]
    assert [combo.itemText(i) for i in range(combo.count())] == ["Gas oven", "electric"]


def test_each_kind_of_control_gives_the_job_with_its_setting(form):
    pick(form.controls["oven"], "electric")
    form.show_job(form.edits[-1])
    type_text(form.controls["recipe"], "  rye.txt ")
    form.show_job(form.edits[-1])
    type_text(form.controls["minutes"], "45")
    assert form.edits == [Bake("electric"), Bake("electric", "rye.txt"), Bake("electric", "rye.txt", 45)]


def test_showing_a_job_tells_nobody(form):
    form.show_job(Bake("electric", "x", 5, 6))
    assert form.edits == []
    assert form.controls["oven"].currentData() == "electric"
    assert [form.controls[n].text() for n in ("recipe", "minutes", "seed")] == ["x", "5", "6"]


@pytest.mark.parametrize("text", ["", "soon", "1.5", "1e3"])
def test_what_is_no_whole_number_is_told_and_changes_nothing(form, text):
    form.controls["minutes"].setText(text)
    QTest.keyClick(form.controls["minutes"], Qt.Key.Key_Return)
    assert form.edits == []
    assert said(form) == [f"Minutes must be a whole number, not “{text}”."]
    assert form.controls["minutes"].wrong


def test_the_mark_goes_when_the_old_number_is_typed_again(form):
    type_text(form.controls["minutes"], "x")
    type_text(form.controls["minutes"], "30")
    assert (form.controls["minutes"].wrong, said(form), form.edits) == (False, [], [])
    assert form.controls["minutes"].toolTip() == "About Minutes"


def test_a_number_out_of_bounds_is_told_in_the_job_s_words_until_it_is_mended(form):
    type_text(form.controls["minutes"], "200")
    assert form.edits == []
    assert said(form) == ["200 minutes burn it. Take 90 or less."]
    assert [name for name in ("recipe", "minutes", "seed") if form.controls[name].wrong] == ["minutes"]
    assert form.controls["minutes"].toolTip() == "200 minutes burn it. Take 90 or less."
    type_text(form.controls["minutes"], "80")
    assert form.edits == [Bake(minutes=80)]
    assert (said(form), form.controls["minutes"].wrong) == ([], False)


def test_more_unfolds_what_is_minor_and_less_folds_it(form):
    more = button(form, "Show the job's other settings")
    assert (form.controls["seed"].isVisible(), more.text()) == (False, "More")
    QTest.mouseClick(more, Qt.MouseButton.LeftButton)
    assert (form.controls["seed"].isVisible(), more.text()) == (True, "Less")
    QTest.mouseClick(more, Qt.MouseButton.LeftButton)
    assert (form.controls["seed"].isVisible(), more.text()) == (False, "More")


def test_a_path_can_be_chosen_in_a_dialog(form, qtbot, tmp_path, monkeypatch):
    opened = []

    def pretend(dialog: QFileDialog) -> None:
        opened.append(dialog)

    monkeypatch.setattr(QFileDialog, "open", pretend)
    QTest.mouseClick(button(form, "Choose Recipe"), Qt.MouseButton.LeftButton)
    (dialog,) = opened
    assert dialog.fileMode() == QFileDialog.FileMode.ExistingFile
    dialog.fileSelected.emit(str(tmp_path / "rye.txt"))
    assert form.edits == [Bake(recipe=str(tmp_path / "rye.txt"))]


def test_every_job_of_the_program_has_a_form(shown):
    from qexplorer.engine.jobs import jobs

    for job in jobs:
        form = shown(JobForm(job()))
        for control in form.controls.values():
            assert control.accessibleName()
            assert control.toolTip()


def test_a_fixed_field_cannot_be_changed_and_says_why(form):
    form.show_fixed({"oven", "minutes"}, "As in the book")
    assert {n: c.isEnabled() for n, c in form.controls.items()} == {
        "oven": False, "recipe": True, "minutes": False, "seed": True}  # fmt: skip
    assert form.controls["minutes"].toolTip() == "As in the book"
    form.show_fixed((), "")
    assert all(control.isEnabled() for control in form.controls.values())
    assert form.controls["minutes"].toolTip() == "About Minutes"


@dataclass(frozen=True)
class Serve(Plugin):
    guests: int = setting(2, "Guests")
    at: str = setting("noon", "At")
    drink: str = setting("tea", "Drink")
    table: str = setting("12", "Table", offers=("12",), wide=True, empty="any")

    name: ClassVar[str] = "serve"
    title: ClassVar[str] = "Serve"


def test_a_wide_field_has_the_room_of_two_in_a_row_with_room_for_it(shown):
    form = shown(JobForm(Serve()), 640, 140)
    own, other = place(form, "table"), place(form, "guests")
    assert own.left() == other.left()
    assert own.top() > other.top()
    assert own.width() > 1.8 * form.controls["drink"].width()


def test_offers_are_asked_for_when_they_are_opened_and_say_more_than_they_write(shown):
    form = shown(JobForm(Serve()), 640, 140)
    opened, edits = [], []
    form.offers_opening.connect(opened.append)
    form.offers_opening.connect(lambda name: form.show_offers(name, ("12", "7"), {"7": "7 · by the window"}))
    form.edited.connect(edits.append)
    menu = form.controls["table"].open_offers()
    assert (opened, form.controls["table"].placeholderText()) == (["table"], "any")
    assert [action.text() for action in menu.actions()] == ["12", "7 · by the window"]
    menu.actions()[1].trigger()
    menu.close()
    assert edits == [Serve(table="7")]


def test_escape_takes_back_what_was_typed_and_else_goes_on_to_who_is_around(form):
    form.show_job(Bake(minutes=45))
    minutes = form.controls["minutes"]
    minutes.setFocus()
    for typed, text in (("7", "457"), ("x", "45x")):
        QTest.keyClicks(minutes, typed)
        assert minutes.text() == text
        event = escape(minutes)
        assert (event.isAccepted(), minutes.text(), form.edits) == (True, "45", [])
    type_text(minutes, "200")
    escape(minutes)
    assert (minutes.text(), minutes.wrong, said(form)) == ("45", False, [])
    assert not escape(minutes).isAccepted()


def escape(field) -> QKeyEvent:
    """Press Escape in a field; whether the event was accepted tells if anyone took it."""
    event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Escape, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(field, event)
    return event


def test_more_is_marked_while_something_behind_it_is_not_as_it_is_by_itself(form):
    more = button(form, "Show the job's other settings")
    form.show_job(Bake(minutes=45))
    assert (more.text(), more.toolTip()) == ("More", "Show the job's other settings")
    form.show_job(Bake(seed=3))
    assert (more.text(), more.toolTip()) == ("More •", "Show the job's other settings; changed: Seed")
    width = more.width()
    QTest.mouseClick(more, Qt.MouseButton.LeftButton)
    assert (more.text(), more.width()) == ("Less", width)


def test_a_fault_behind_more_is_unfolded(form):
    form.show_refusal(UserError("No such seed.", field="seed"))
    assert form.controls["seed"].isVisible()
    assert form.controls["seed"].wrong


@dataclass(frozen=True)
class Sow(Plugin):
    field_: str = setting("", "Field")
    grain: str = setting("rye", "Grain")
    rows: int = setting(9, "Rows")
    furrows_of_every_row: int = setting(0, "Furrows", empty="all")
    weeds: str = setting("a long list of weeds", "Weeds", choices=("a long list of weeds", "none"), minor=True)
    rain: int = setting(3, "Rain", minor=True)
    wind: int = setting(3, "Wind", minor=True)
    crows: int = setting(0, "Crows", minor=True, empty="few")
    worms: int = setting(0, "Worms", minor=True)

    name: ClassVar[str] = "sow"
    title: ClassVar[str] = "Sow"


def test_the_fields_behind_more_stand_in_line_with_the_others(shown):
    form = shown(JobForm(Sow()), 640, 300)
    QTest.mouseClick(button(form, "Show the job's other settings"), Qt.MouseButton.LeftButton)
    for above, below in zip(("field_", "grain", "rows"), ("weeds", "rain", "wind"), strict=True):
        assert place(form, above).left() == place(form, below).left()
        assert place(form, above).width() == place(form, below).width()


def test_where_there_is_no_room_the_fields_scroll_and_stay_whole(shown):
    form = shown(JobForm(Sow()), 640, 60)
    height = form.controls["grain"].height()
    QTest.mouseClick(button(form, "Show the job's other settings"), Qt.MouseButton.LeftButton)
    QTest.qWait(20)
    assert form.sizeHint().height() > form.minimumSizeHint().height() + height
    form.resize(640, form.minimumSizeHint().height())
    QTest.qWait(20)
    assert {form.controls[name].height() for name in ("grain", "worms")} == {height}
    assert not place(form, "worms").intersects(form.rect())
    form.mark(UserError("Too many.", field="worms"))
    assert form.rect().contains(place(form, "worms"))


def test_a_word_stands_for_zero_where_the_field_has_one(shown):
    form = shown(JobForm(Sow(furrows_of_every_row=4)), 640, 200)
    edits, furrows = [], form.controls["furrows_of_every_row"]
    form.edited.connect(edits.append)
    for text in ("0", "all"):
        form.show_job(Sow(furrows_of_every_row=4))
        type_text(furrows, text)
        assert edits.pop() == Sow()
        form.show_job(Sow())
        assert (furrows.text(), furrows.placeholderText()) == ("", "all")
