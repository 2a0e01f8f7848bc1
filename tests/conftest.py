"""What all tests share: folders that are not the person's own, and a look behind each test for what it left running.

Qt is imported only by fixtures that need it, so that tests of numbers and files stay free of it.
"""

import os
import shutil
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDERS = Path(tempfile.mkdtemp(prefix="qexplorer-tests-"))
for kind in ("CONFIG", "DATA", "STATE", "CACHE"):
    os.environ[f"XDG_{kind}_HOME"] = str(FOLDERS / kind.lower())
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

RUNNERS = ("preview", "jobs")
"""Threads of these names are daemons, and yet nobody's but the test's that started them."""
PATIENCE_S = 2.0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side, those of a file stay together, and so do all judges: the last counts them."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "judges" if nodeid.startswith("tests/judges/") else super()._split_scope(nodeid)

    return Together(config, log)


def pytest_unconfigure() -> None:
    shutil.rmtree(FOLDERS, ignore_errors=True)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250101)


@pytest.fixture
def quiet_torch_ao() -> Iterator[None]:
    """torch.ao announces its own deprecation, and tells where it leaves out infinite values."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"torch\.ao\.quantization is deprecated")
        warnings.filterwarnings("ignore", message=r"torch\.inf detected in input tensor")
        yield


@pytest.fixture(scope="session")
def own_folders() -> Path:
    """The folder under which everything lies that the program takes for the person's own."""
    return FOLDERS


@pytest.fixture(scope="session")
def isolated_qt() -> None:
    """Qt's own answers to where settings lie, on every platform."""
    from PySide6.QtCore import QSettings, QStandardPaths

    QStandardPaths.setTestModeEnabled(True)
    for form in (QSettings.Format.IniFormat, QSettings.Format.NativeFormat):
        for scope in (QSettings.Scope.UserScope, QSettings.Scope.SystemScope):
            QSettings.setPath(form, scope, str(FOLDERS / "settings"))


@pytest.fixture(scope="session")
def qapp(isolated_qt: None, qapp: Any) -> Any:
    """pytest-qt's application, which never sees the person's settings."""
    return qapp


@pytest.fixture(scope="session")
def all_themes(qapp: Any) -> Any:
    from qexplorer.widgets.theme import Themes

    return Themes(qapp)


@pytest.fixture
def themes(all_themes: Any) -> Iterator[Any]:
    """The application's `Themes`, light at the start of every test, with the program's style and type."""
    all_themes.choose("light")
    yield all_themes
    all_themes.choose("light")


@pytest.fixture
def first() -> Any:
    """What windows show where nothing else is asked for: the sample."""
    from qexplorer.app import first_state

    return first_state()


@pytest.fixture
def made_up() -> Any:
    """Values that are shown at once, for tests to which it does not matter what is open: they put it in `first`."""
    from qexplorer.app import first_state
    from qexplorer.engine.jobs.ptq_static import PtqStatic

    return replace(first_state(), path="synthetic:laplace", tensor="", job=PtqStatic())


@pytest.fixture
def quantizing(made_up: Any) -> Any:
    """The workspace of jobs and runs, on made-up values."""
    return replace(made_up, workspace="quantize", job=replace(made_up.job, model="mobilenet_v2_digits"))


@pytest.fixture
def open_window(qtbot: Any, themes: Any, tmp_path: Path, first: Any) -> Iterator[Callable[..., Any]]:
    """Opens windows, on the sample where nothing else is asked for; session, layout and history lie in `tmp_path`.

    One that has something to show is handed out when it shows it, unless it is not to `settle`.
    """
    from PySide6.QtCore import QCoreApplication, QEvent

    from qexplorer.engine.runs.history import History
    from qexplorer.main_window import MainWindow
    from qexplorer.state.layout import LayoutFile

    windows: list[MainWindow] = []

    def opened(state: Any = None, *, settle: bool = True) -> MainWindow:
        layout = LayoutFile(tmp_path / "layout.json")
        history = History(tmp_path / "history.sqlite3")
        window = MainWindow(state or first, themes, history, session=tmp_path / "session.json", layout=layout)
        windows.append(window)
        window.resize(1280, 800)
        window.show()
        window.start()
        if settle and window.store.state.path:
            qtbot.waitUntil(lambda: window.settled, timeout=60_000)
        return window

    yield opened
    for window in windows:
        for task in window.jobs.tasks:
            window.jobs.cancel(task)
        qtbot.waitUntil(lambda w=window: not w.jobs.tasks, timeout=60_000)
        window.close()
        window.deleteLater()  # by Qt, in its order: not whenever Python collects it, from whatever thread
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


