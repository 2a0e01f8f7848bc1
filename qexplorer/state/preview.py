"""`Preview`: keeps what is shown in step with what was chosen, in the background; the newest choice wins."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from qexplorer.inspection.analyses import Looks
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.progress import Steps
from qexplorer.quant import Analysis
from qexplorer.quant.tensor_source import Values
from qexplorer.quant.warm import KERNELS, load_kernels
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Cancelled, Done, Failed, Runner, Task
from qexplorer.state.store import Store
from qexplorer.weights import Checkpoint, TensorInfo, open_checkpoint

SCAN_LIMIT = 64_000_000
"""Checkpoints up to so many values have every tensor measured while nothing else is to do."""
CALM_MS = 120
"""A choice has to stand so long before a large tensor is measured exactly."""


@dataclass(frozen=True)
class _Look:
    """What a task of the preview is for."""

    kind: str
    state: AppState
    tensor: str = ""
    path: str = ""

    def wants(self, state: AppState) -> bool:
        """Whether its result is the picture of this state."""
        return (self.state.path, self.tensor, self.state.spec) == (state.path, state.tensor, state.spec)


class Preview(QObject):
    """Opens the chosen file, analyzes the chosen tensor under the chosen spec, then looks at the other tensors.

    A large tensor is looked at quickly first; the exact analysis follows when the choice has stood for a moment.
    """

    opened = Signal(object)  # Checkpoint
    refused = Signal(object)  # Failed: the file could not be opened
    analyzed = Signal(object)  # Analysis
    failed = Signal(object)  # Failed: the tensor could not be analyzed
    progressed = Signal(object)  # Task
    scanned = Signal(str, float)  # tensor name, its SQNR in dB
    scan_cleared = Signal()

    def __init__(self, store: Store, parent: QObject | None = None, cache: SketchCache | None = None) -> None:
        super().__init__(parent)
        self._store, self._cache = store, cache or SketchCache(None)
        self._runner = Runner("preview", newest_wins=True, parent=self)
        self._runner.ended.connect(self._on_ended)
        self._runner.progressed.connect(self.progressed)
        self._looks: Looks | None = None
        self.analysis: Analysis | None = None
        self._calm = QTimer(self, singleShot=True, interval=CALM_MS)
        self._calm.timeout.connect(self._on_calm)
        self._to_scan: Iterator[TensorInfo] = iter(())
        self._scanning = False
        self._held = self._roughly = False
        self._opened = self._opening = ""
        store.changed.connect(self._on_changed)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The open file."""
        return self._looks.checkpoint if self._looks is not None else None

    def start(self) -> None:
        """Show what the store holds now."""
        if self._store.state.path:
            self.open(self._store.state.path)

    def open(self, path: str) -> None:
        """Open a file; only when that succeeds does it become the store's, and what was open before is let go."""
        self._opening = path
        self._runner.submit(open_checkpoint(path), f"Opening {path}", _Look("open", self._store.state, path=path))

    def close(self) -> bool:
        """Stop all work; whether it stopped in time."""
        self._scanning = False
        self._calm.stop()
        return self._runner.close()

    @property
    def idle(self) -> bool:
        """Whether nothing is being computed, the scan of the other tensors included."""
        return not self._runner.unfinished and not self._scanning and not self._calm.isActive()

    @property
    def busy(self) -> bool:
        """Whether the picture does not yet show the choice, not even roughly."""
        shown = self.analysis is not None and self.analysis.spec == self._store.state.spec and self._roughly
        return any(task.about.kind != "scan" and not (shown and task.about.kind == "exact")
                   for task in self._runner.unfinished)  # fmt: skip

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.path != old.path:
            self._opening = ""  # an undo, or what has just opened: either way nothing else is to open now
        if new.path and new.path != self._opened:
            self.open(new.path)
        elif new.tensor != old.tensor or new.spec != old.spec or new.path != old.path:
            if new.spec != old.spec:
                self._stop_scan()
            self._analyze()

    def _stop_scan(self) -> None:
        self._to_scan, self._scanning = iter(()), False
        self.scan_cleared.emit()

    def _analyze(self) -> None:
        state, looks = self._store.state, self._looks
        self._calm.stop()
        self._roughly = False
        if looks is None or self._opening or not state.tensor:
            return
        known = looks.known(state.tensor, state.spec)
        if known is not None:
            self._show(known)
        elif state.tensor in looks.checkpoint.by_name and looks.quick_first(state.tensor):
            self._calm.start()
            self._look("quick", looks.quick(state.tensor, state.spec))
        else:
            self._look("exact", looks.exact(state.tensor, state.spec))

    def _look(self, kind: str, steps: Steps[Analysis]) -> None:
        state = self._store.state
        self._runner.submit(steps, f"Measuring {state.tensor}", _Look(kind, state, state.tensor))

    def _on_calm(self) -> None:
        """The choice has stood for a moment: measure it exactly, once the quick look is there."""
        state, looks = self._store.state, self._looks
        if looks is not None and self._roughly and not self._opening:
            self._look("exact", looks.exact(state.tensor, state.spec))

    def values(self, name: str) -> Steps[Values]:
        """The values of a tensor of the open file, for a thread of one's own."""
        assert self._looks is not None  # noqa: S101
        return self._looks.values(name)

    @Slot(object)
    def _on_ended(self, task: Task) -> None:
        look: _Look = task.about
        state, outcome = self._store.state, task.outcome
        if look.kind == "open" and look.path == self._opening and not isinstance(outcome, Cancelled):
            self._opening = ""
            self._on_opened(look.path, outcome)
        elif look.kind in ("quick", "exact") and look.wants(state):
            self._on_looked(look, outcome)
        elif (
            look.tensor and isinstance(outcome, Done) and (look.state.path, look.state.spec) == (state.path, state.spec)
        ):
            self._note(look.tensor, outcome.result)
        if self._scanning:
            self._scan_next()

    def _on_looked(self, look: _Look, outcome: Any) -> None:
        if isinstance(outcome, Done) and look.kind == "exact":
            self._show(outcome.result)
        elif isinstance(outcome, Done):
            self._roughly = True
            self._tell(outcome.result)
            if not self._calm.isActive():
                self._on_calm()
        elif isinstance(outcome, Failed):
            self._calm.stop()
            self.analysis = None
            self.failed.emit(outcome)
            self._start_scan()

    def _on_opened(self, path: str, outcome: Any) -> None:
        state = self._store.state
        if isinstance(outcome, Failed):
            if path == state.path:  # by undo, or from the last session: there is nothing else to show
                self._looks = self.analysis = None
                self._opened = path
                self._stop_scan()
            self.refused.emit(outcome)
            if path != state.path:
                self._analyze()  # opening cut off what was being measured
        elif isinstance(outcome, Done):
            checkpoint: Checkpoint = outcome.result
            self._opened, self._looks, self.analysis = path, Looks(checkpoint, self._cache), None
            self._stop_scan()
            known = state.tensor in checkpoint.by_name
            tensor = state.tensor if known else _most_telling(checkpoint.tensors)
            if path == state.path:
                self.opened.emit(checkpoint)
                self._store.replace_silently({"tensor": tensor})
                if known:
                    self._analyze()
            else:
                self.opened.emit(checkpoint)
                self._store.update(path=path, tensor=tensor)

    def _tell(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.analyzed.emit(analysis)
        self._note(self._store.state.tensor, analysis)

    def _note(self, name: str, analysis: Analysis) -> None:
        """Tell the SQNR of a tensor, where it is no rough one."""
        if analysis.coverage == "exact":
            self.scanned.emit(name, analysis.metrics.sqnr_db)

    def _show(self, analysis: Analysis) -> None:
        """An exact analysis of what is chosen; then there is time for all else."""
        self._tell(analysis)
        if KERNELS not in sys.modules and not self._opening:  # it would cancel the opening
            self._runner.submit(load_kernels(), "Loading kernels", _Look("scan", self._store.state))
        self._start_scan()

    def _start_scan(self) -> None:
        if self.checkpoint is None or self.checkpoint.n > SCAN_LIMIT:
            return
        self._to_scan = filter(_worth_scanning, self.checkpoint.tensors)
        self._scanning = True
        self._scan_next()

    def hold_scan(self, held: bool) -> None:
        """Leave the other tensors alone for a while; what the person looks at is measured nevertheless."""
        self._held = held
        if self._scanning and not held:
            self._scan_next()

    def _scan_next(self) -> None:
        if self._runner.tasks or self._held:
            return
        state, looks = self._store.state, self._looks
        for tensor in self._to_scan:
            assert looks is not None  # noqa: S101  there is something to scan
            known = looks.known(tensor.name, state.spec)
            if known is None:
                steps = looks.exact(tensor.name, state.spec, keep=False)
                self._runner.submit(steps, f"Scanning {tensor.name}", _Look("scan", state, tensor.name))
                return
            self.scanned.emit(tensor.name, known.metrics.sqnr_db)
        self._scanning = False


def _worth_scanning(tensor: TensorInfo) -> bool:
    return not tensor.unsupported and tensor.n > 1 and tensor.dtype.startswith(("float", "bfloat"))


def _most_telling(tensors: tuple[TensorInfo, ...]) -> str:
    """The tensor that a newcomer should see first: the median one by size of those that are worth a scan."""
    worth = [(t.n, i) for i, t in enumerate(tensors) if _worth_scanning(t)]
    matrices = [(n, i) for n, i in worth if n >= 4096 and len(tensors[i].shape) > 1]
    candidates = sorted(matrices or worth)
    if candidates:
        return tensors[candidates[len(candidates) // 2][1]].name
    readable = [t for t in tensors if not t.unsupported]
    return readable[len(readable) // 2].name if readable else ""
