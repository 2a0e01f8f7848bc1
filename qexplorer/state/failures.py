"""Where errors go that nobody caught: to the person as one report, and to the log, from whatever thread."""

import logging
import sys
import threading
import traceback
from types import TracebackType

from PySide6.QtCore import QMessageLogContext, QObject, Qt, QtMsgType, Signal, qInstallMessageHandler

from qexplorer.log import log
from qexplorer.platform_check import unexpected

NO_SCREEN = "This plugin does not support"
"""How a message begins that the platform without a screen has for every window."""


class _Reporting(threading.local):
    """Whether this thread is just reporting an error: one that comes of that is not reported."""

    busy = False


class Failures(QObject):
    """Installs the hooks of Python and Qt. `happened` is emitted in the thread that owns this object."""

    happened = Signal(str, str)  # one line, the report
    _crossed = Signal(str, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._crossed.connect(self.happened, Qt.ConnectionType.QueuedConnection)
        self._reporting = _Reporting()

    def install(self) -> None:
        """Take over every hook; what happens from now on also goes to the log."""
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread
        sys.unraisablehook = self._on_unraisable
        qInstallMessageHandler(self._on_qt)

    def report(self, error: BaseException) -> None:
        """Tell of an error that was caught but not expected."""
        if self._reporting.busy:
            return
        self._reporting.busy = True
        try:
            report = "".join(traceback.format_exception(error))
            log.error(report)
            self._crossed.emit(unexpected(error), report)
        finally:
            self._reporting.busy = False

    def _on_exception(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        del where
        if issubclass(kind, KeyboardInterrupt):
            return
        self.report(error)
        if sys.stderr:  # a program started by a click on Windows has none
            sys.stderr.write("".join(traceback.format_exception(error)))

    def _on_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            self.report(args.exc_value)

    def _on_unraisable(self, args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            log.error("".join(traceback.format_exception(args.exc_value)))

    def _on_qt(self, kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        del context
        if message.startswith(NO_SCREEN):
            return
        level = logging.INFO if kind in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg) else logging.WARNING
        log.log(level, "Qt: %s", message)
