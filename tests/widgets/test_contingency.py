"""Two models on the same images, as a table and a sentence."""

import math
from dataclasses import replace

import pytest
from hands import accessible_name

from qexplorer.presentation import Paired
from qexplorer.widgets.contingency import PairedTest
from qexplorer.widgets.theme import DARK, LIGHT

COUNTS = Paired(1948, 20, 12, 20, 0.2153)


@pytest.fixture
def widget(shown):
    widget = shown(PairedTest(), 420, 260)
    widget.show_test("A", "B", COUNTS)
    return widget


def figures(widget):
    return [[cell.text() for cell in row] for row in widget.grid.cells]


def test_the_table_adds_up(widget):
    assert figures(widget) == [["1,948", "20", "1,968"], ["12", "20", "32"], ["1,960", "40", "2,000"]]
    assert (widget.grid.first.text(), widget.grid.second.text()) == ("A", "B")


def test_one_sentence_says_what_follows(widget):
    assert widget.text == (
        "B is right on 12 images on which A is wrong, and wrong on 20: "
        "no evidence of a difference (McNemar, exact, p = 0.22)."
    )
    assert widget.accessibleDescription() == widget.text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"p": 0.003}, "evidence that B is worse (McNemar, exact, p = 0.003)"),
        ({"p": 1e-9}, "p < 0.001"),
        ({"p": 0.04, "only_second": 40}, "evidence that B is better"),
        ({"p": 1.0}, "p = 1)"),
        ({"p": math.nan}, "not tested"),
        ({"only_second": 1}, "right on 1 image on which"),
        ({"only_first": 0, "only_second": 0}, "nothing that tells them apart"),
    ],
)
def test_the_sentence_fits_the_case(widget, changed, words):
    widget.show_test("A", "B", replace(COUNTS, **changed))
    assert words in widget.text


@pytest.mark.parametrize("nothing", [None, Paired(0, 0, 0, 0, 1.0)])
def test_without_counts_it_says_what_it_is_for(widget, nothing):
    widget.show_test("A", "B", nothing)
    assert not widget.grid.isVisible()
    assert "compared here" in widget.text
    widget.show_test("A", "B", COUNTS)
    assert widget.grid.isVisible()


def test_every_figure_says_what_it_counts(widget):
    cell = widget.grid.cells[0][1]
    assert cell.toolTip() == "A right and B wrong: 20 images (1.00 %)"
    assert accessible_name(cell) == cell.toolTip()
    assert widget.grid.cells[2][2].toolTip() == "All images: 2,000 images (100.00 %)"
    assert accessible_name(widget)


def test_long_names_are_cut_off_in_the_table_and_whole_in_its_tooltips(widget, qtbot):
    name = "PTQ static · PyTorch default with a very long name that no table has room for"
    widget.show_test(name, name, COUNTS)
    for width in (300, 420):
        widget.resize(width, 300)
        qtbot.waitUntil(lambda width=width: widget.width() == width)
        for label in (widget.grid.first, widget.grid.second):
            assert "…" in label.text()
            assert label.toolTip() == name
            assert label.fontMetrics().horizontalAdvance(label.text()) <= label.width()
    assert name in widget.text


def test_it_is_drawn_in_both_themes_by_the_same_labels(widget, themes):
    cells, pictures = widget.grid.cells, []
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        themes.choose(name)
        widget.show_theme(theme)
        widget.show_test("A", "B", replace(COUNTS, both=5))
        pictures.append(widget.grab().toImage())
    assert pictures[0] != pictures[1]
    assert widget.grid.cells is cells
    tinted = widget.grid.cells[0][1].geometry().topLeft()
    at = widget.grid.mapTo(widget, tinted)
    assert pictures[1].pixelColor(at.x() + 10, at.y() + 5).name() == DARK.selection
