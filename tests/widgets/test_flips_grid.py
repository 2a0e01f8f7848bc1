"""Thumbnails of images whose prediction changed."""

import numpy as np
import pytest
from hands import accessible_name, focusable, tooltip_at
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from qexplorer.widgets.flips_grid import TILE, Flip, FlipsGrid, picture_of
from qexplorer.widgets.theme import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton


def image(seed=0, channels=1, side=8):
    return np.random.default_rng(seed).random((channels, side, side)).astype(np.float32)


WRONG, RIGHT, OTHER = ((7, 7, 1), (3, 5, 3), (2, 4, 9))


def flips(*kinds):
    return [Flip(image(i), *kind, i * 11) for i, kind in enumerate(kinds)]


@pytest.fixture
def grid(shown):
    grid = shown(FlipsGrid(), 520, 320)
    grid.show_flips(flips(*[WRONG] * 8, *[RIGHT] * 3, OTHER))
    return grid


def texts(grid):
    return [grid.lines.index(row, 0).data() for row in range(grid.lines.rowCount())]


def press(grid, value, qtbot):
    qtbot.mouseClick(grid.filter, LEFT, pos=grid.filter.rect_of(value).center().toPoint())


def center(grid, row):
    return grid.view.visualRect(grid.lines.index(row, 0)).center()


@pytest.mark.parametrize(
    ("kinds", "heading"),
    [
        ([WRONG] * 8 + [RIGHT] * 3 + [OTHER], "12 images changed: 3 put right, 8 made wrong, 1 other"),
        ([RIGHT], "1 image changed: 1 put right, 0 made wrong"),
        ([], "No image changed"),
    ],
)
def test_the_heading_counts_what_changed(grid, kinds, heading):
    grid.show_flips(flips(*kinds))
    assert grid.text == heading == grid.accessibleDescription()


def test_right_and_wrong_are_told_apart_by_marks(grid):
    assert texts(grid)[0] == "7 → 1 ✗"
    assert texts(grid)[8] == "5 → 3 ✓"
    assert texts(grid)[11] == "4 → 9 ≠"


def test_the_filter_shows_those_that_went_one_way_by_mouse_and_keyboard(grid, qtbot):
    press(grid, "wrong", qtbot)
    assert texts(grid) == ["7 → 1 ✗"] * 8
    qtbot.keyClick(grid.filter, Qt.Key.Key_Right)
    assert texts(grid) == ["5 → 3 ✓"] * 3
    assert grid.text.startswith("12 images")
    press(grid, "all", qtbot)
    assert len(texts(grid)) == 12


def test_a_filter_that_would_show_nothing_is_greyed_out_and_says_why(grid, qtbot):
    press(grid, "right", qtbot)
    grid.show_flips(flips(WRONG, WRONG))
    assert grid.filter.value == "all"
    assert len(texts(grid)) == 2
    press(grid, "right", qtbot)
    assert grid.filter.value == "all"
    assert tooltip_at(grid.filter, grid.filter.rect_of("right").center().toPoint()) == "No image was put right"


def test_the_filter_stays_for_other_flips(grid, qtbot):
    press(grid, "right", qtbot)
    grid.show_flips(flips(RIGHT, WRONG, RIGHT))
    assert texts(grid) == ["5 → 3 ✓"] * 2


def test_an_image_tells_where_it_stands_in_the_data(grid):
    tip = tooltip_at(grid.view.viewport(), center(grid, 2))
    assert tip == "Image 22, labelled 7: 7 before, 1 after, made wrong"
    role = Qt.ItemDataRole.AccessibleTextRole
    assert "put right" in grid.lines.index(8, 0).data(role)
    assert "wrong before and after" in grid.lines.index(11, 0).data(role)


def test_the_arrow_keys_go_from_image_to_image(grid, qtbot):
    qtbot.mouseClick(grid.view.viewport(), LEFT, pos=center(grid, 0))
    qtbot.keyClick(grid.view, Qt.Key.Key_Right)
    assert grid.view.currentIndex().row() == 1
    qtbot.keyClick(grid.view, Qt.Key.Key_Down)
    assert grid.view.currentIndex().row() > 4
    qtbot.keyClick(grid.view, Qt.Key.Key_End)
    assert grid.view.currentIndex().row() == 11


def test_pixels_are_drawn_hard(grid):
    black_white = np.zeros((1, 2, 2), np.float32)
    black_white[0, 0, 0] = black_white[0, 1, 1] = 1.0
    grid.show_flips([Flip(black_white, *WRONG, 0)])
    rect = grid.view.visualRect(grid.lines.index(0, 0))
    drawn = grid.view.viewport().grab().toImage()
    top, left = rect.top() + 8, rect.center().x() - TILE // 2 + 2
    row = [drawn.pixelColor(left + x, top).value() for x in range(TILE - 4)]
    assert set(row) == {0, 255}
    assert np.count_nonzero(np.diff(row)) == 1


def test_every_kind_of_image_becomes_a_picture():
    assert picture_of(np.full((1, 4, 6), 0.5, np.float32)).size().toTuple() == (6, 4)
    colour = np.zeros((3, 5, 5), np.float32)
    colour[0] = 1.0
    assert picture_of(colour).pixelColor(2, 2) == QColor(255, 0, 0)
    assert picture_of(np.full((7, 5, 5), np.nan, np.float32)).pixelColor(0, 0) == QColor(0, 0, 0)
    assert picture_of(np.full((1, 5, 5), 9.0, np.float32)).pixelColor(0, 0) == QColor(255, 255, 255)
    assert picture_of(image(0, 3, 500)).width() <= 2 * TILE
    assert picture_of(np.zeros((0, 5, 5), np.float32)).isNull()
    assert picture_of(np.zeros((1, 0, 5), np.float32)).isNull()


def test_it_is_drawn_in_both_themes_and_when_there_is_nothing(grid):
    pictures = []
    for theme in (LIGHT, DARK):
        grid.show_theme(theme)
        pictures.append(grid.view.grab().toImage())
    grid.show_flips(())
    pictures.append(grid.view.grab().toImage())
    assert pictures[0] != pictures[1] != pictures[2]
    grid.show_flips([Flip(np.zeros((0, 0, 0), np.float32), 1000, 1000, 12, 5), *flips(OTHER)])
    grid.grab()


def test_the_heading_stands_above_the_filter_where_it_is_narrow(grid, qtbot):
    heading, choices = grid.heading.geometry, grid.filter.geometry
    for width, beside in ((320, False), (760, True)):
        grid.resize(width, 320)
        qtbot.waitUntil(lambda beside=beside: (choices().top() < heading().bottom()) == beside)
        assert not choices().intersects(heading())
        assert grid.rect().contains(choices())


def test_the_model_keeps_qt_s_rules_and_everything_has_a_name(grid, qtmodeltester):
    qtmodeltester.check(grid.lines)
    assert all(accessible_name(w) for w in (grid, *focusable(grid), grid.view))
    assert all(control.toolTip() for control in focusable(grid) if control is not grid.view)
    assert "12 shown" in grid.view.accessibleDescription()
    assert not grid.view.tabKeyNavigation()
