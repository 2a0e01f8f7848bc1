"""Starting the window: what happens between the command line and the first picture."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from PySide6.QtCore import (
    QEvent,
    QMessageLogContext,
    QObject,
    Qt,
    QTimer,
    QtMsgType,
    qInstallMessageHandler,
)
from PySide6.QtGui import QFileOpenEvent, QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication, QWidget

from qexplorer import __version__
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError
from qexplorer.folders import set_aside, state_folder
from qexplorer.log import Crash, Prints, actions, log, logged, stack_of_crash, take_crash
from qexplorer.main_window import SAMPLE, MainWindow
from qexplorer.quant import QuantSpec
from qexplorer.quant.recipe import Recipe
from qexplorer.resources import resource
from qexplorer.state.app_state import AppState, Theme, Workspace
from qexplorer.state.failures import NO_SCREEN, Failures
from qexplorer.state.layout import FILE as LAYOUT
from qexplorer.state.layout import LayoutFile
from qexplorer.state.runner import given_up
from qexplorer.state.session import load_session
from qexplorer.weights import is_synthetic
from qexplorer.widgets.theme import Themes

DESKTOP_NAME = "org.qexplorer.QExplorer"
PICTURE_TIMEOUT = 120.0
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
OTHER = ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2")
CRASHED = "qexplorer crashed last time. Your saved work is intact; a report of the crash can be copied."
SWITCH_S = 0.001
"""So soon a thread that computes in Python gives the window its turn; Python's own 5 ms are a third of a frame."""


def first_state() -> AppState:
    """What a newcomer sees: the sample model at four bits, where quantization can be seen with the eye."""
    spec = QuantSpec.from_json({"format": "int4", "observer": "mse"})
    return AppState(path=str(resource(SAMPLE)), tensor="features.12.conv.0.0.weight", recipe=Recipe.of_weights(spec))


class Opener(QObject):
    """Opens the files that the system hands to a running program (macOS)."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QFileOpenEvent) and event.file():
            window = next((w for w in QApplication.topLevelWidgets() if isinstance(w, MainWindow)), None)
            if window is not None:
                window.open_path(event.file())
                return True
        return super().eventFilter(watched, event)


def _say_qt(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    """Qt's messages on stderr, but for what the platform without a screen says of every window."""
    del context
    if kind != QtMsgType.QtDebugMsg and sys.stderr and not message.startswith(NO_SCREEN):
        sys.stderr.write(f"Qt: {message}\n")


def make_application() -> QApplication:
    """The application object with its name and icon."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        app = QApplication(sys.argv[:1])
    app.setApplicationName("qexplorer")
    app.setApplicationDisplayName("qexplorer")
    app.setApplicationVersion(__version__)
    QGuiApplication.setDesktopFileName(DESKTOP_NAME)
    app.setWindowIcon(QIcon(str(resource("qexplorer.svg"))))
    sys.setswitchinterval(SWITCH_S)
    return app


@dataclass(frozen=True)
class UserStorage:
    """Where the person's session, layout and history lie: in a temporary folder where their own cannot be used."""

    session: Path | None
    layout: LayoutFile
    history: History
    logs: Path
    complaint: str = ""


def _storage(spare: Path) -> UserStorage:
    complaint = ""
    try:
        state = state_folder()
    except UserError as error:
        state, complaint = spare, str(error)
    try:
        history = History()
    except UserError as error:
        history, complaint = History(spare / "history.sqlite3"), complaint or str(error)
    layout = LayoutFile(state / LAYOUT)
    session = None if state is spare else state / "session.json"
    return UserStorage(session, layout, history, state / "logs", complaint or layout.damage)


def run_window(paths: list[str], theme: str | None = None, workspace: str | None = None) -> int:
    """Open the window, one for each path, and run until the last is closed."""
    app = make_application()
    themes = Themes(app)
    failures = Failures(app)
    with tempfile.TemporaryDirectory() as spare:
        storage = _storage(Path(spare))
        crash = take_crash(storage.logs)
        with logged(storage.logs) as base, stack_of_crash(base), redirect_stdout(Prints(sys.stdout)):
            failures.install()
            actions.info("started, with %d paths", len(paths))
            wishes = {"theme": theme, "workspace": workspace}
            states = _states(storage, paths, {name: wish for name, wish in wishes.items() if wish})
            status = _run(app, themes, failures, storage, states, crash)
    if any(thread.is_alive() for thread in given_up):
        os._exit(status)  # Python's own end would wait for it, or pull the libraries out from under it
    return status