class Started:
    """Remembers where threads were started, and widgets shown."""

    def __init__(self) -> None:
        self.threads: dict[threading.Thread, str] = {}
        self.runners: list[tuple[Any, str]] = []
        self.shown: dict[int, str] = {}

    def watch_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = threading.Thread.start

        def watched(thread: threading.Thread) -> None:
            self.threads[thread] = _where()
            owner = getattr(getattr(thread, "_target", None), "__self__", None)
            if type(owner).__name__ == "Runner":
                self.runners.append((owner, self.threads[thread]))
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", watched)

    def watch_widgets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from PySide6.QtWidgets import QWidget

        show: Callable[[QWidget], None] = QWidget.show

        def watched(widget: QWidget) -> None:
            self.shown[id(widget)] = _where()
            show(widget)

        monkeypatch.setattr(QWidget, "show", watched)

    def left_threads(self) -> list[str]:
        """A line for each thread that still runs and should not."""
        owned = {runner._thread for runner, _ in self.runners}
        left: list[str] = []
        for thread, where in self.threads.items():
            if thread.daemon and thread.name not in RUNNERS and thread not in owned:
                continue
            if thread.name.startswith("quant_"):  # of the pool that lives as long as the program
                continue
            thread.join(PATIENCE_S)
            if thread.is_alive():
                left.append(f"the thread “{thread.name}” still runs, started at\n{where}")
        return left

    def left_timers(self) -> list[str]:
        """A line for each `Runner` that still asks for progress."""
        if not self.runners:
            return []
        from shiboken6 import isValid

        return [
            f"the timer of a Runner still runs, made at\n{where}"
            for runner, where in self.runners
            if isValid(runner) and isValid(runner._timer) and runner._timer.isActive()
        ]

    def left_widgets(self, before: set[int]) -> list[str]:
        """A line for each window that is still on screen; they are closed, so that only one test fails for it."""
        from PySide6.QtCore import QCoreApplication, QEvent, Qt
        from PySide6.QtWidgets import QApplication

        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        left: list[str] = []
        for widget in QApplication.topLevelWidgets():
            tip = widget.windowType() == Qt.WindowType.ToolTip
            if widget.isVisible() and not tip and id(widget) not in before:
                where = self.shown.get(id(widget), f"  (not shown by Python; {type(widget).__module__})")
                left.append(f"{type(widget).__name__} “{widget.windowTitle()}” is still visible, shown at\n{where}")
                widget.hide()
        return left


def _where() -> str:
    """The lines of the program and its tests that lead here, innermost last."""
    here = Path(__file__)
    frames = [f for f in traceback.extract_stack() if Path(f.filename) != here and "site-packages" not in f.filename]
    own = [f for f in frames if f"{os.sep}tests{os.sep}" in f.filename or f"{os.sep}qexplorer{os.sep}" in f.filename]
    return "".join(traceback.format_list((own or frames)[-4:]))


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a thread, a runner's timer or a visible window behind, and say where it came from.

    It has a patch of its own: one shared with the test would be undone by the test's `monkeypatch.undo()`.
    """
    patch, started = pytest.MonkeyPatch(), Started()
    started.watch_threads(patch)
    with_qt = "qapp" in request.fixturenames
    before: set[int] = set()
    if with_qt:
        from PySide6.QtWidgets import QApplication

        started.watch_widgets(patch)
        if QApplication.instance() is not None:
            before = {id(w) for w in QApplication.topLevelWidgets() if w.isVisible()}
    try:
        yield
    finally:
        patch.undo()
    left = started.left_threads() + started.left_timers()
    if "PySide6.QtWidgets" in sys.modules and with_qt:
        left += started.left_widgets(before)
    if left:
        pytest.fail("Left behind: " + "\n".join(left), pytrace=False)
