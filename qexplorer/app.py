"""Starting the window: what happens between the command line and the first picture."""

import faulthandler
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import (
    QEvent,
    QMessageLogContext,
    QObject,
    QSettings,
    Qt,
    QTimer,
    QtMsgType,
    qInstallMessageHandler,
)
from PySide6.QtGui import QFileOpenEvent, QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication, QWidget

from qexplorer import __version__
from qexplorer.engine.history import History
from qexplorer.errors import UserError
from qexplorer.folders import state_folder
from qexplorer.main_window import SAMPLE, MainWindow, session_file
from qexplorer.quant import QuantSpec
from qexplorer.resources import resource
from qexplorer.state.app_state import AppState
from qexplorer.state.failures import Failures
from qexplorer.state.session import load_session
from qexplorer.widgets.theme import Themes

DESKTOP_NAME = "org.qexplorer.QExplorer"
PICTURE_TIMEOUT = 120.0


def first_state() -> AppState:
    """What a newcomer sees: the sample model at four bits, where quantization can be seen with the eye."""
    spec = QuantSpec.from_json({"format": "int4", "observer": "mse"})
    return AppState(path=str(resource(SAMPLE)), tensor="features.12.conv.0.0.weight", spec=spec)


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
    if kind != QtMsgType.QtDebugMsg and not message.startswith("This plugin does not support"):
        sys.stderr.write(f"Qt: {message}\n")


def make_application() -> QApplication:
    """The application object with its name and icon."""
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)  # noqa: S101
    app.setApplicationName("qexplorer")
    app.setApplicationDisplayName("qexplorer")
    app.setApplicationVersion(__version__)
    QGuiApplication.setDesktopFileName(DESKTOP_NAME)
    app.setWindowIcon(QIcon(str(resource("qexplorer.svg"))))
    return app


def run_window(paths: list[str], theme: str | None = None) -> int:
    """Open the window, one for each path, and run until the last is closed."""
    app = make_application()
    themes = Themes(app)
    failures = Failures(app)
    folder = state_folder()
    failures.install(folder / "qexplorer.log")
    crash_file = folder / "crash.txt"
    last_words = crash_file.read_text("utf-8", errors="replace") if crash_file.exists() else ""
    with crash_file.open("w", encoding="utf-8") as crash:
        faulthandler.enable(crash)
        status = _run(app, themes, failures, paths, theme, last_words)
        faulthandler.disable()
    return status


def _run(app: QApplication, themes: Themes, failures: Failures, paths: list[str], theme: str | None,
         last_words: str) -> int:  # fmt: skip
    complaint = "qexplorer ended unexpectedly the last time; nothing that was saved is lost." if last_words else ""
    try:
        state = load_session(session_file()) or first_state()
    except UserError as error:
        state, complaint = first_state(), complaint or str(error)
    if not state.path:
        state = replace(state, path=str(resource(SAMPLE)))
    if theme:
        state = replace(state, theme=theme)
    history = History()
    try:
        history.mark_interrupted()
    except UserError as error:
        complaint = complaint or str(error)
    opened = [str(p if p.startswith("synthetic") else Path(p).expanduser().absolute()) for p in paths]
    states = [replace(state, path=p, tensor="") for p in opened] or [state]
    windows = [MainWindow(each, themes, history, session=session_file()) for each in states]
    for window in windows:
        failures.happened.connect(window.show_failure)
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)  # Qt takes it apart in its own order
        window.show()
        QTimer.singleShot(0, window, window.start)
    if complaint:
        windows[0].show_failure(complaint, last_words)
    app.installEventFilter(Opener(app))
    _heed_interrupts(app)
    return app.exec()


def _heed_interrupts(app: QApplication) -> None:
    """Let Ctrl+C in the terminal close the window: Python sees signals only while it runs some code now and then."""
    signal.signal(signal.SIGINT, lambda *_: app.closeAllWindows())
    beat = QTimer(app, interval=200)
    beat.timeout.connect(int)
    beat.start()


def save_picture(target: Path, size: tuple[int, int], theme: str, panel: str, path: str) -> None:
    """Draw the window on the sample model or `path`, save the picture when its plots are complete, and end.

    Nothing of the person's own is read but the run history, and nothing is written but the picture.
    """
    qInstallMessageHandler(_say_qt)
    app = make_application()
    themes = Themes(app)
    state = replace(first_state(), theme=theme)
    if path:
        state = replace(state, path=path if path.startswith("synthetic") else str(Path(path).absolute()), tensor="")
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "layout.ini"), QSettings.Format.IniFormat)
        window = MainWindow(state, themes, settings=settings)
        if panel and panel not in window.docks:
            window.close()
            raise UserError(f"There is no panel “{panel}”.", f"Known: {', '.join(window.docks)}.", field="panel")
        window.resize(*size)
        window.show()
        window.start()
        try:
            _settle(app, window)
            shown: QWidget = window.docks[panel] if panel else window
            if not shown.grab().save(str(target)):
                raise UserError(
                    f"The picture {target} could not be written.", "Check the folder and the file's ending."
                )
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