def _states(storage: UserStorage, paths: list[str], wishes: Mapping[str, str]) -> tuple[list[AppState], str]:
    """What each window starts with, and what there is to complain of."""
    complaint = storage.complaint
    state = None
    try:
        state = load_session(storage.session) if storage.session else None
    except UserError as error:
        complaint = complaint or str(error)
        if storage.session:
            set_aside(storage.session)
    state = state or first_state()
    if not state.path:
        state = replace(state, path=str(resource(SAMPLE)))
    state = AppState.from_json({**state.to_json(), **wishes})
    opened = [p if is_synthetic(p) else str(Path(p).expanduser().absolute()) for p in paths]
    return [replace(state, path=p, tensor="") for p in opened] or [state], complaint


def _run(app: QApplication, themes: Themes, failures: Failures, storage: UserStorage, start: tuple[list[AppState], str],
         crash: Crash | None) -> int:  # fmt: skip
    states, complaint = start
    if crash is not None:
        complaint = f"{complaint} {CRASHED}".lstrip()
    with suppress(UserError):  # the Runs panel says it
        storage.history.mark_interrupted()
    windows: list[MainWindow] = []  # held until each is closed: Python would collect what nobody holds
    for i, state in enumerate(states):
        window = MainWindow(state, themes, storage.history, session=storage.session, layout=storage.layout)
        windows.append(window)
        window.closed.connect(windows.remove)
        failures.happened.connect(window.show_failure)
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)  # Qt takes it apart in its own order
        window.show()
        QTimer.singleShot(0, window, window.start)
        if complaint and i == 0:
            window.show_failure(complaint, crash.text if crash is not None else "")
    app.installEventFilter(Opener(app))
    _heed_signals(app, windows)
    return app.exec()


def _heed_signals(app: QApplication, windows: list[MainWindow]) -> None:
    """Let Ctrl+C in the terminal close the window, a second one without asking, as the end of the login does.

    What a model's code sets going, such as an alarm, does not end the window. Python sees signals only while it runs
    some code now and then.
    """
    asked: list[int] = []

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        if asked or number != signal.SIGINT:
            for window in list(windows):
                window.quit_after_jobs()
        else:
            app.closeAllWindows()
        asked.append(number)

    def on_other(number: int, frame: FrameType | None) -> None:
        del frame
        log.warning("the signal %d was ignored", number)

    for names, handler in ((ENDING, on_interrupt), (OTHER, on_other)):
        for name in names:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), handler)
    beat = QTimer(app, interval=200)
    beat.timeout.connect(int)
    beat.start()


def save_picture(target: Path, size: tuple[int, int], theme: Theme, panel: str, path: str,
                 history: Path | None = None, workspace: Workspace = "explore") -> None:  # fmt: skip
    """Draw the window on the sample model or `path`, save the picture when its plots are complete, and end.

    Nothing of the person's own is read or written; `history` is a run history to show.
    """
    qInstallMessageHandler(_say_qt)
    app = make_application()
    themes = Themes(app)
    state = replace(first_state(), theme=theme, workspace=workspace)
    if path:
        state = replace(state, path=path if is_synthetic(path) else str(Path(path).absolute()), tensor="")
    with tempfile.TemporaryDirectory() as folder:
        layout = LayoutFile(Path(folder) / LAYOUT)
        window = MainWindow(state, themes, History(history or Path(folder) / "history.sqlite3"), layout=layout)
        try:
            if panel and panel not in window.panels:
                raise UserError(f"There is no panel “{panel}”.", f"Known: {', '.join(window.panels)}.", field="panel")
            ratio = window.devicePixelRatio()
            window.resize(round(size[0] / ratio), round(size[1] / ratio))
            window.show()
            window.start()
            if panel:
                window.show_panel(panel)
            _settle(app, window)
            shown: QWidget = window.docks[panel] if panel else window
            if not shown.grab().save(str(target)):
                raise UserError(f"The picture {target} could not be written.", "Check the folder and its ending.")
        finally:
            window.close()


def _settle(app: QApplication, window: MainWindow) -> None:
    """Let events run until everything that is being computed is on screen."""
    deadline = time.monotonic() + PICTURE_TIMEOUT
    while time.monotonic() < deadline and not window.settled:
        app.processEvents()
        time.sleep(0.005)
    failure = window.failure
    if failure:
        raise UserError(failure)
    if not window.settled:
        raise UserError("The window did not finish drawing in time.", "Try a smaller file.")
    for _ in range(3):
        app.processEvents()
