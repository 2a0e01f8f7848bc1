"""Labels of points: none on another, and a line to those that stand far off."""

import itertools

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSizeF

from qexplorer.widgets.labels import Label, leader, place_labels

ROOM = QRectF(0, 0, 400, 300)
SIZE = QSizeF(60, 14)


def around(point: QPointF) -> QRectF:
    return QRectF(point - QPointF(5, 5), QSizeF(10, 10))


def test_labels_lie_inside_and_meet_neither_each_other_nor_what_is_taken():
    rng = np.random.default_rng(3)
    points = [QPointF(x, y) for x, y in rng.uniform((20, 20), (380, 280), (40, 2))]
    taken = [QRectF(250, 200, 150, 100)]
    placed = place_labels([Label(str(i), p, SIZE) for i, p in enumerate(points)], taken, [], ROOM)
    places = [place for _, place in placed]
    assert 10 < len(places) < 40
    assert all(ROOM.contains(place) for place in places)
    assert not any(a.intersects(b) for a, b in itertools.combinations([*places, *taken], 2))


def test_the_first_label_has_the_first_choice_and_one_that_must_be_seen_is_never_left_out():
    same = [Label(str(i), QPointF(200, 150), SIZE, must=i == 29) for i in range(30)]
    placed = [label.text for label, _ in place_labels(same, [], [], ROOM)]
    assert placed[0] == "0"
    assert "29" in placed
    assert len(placed) < 30


def test_a_label_leaves_dots_free_where_it_can():
    dots = [around(QPointF(200 + dx, 150 + dy)) for dx in (-40, 0) for dy in (-12, 0)]
    ((_, place),) = place_labels([Label("a", QPointF(200, 150), SIZE)], [], dots, ROOM)
    assert not any(place.intersects(dot) for dot in dots)
    everywhere = [QRectF(0, 0, 400, 300)]
    assert len(place_labels([Label("a", QPointF(200, 150), SIZE)], [], everywhere, ROOM)) == 1


def test_only_a_label_far_from_its_point_has_a_line_to_it():
    label = Label("a", QPointF(100, 100), SIZE)
    assert leader(label, QRectF(QPointF(105, 80), SIZE)) is None
    line = leader(label, QRectF(QPointF(120, 60), SIZE))
    assert line is not None
    assert (line.p1(), line.p2()) == (QPointF(100, 100), QPointF(120, 74))
