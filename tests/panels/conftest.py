"""A whole window whose session, layout and history lie in a folder of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QSettings
from pytestqt.qtbot import QtBot

from qexplorer.app import first_state
from qexplorer.engine.history import History
from qexplorer.main_window import MainWindow
from qexplorer.state.app_state import AppState
from qexplorer.widgets.theme import Themes

Open = Callable[..., MainWindow]


@pytest.fixture
def run_window(qtbot: QtBot, themes: Themes, tmp_path: Path) -> Iterator[Open]:
    """Opens windows on the sample, settled."""
    windows: list[MainWindow] = []

    def opened(state: AppState | None = None) -> MainWindow:
        settings = QSettings(str(tmp_path / "layout.ini"), QSettings.Format.IniFormat)
        history = History(tmp_path / "history.sqlite3")
        window = MainWindow(
            state or first_state(), themes, history, session=tmp_path / "session.json", settings=settings
        )
        windows.append(window)
        window.resize(1280, 800)
        window.show()
        window.start()
        qtbot.waitUntil(lambda: window.settled, timeout=60_000)
        return window

    yield opened
    for window in windows:
        for task in window.jobs.tasks:
            window.jobs.cancel(task)
        qtbot.waitUntil(lambda w=window: not w.jobs.tasks, timeout=60_000)
        window.close()
        window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
