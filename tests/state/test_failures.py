import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot, qInstallMessageHandler, qWarning

from qexplorer.log import logged
from qexplorer.state.failures import Failures


class Inbox(QObject):
    def __init__(self, failures: Failures) -> None:
        super().__init__()
        self.reports: list[tuple[str, str]] = []
        self.threads: set[threading.Thread] = set()
        failures.happened.connect(self._on_happened)

    @Slot(str, str)
    def _on_happened(self, line: str, report: str) -> None:
        self.reports.append((line, report))
        self.threads.add(threading.current_thread())


class Button(QObject):
    pressed = Signal()


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    with logged(tmp_path / "logs") as base:
        yield Path(f"{base}.log")


@pytest.fixture
def failures(qapp, log_file: Path) -> Iterator[Failures]:
    del log_file
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    failures = Failures()
    failures.install()
    yield failures
    qInstallMessageHandler(None)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


@pytest.fixture
def inbox(failures: Failures) -> Inbox:
    return Inbox(failures)


def broken() -> None:
    raise LookupError("nothing here")


def expect_one(qtbot, inbox: Inbox, log_file: Path) -> None:
    qtbot.waitUntil(lambda: len(inbox.reports) > 0)
    settled(qtbot)
    ((line, report),) = inbox.reports
    assert line == "Unexpected error: LookupError: nothing here"
    assert "LookupError: nothing here" in report.splitlines()[-1]
    assert "in broken" in report
    assert inbox.threads == {threading.main_thread()}
    assert log_file.read_text(encoding="utf-8").count("LookupError: nothing here") == 1


def test_an_exception_in_a_slot_arrives_once_and_is_logged(qtbot, inbox, log_file, capsys):
    button = Button()
    button.pressed.connect(broken)
    button.pressed.emit()
    assert inbox.reports == []
    expect_one(qtbot, inbox, log_file)
    assert "LookupError: nothing here" in capsys.readouterr().err


def test_an_exception_in_a_timer_arrives_once(qtbot, inbox, log_file):
    QTimer.singleShot(0, broken)
    expect_one(qtbot, inbox, log_file)


def test_an_exception_in_a_thread_arrives_once_in_the_thread_of_the_window(qtbot, inbox, log_file):
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    expect_one(qtbot, inbox, log_file)


def test_an_error_that_was_caught_can_be_reported(qtbot, failures, inbox, log_file):
    try:
        broken()
    except LookupError as error:
        failures.report(error)
    expect_one(qtbot, inbox, log_file)


def settled(qtbot) -> None:
    """Let everything arrive that is on its way to the thread of the window."""
    done = []
    QTimer.singleShot(0, lambda: done.append(True))
    qtbot.waitUntil(lambda: bool(done))


def test_a_thread_that_exits_is_no_failure(qtbot, inbox):
    thread = threading.Thread(target=sys.exit, args=(1,))
    thread.start()
    thread.join()
    settled(qtbot)
    assert inbox.reports == []


def test_an_interrupt_from_the_keyboard_is_no_failure(qtbot, inbox):
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    settled(qtbot)
    assert inbox.reports == []


def test_a_handler_that_fails_itself_does_not_go_round_in_circles(qtbot, failures, inbox):
    def worse(line: str, report: str) -> None:
        failures.report(ValueError("while reporting"))

    failures.happened.connect(worse, Qt.ConnectionType.SingleShotConnection)
    failures.report(LookupError("first"))
    qtbot.waitUntil(lambda: len(inbox.reports) == 2)
    assert [line for line, _ in inbox.reports] == [
        "Unexpected error: LookupError: first",
        "Unexpected error: ValueError: while reporting",
    ]


def test_what_qt_says_goes_to_the_log(failures, log_file):
    qWarning("the moon is too bright")
    assert "WARNING Qt: the moon is too bright" in log_file.read_text(encoding="utf-8")


def test_an_exception_that_nobody_can_raise_goes_to_the_log(failures, log_file):
    class Dying:
        def __del__(self) -> None:
            raise LookupError("on the way out")

    Dying()
    assert "LookupError: on the way out" in log_file.read_text(encoding="utf-8")
