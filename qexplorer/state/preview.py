"""`Preview`: keeps what is shown in step with what was chosen, in the background; the newest choice wins."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, Signal, Slot

from qexplorer.progress import Steps, within
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.arrays import AnyArray
from qexplorer.quant.warm import KERNELS, load_kernels
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Cancelled, Done, Failed, Runner, Task
from qexplorer.state.store import Store
from qexplorer.weights import Checkpoint, TensorInfo, open_checkpoint

SCAN_LIMIT = 64_000_000
"""Checkpoints up to so many values have every tensor measured while nothing else is to do."""

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A cache that forgets what was not asked for longest. Several threads may ask it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value of `key`, if it is still known."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self._size:
                self._items.popitem(last=False)


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
    """Opens the chosen file, analyzes the chosen tensor under the chosen spec, then looks at the other tensors."""

    opened = Signal(object)  # Checkpoint
    refused = Signal(object)  # Failed: the file could not be opened
    analyzed = Signal(object)  # Analysis
    failed = Signal(object)  # Failed: the tensor could not be analyzed
    progressed = Signal(object)  # Task
    scanned = Signal(str, float)  # tensor name, its SQNR in dB
    scan_cleared = Signal()

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._runner = Runner("preview", newest_wins=True, parent=self)
        self._runner.ended.connect(self._on_ended)
        self._runner.progressed.connect(self.progressed)
        self.checkpoint: Checkpoint | None = None
        self.analysis: Analysis | None = None
        self._arrays: Recent[tuple[str, str], AnyArray] = Recent(4)
        self._analyses: Recent[tuple[str, str, QuantSpec], Analysis] = Recent(256)
        self._to_scan: Iterator[TensorInfo] = iter(())
        self._scanning = False
        self._held = False
        self._opened = self._opening = ""
        store.changed.connect(self._on_changed)

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
        return self._runner.close()

    @property
    def idle(self) -> bool:
        """Whether nothing is being computed, the scan of the other tensors included."""
        return not self._runner.unfinished and not self._scanning

    @property
    def busy(self) -> bool:
        """Whether the picture does not yet show the choice."""
        return any(task.about.kind != "scan" for task in self._runner.unfinished)

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
        state = self._store.state
        if self.checkpoint is None or self._opening or not state.tensor:
            return
        known = self._analyses.get((state.path, state.tensor, state.spec))
        if known is not None:
            self._show(known)
            return
        look = _Look("analyze", state, state.tensor)
        self._runner.submit(self._explore(state.tensor, state.spec), f"Measuring {state.tensor}", look)

    def _explore(self, name: str, spec: QuantSpec, *, keep: bool = True) -> Steps[Analysis]:
        """Measure a tensor; `keep` its values for the next choice (a scan would push out those of what is shown)."""
        assert self.checkpoint is not None  # noqa: S101  submitted only for an open file
        tensor = self.checkpoint.tensor(name)
        values = yield from self.values(name, keep=keep)
        return (yield from analyze(values, spec, original_bytes=tensor.nbytes))

    def values(self, name: str, *, keep: bool = True) -> Steps[AnyArray]:
        """The values of a tensor of the open file, for a thread of one's own."""
        assert self.checkpoint is not None  # noqa: S101
        checkpoint, arrays = self.checkpoint, self._arrays
        key = (str(checkpoint.path), name)
        values = arrays.get(key)
        if values is None:
            values = yield from within(checkpoint.read_steps(checkpoint.tensor(name)), 0.0, 0.0)
            if keep:
                arrays.put(key, values)
        return values

    @Slot(object)
    def _on_ended(self, task: Task) -> None:
        look: _Look = task.about
        state, outcome = self._store.state, task.outcome
        if look.kind == "open" and look.path == self._opening and not isinstance(outcome, Cancelled):
            self._opening = ""
            self._on_opened(look.path, outcome)
        elif look.kind == "analyze" and look.wants(state):
            if isinstance(outcome, Done):
                self._analyses.put((state.path, look.tensor, state.spec), outcome.result)
                self._show(outcome.result)
            elif isinstance(outcome, Failed):
                self.analysis = None
                self.failed.emit(outcome)
                self._start_scan()
        elif (
            look.tensor and isinstance(outcome, Done) and (look.state.path, look.state.spec) == (state.path, state.spec)
        ):
            self._analyses.put((state.path, look.tensor, state.spec), outcome.result)
            self.scanned.emit(look.tensor, outcome.result.metrics.sqnr_db)
        if self._scanning:
            self._scan_next()

    def _on_opened(self, path: str, outcome: Any) -> None:
        state = self._store.state
        if isinstance(outcome, Failed):
            if path == state.path:  # by undo, or from the last session: there is nothing else to show
                self.checkpoint = self.analysis = None
                self._opened = path
                self._stop_scan()
            self.refused.emit(outcome)
            if path != state.path:
                self._analyze()  # opening cut off what was being measured
        elif isinstance(outcome, Done):
            checkpoint: Checkpoint = outcome.result
            self._opened, self.checkpoint, self.analysis = path, checkpoint, None
            self._arrays, self._analyses = Recent(4), Recent(256)
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

    def _show(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.analyzed.emit(analysis)
        self.scanned.emit(self._store.state.tensor, analysis.metrics.sqnr_db)
        if KERNELS not in sys.modules and not self._opening:  # it would cancel the opening
            self._runner.submit(load_kernels(), "Loading kernels", _Look("scan", self._store.state))
        self._start_scan()

    def _start_scan(self) -> None:
        if self.checkpoint is None or self.checkpoint.n > SCAN_LIMIT:
            return
        self._to_scan = iter([t for t in self.checkpoint.tensors if _worth_scanning(t)])
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
        state = self._store.state
        for tensor in self._to_scan:
            known = self._analyses.get((state.path, tensor.name, state.spec))
            if known is None:
                look = _Look("scan", state, tensor.name)
                self._runner.submit(self._explore(tensor.name, state.spec, keep=False), f"Scanning {tensor.name}", look)
                return
            self.scanned.emit(tensor.name, known.metrics.sqnr_db)
        self._scanning = False


def _worth_scanning(tensor: TensorInfo) -> bool:
    return not tensor.unsupported and tensor.n > 1 and tensor.dtype.startswith(("float", "bfloat"))


def _most_telling(tensors: tuple[TensorInfo, ...]) -> str:
    """The tensor that a newcomer should see first: the median one by size of those that are worth a scan."""
    worth = sorted((t for t in tensors if _worth_scanning(t)), key=lambda t: t.n)
    matrices = [t for t in worth if t.n >= 4096 and len(t.shape) > 1]
    candidates = matrices or worth or [t for t in tensors if not t.unsupported]
    return candidates[len(candidates) // 2].name if candidates else ""
