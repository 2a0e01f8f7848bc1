"""A real window to measure, and waiting in its event loop."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication

from qexplorer.app import make_application
from qexplorer.engine.runs.history import History
from qexplorer.main_window import MainWindow
from qexplorer.state.app_state import AppState
from qexplorer.state.layout import LayoutFile
from qexplorer.widgets.theme import Themes

PATIENCE_S = 600.0


@contextmanager
def shown_window(state: AppState) -> Iterator[MainWindow]:
    """The program's window on this state, settled; closed at the end."""
    app = make_application()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        layout = LayoutFile(Path(folder, "layout.json"))
        window = MainWindow(state, Themes(app), History(Path(folder, "history.sqlite3")), layout=layout)
        window.show()
        window.start()
        try:
            wait(lambda: window.settled)
            yield window
        finally:
            for task in window.jobs.tasks:
                window.jobs.cancel(task)
            wait(lambda: not window.jobs.tasks)
            window.close()


def wait(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Let events run until something is so; raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the window took more than {seconds:g} s")
        QApplication.processEvents()
        time.sleep(0.005)


def later(seconds: float, what: Callable[[], object]) -> None:
    """Call something after so many seconds, to the millisecond."""
    timer = QTimer(QApplication.instance(), singleShot=True, timerType=Qt.TimerType.PreciseTimer)
    timer.timeout.connect(what)
    timer.timeout.connect(timer.deleteLater)
    timer.start(max(0, round(seconds * 1000)))
