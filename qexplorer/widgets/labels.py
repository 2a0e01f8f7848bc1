"""Where the labels of points go, so that none lies on another."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QLineF, QPointF, QRectF, QSizeF

GAP = 5.0
"""Pixels between a point and its label."""


@dataclass(frozen=True)
class Label:
    """A text for a point, in pixels. One that `must` be seen takes a place even where it lies on others."""

    text: str
    at: QPointF
    size: QSizeF
    must: bool = False


def place_labels(labels: Sequence[Label], taken: Sequence[QRectF], dots: Sequence[QRectF], room: QRectF,
                 ) -> list[tuple[Label, QRectF]]:  # fmt: skip
    """A place inside `room` for each label, the first ones first; those that find none are left out.

    No label lies on what is `taken` or on another; on `dots` only where there is nothing better.
    """
    placed: list[tuple[Label, QRectF]] = []
    used = list(taken)
    for label in labels:
        places = [place for place in _places(label) if room.contains(place)]
        free = [place for place in places if not _meets(place, used)]
        best = next((place for place in free if not _meets(place, dots)), None) or next(iter(free), None)
        if best is None and label.must and places:
            best = places[0]
        if best is not None:
            placed.append((label, best))
            used.append(best)
    return placed


def leader(label: Label, place: QRectF) -> QLineF | None:
    """A line from the point to its label, where it stands so far off that one might take it for another's."""
    end = QPointF(
        min(max(label.at.x(), place.left()), place.right()), min(max(label.at.y(), place.top()), place.bottom())
    )
    line = QLineF(label.at, end)
    return line if line.length() > 2.5 * GAP else None


def _meets(place: QRectF, others: Sequence[QRectF]) -> bool:
    return any(place.intersects(other) for other in others)


def _places(label: Label) -> list[QRectF]:
    """Around the point, the best first: above left, where a rising front leaves room; then farther."""
    w, h = label.size.width(), label.size.height()
    x, y = label.at.x(), label.at.y()
    return [
        QRectF(QPointF(x + dx, y + dy), label.size)
        for gap in ((GAP, 2 * GAP, 4 * GAP) if label.must else (GAP, 2 * GAP))
        for dx, dy in (
            (-w - gap, -h - gap / 2), (-w / 2, -h - 2 * gap), (gap, -h - gap / 2), (-w - 1.6 * gap, -h / 2),
            (1.6 * gap, -h / 2), (gap, gap / 2), (-w / 2, 2 * gap), (-w - gap, gap / 2),
        )
    ]  # fmt: skip
