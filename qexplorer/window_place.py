"""Where the window stands: on a first start within its screen, later where it was left on that screen."""

from dataclasses import replace

from PySide6.QtCore import QMargins, QRect, QSize, Qt
from PySide6.QtGui import QGuiApplication, QScreen
from PySide6.QtWidgets import QMainWindow

from qexplorer.state.layout import Layout, Rect

LEAST = QSize(1000, 640)
"""No window is smaller, but on a screen that is."""
MOST = QSize(1600, 1000)
"""A first start takes no more, however large the screen is."""
FARTHEST = 1 << 20
MARGIN = 32
"""So many pixels of the screen stay free on each side: the system draws the title bar in them."""


def first_place(available: QRect) -> QRect:
    """The middle of what a screen has to offer."""
    place = QRect(available.topLeft(), _room(available).size().boundedTo(MOST))
    place.moveCenter(available.center())
    return place


def within(place: QRect, available: QRect) -> QRect:
    """The nearest place that a screen has room for."""
    room = _room(available)
    fit = QRect(place.topLeft(), place.size().boundedTo(room.size()))
    fit.moveLeft(min(max(fit.left(), room.left()), room.right() - fit.width() + 1))
    fit.moveTop(min(max(fit.top(), room.top()), room.bottom() - fit.height() + 1))
    return fit


def restore_place(window: QMainWindow, layout: Layout) -> None:
    """Go to where the window was left on its last screen, or on the main one where that is gone."""
    screens = {_key(screen): screen for screen in QGuiApplication.screens()}
    screen = screens.get(layout.screen, QGuiApplication.primaryScreen())
    available = screen.availableGeometry()
    left, gone = layout.places.get(_key(screen)), layout.places.get(layout.screen)
    place = first_place(available) if left is None else _rect(left)
    if left is None and gone is not None:  # as large as it was on the screen that is not there
        place.setSize(_rect(gone).size())
    window.setMinimumSize(LEAST.boundedTo(_room(available).size()))
    window.setGeometry(within(place, available))
    if layout.maximized:
        window.setWindowState(Qt.WindowState.WindowMaximized)


def placed(window: QMainWindow, layout: Layout) -> Layout:
    """A layout with where the window stands on its screen."""
    key, place = _key(window.screen()), window.normalGeometry()
    places = {**layout.places, key: (place.left(), place.top(), place.width(), place.height())}
    return replace(layout, places=places, screen=key, maximized=window.isMaximized())


def _rect(place: Rect) -> QRect:
    """Whatever a file said, Qt can work with it."""
    return QRect(*(min(max(part, -FARTHEST), FARTHEST) for part in place))


def _room(available: QRect) -> QRect:
    return available.marginsRemoved(QMargins(MARGIN, MARGIN, MARGIN, MARGIN))


def _key(screen: QScreen) -> str:
    """A screen's name and size."""
    size = screen.geometry().size()
    return f"{screen.name()} {size.width()}x{size.height()}"
