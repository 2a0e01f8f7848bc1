"""The moment in which a widget has been painted."""

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt, Signal


class Painted(QObject):
    """Tells when a widget has been painted while `wanted` was so: after that, and before all else that waits."""

    happened = Signal()

    def __init__(self, widget: QObject, wanted: Callable[[], bool]) -> None:
        super().__init__(widget)
        self._wanted = wanted
        self._posted = False
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint and not self._posted and self._wanted():
            self._posted = True
            QCoreApplication.postEvent(self, QEvent(QEvent.Type.User), Qt.EventPriority.HighEventPriority.value)
        return False

    def event(self, event: QEvent) -> bool:
        if event.type() != QEvent.Type.User:
            return super().event(event)
        self._posted = False
        self.happened.emit()
        return True
