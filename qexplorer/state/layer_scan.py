"""`LayerScan`: the scan of all tensors of the open file, in the background; it can be stopped and goes on later."""

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from qexplorer.inspection.scan import Scan
from qexplorer.quant import QuantSpec
from qexplorer.state.app_state import AppState
from qexplorer.state.preview import SCAN_LIMIT, Preview
from qexplorer.state.runner import Failed, Runner, Task
from qexplorer.state.store import Store

CALM_MS = 300
"""A choice has to stand so long before a small file is scanned by itself."""
MOST = 4
"""So many specs can be pinned beside the current one."""


class LayerScan(QObject):
    """Holds the scan that is shown: of the spec in use, then of those that are pinned.

    Files of at most `SCAN_LIMIT` values are scanned by themselves while somebody watches; larger ones when `start` is
    called. A choice that changes stops the work and leaves what was found to be seen, as `outdated`.
    """

    restarted = Signal()  # another scan, or none: rows that were taken before are void
    grew = Signal()  # there may be new rows
    changed = Signal()  # it began, stopped, ended, or no longer shows what is chosen
    failed = Signal(object)  # Failed: a bug, for what is wrong with a tensor is said in its row

    def __init__(self, store: Store, preview: Preview, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._preview = store, preview
        self._runner = Runner("layers", newest_wins=True, parent=self)
        self._runner.ended.connect(self._on_ended)
        self._runner.progressed.connect(self._on_progressed)
        self.scan: Scan | None = None
        self._task: Task | None = None
        self._first: tuple[float, float] | None = None  # the share that was done, and when, in the task's seconds
        self._watched = self._stopped = False
        self._calm = QTimer(self, singleShot=True, interval=CALM_MS)
        self._calm.timeout.connect(self._on_calm)
        store.changed.connect(self._on_changed)
        preview.opened.connect(self._on_opened)
        preview.refused.connect(self._on_refused)

    @property
    def specs(self) -> tuple[QuantSpec, ...]:
        """What is to be compared: the spec in use, then the pinned ones."""
        return (self._store.state.spec, *self._store.state.compared)

    @property
    def running(self) -> bool:
        """Whether tensors are being measured."""
        return self._task is not None

    @property
    def outdated(self) -> bool:
        """Whether the rows are of other specs than the chosen ones."""
        return self.scan is not None and self.scan.specs != self.specs

    @property
    def resumable(self) -> bool:
        """Whether the scan of what is chosen was stopped half way."""
        return self.scan is not None and not (self.running or self.outdated or self.scan.complete)

    @property
    def idle(self) -> bool:
        """Whether nothing is being computed or about to be."""
        return not self._runner.unfinished and not self._calm.isActive()

    @property
    def small(self) -> bool:
        """Whether the open file is scanned without being asked to."""
        checkpoint = self._preview.checkpoint
        return checkpoint is not None and checkpoint.n <= SCAN_LIMIT

    @property
    def fraction(self) -> float | None:
        """How much of the bytes was read; `None` where that is not known."""
        return self._task.progress.fraction if self._task is not None and self._task.progress else None

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the bytes that were read since it began or went on; `None` while it would be a guess."""
        done = self.fraction
        if self._task is None or done is None or self._first is None:
            return None
        share, seconds = done - self._first[0], self._task.seconds - self._first[1]
        return seconds * (1 - done) / share if share > 0 and seconds > 1 else None

    def watch(self, watched: bool) -> None:
        """Say whether somebody looks at the rows."""
        self._watched = watched
        if watched:
            self._calm.start(0)
        elif self.small:
            self._halt()

    def start(self) -> None:
        """Scan all tensors, or go on where that was stopped."""
        checkpoint = self._preview.checkpoint
        if checkpoint is None or self.running:
            return
        self._stopped = False
        if self.scan is None or self.outdated or self.scan.complete:
            self.scan = Scan(checkpoint, self.specs, self.scan if self.outdated else None)
            self.restarted.emit()
        self._first = None
        self._task = self._runner.submit(self.scan.steps(), f"Scanning {checkpoint.path.name}", self.scan)
        self.changed.emit()

    def stop(self) -> None:
        """Stop after the step at hand; `start` goes on from there."""
        self._stopped = True
        self._halt()

    def pin(self) -> None:
        """Keep the current spec as one that is compared, if there is room."""
        state = self._store.state
        if len(state.compared) < MOST and state.spec not in state.compared:
            self._store.update(compared=(*state.compared, state.spec))

    def unpin(self, spec: QuantSpec) -> None:
        """Compare that spec no longer."""
        self._store.update(compared=tuple(each for each in self._store.state.compared if each != spec))

    def close(self) -> bool:
        """Stop all work; whether it stopped in time."""
        self._calm.stop()
        self._watched = False
        return self._runner.close()

    def _halt(self) -> None:
        self._calm.stop()
        task, self._task = self._task, None
        if task is not None:
            self._runner.cancel(task)
            self.changed.emit()

    def _clear(self) -> None:
        self._halt()
        self.scan, self._stopped = None, False
        self.restarted.emit()
        self.changed.emit()

    def _begin_soon(self) -> None:
        if self._watched and self.small and not self._stopped:
            self._calm.start(CALM_MS)

    @Slot()
    def _on_calm(self) -> None:
        wanted = self.scan is None or self.outdated or self.resumable
        if self._watched and self.small and wanted and not self._stopped:
            self.start()

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        if (old.spec, old.compared) != (new.spec, new.compared):
            self._halt()
            self._stopped = False
            self.changed.emit()
            self._begin_soon()

    @Slot(object)
    def _on_opened(self, checkpoint: object) -> None:
        del checkpoint
        self._clear()
        self._begin_soon()

    @Slot(object)
    def _on_refused(self, failed: Failed) -> None:
        del failed
        if self._preview.checkpoint is None:
            self._clear()

    @Slot(object)
    def _on_progressed(self, task: Task) -> None:
        if task is self._task:
            done = self.fraction
            if self._first is None and done is not None:
                self._first = (done, task.seconds)
            self.grew.emit()

    @Slot(object)
    def _on_ended(self, task: Task) -> None:
        current = task is self._task
        if current:
            self._task = None
        if task.about is not self.scan:
            return
        self.grew.emit()  # of one that was stopped, too: it ends a step later
        if current and isinstance(task.outcome, Failed):
            self._stopped = True
            self.failed.emit(task.outcome)
        self.changed.emit()
