"""`Preview`: keeps what is shown in step with what was chosen, in the background; the newest choice wins."""

import sys
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from qexplorer.errors import UserError
from qexplorer.inspection.analyses import Analyses
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.quant import Analysis, QuantSpec
from qexplorer.quant.warm import KERNELS, load_kernels
from qexplorer.state.app_state import AppState
from qexplorer.state.latest import CALM_MS, Latest
from qexplorer.state.runner import Done, Failed, Runner
from qexplorer.state.store import Store
from qexplorer.text import printable
from qexplorer.weights import Checkpoint, TensorInfo, open_checkpoint


class Kept(UserError):  # noqa: N818  a choice, and no mistake
    """The recipe leaves the selected tensor as it is."""


class Preview(QObject):
    """Opens the chosen file, and analyzes the chosen tensor under the chosen spec.

    A large tensor is answered quickly first; the exact analysis follows when the choice has stood for a moment.
    """

    opened = Signal(object)  # Checkpoint
    refused = Signal(object)  # Failed: the file could not be opened
    analyzed = Signal(object)  # Analysis
    failed = Signal(object)  # Failed: the tensor could not be analyzed
    progressed = Signal(object)  # Task

    def __init__(
        self, store: Store, runner: Runner, parent: QObject | None = None, cache: SketchCache | None = None
    ) -> None:
        super().__init__(parent)
        self._store, self._runner, self._cache = store, runner, cache
        self._runner.progressed.connect(self.progressed)
        self._open, self._look = (Latest(self._runner, parent=self) for _ in range(2))
        self._exact, self._warm = (Latest(self._runner, rank=rank, parent=self) for rank in (1, 2))
        self.analyses: Analyses | None = None
        self.analysis: Analysis | None = None
        self._roughly = False
        self._opened = ""
        store.changed.connect(self._on_changed)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The open file."""
        return self.analyses.checkpoint if self.analyses is not None else None

    @property
    def spec(self) -> QuantSpec | None:
        """What the recipe does to the selected tensor; None: it is kept as it is."""
        return self.spec_of(self._store.state)

    def spec_of(self, state: AppState) -> QuantSpec | None:
        """What the recipe of a state does to the tensor that is selected there."""
        return state.recipe.of(state.tensor, self.kind_of(state.tensor)).weights

    def kind_of(self, name: str) -> str:
        """The kind of layer that a tensor of the open file belongs to, as rules name it; empty where there is none."""
        tensor = self.checkpoint.by_name.get(name) if self.checkpoint else None
        return self.checkpoint.kind_name(tensor) if self.checkpoint and tensor else ""

    def start(self) -> None:
        """Show what the store holds now."""
        if self._store.state.path:
            self.open(self._store.state.path)

    def open(self, path: str) -> None:
        """Open a file; only when that succeeds does it become the store's, and what was open before is let go."""
        for latest in (self._look, self._exact, self._warm):
            latest.drop()
        self._open.ask(partial(open_checkpoint, path), f"Opening {path}", partial(self._on_opened, path))

    def hold(self, held: bool) -> None:
        """Let all wait that need not be shown at once, or go on."""
        self._runner.hold(held)

    def close(self) -> bool:
        """Stop all work; whether it stopped in time."""
        for latest in (self._open, self._look, self._exact, self._warm):
            latest.drop()
        return self._runner.close()

    @property
    def idle(self) -> bool:
        """Whether nothing is being computed or about to be."""
        return all(latest.idle for latest in (self._open, self._look, self._exact, self._warm))

    @property
    def busy(self) -> bool:
        """Whether the picture does not yet show the choice, not even roughly."""
        shown = self.analysis is not None and self.analysis.spec == self.spec and self._roughly
        return not (self._open.idle and self._look.idle) or not (self._exact.idle or shown)

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.path != old.path:
            self._open.drop()  # an undo, or what has just opened: either way nothing else is to open now
        if new.path and new.path != self._opened:
            self.open(new.path)
        elif new.tensor != old.tensor or self.spec_of(new) != self.spec_of(old) or new.path != old.path:
            self._analyze()

    def _analyze(self) -> None:
        state, analyses = self._store.state, self.analyses
        self._look.drop()
        self._exact.drop()
        self._roughly = False
        if analyses is None or self._open.pending or not state.tensor:
            return
        spec = self.spec
        if spec is None:
            what = f"{printable(state.tensor)} is kept as it is: the recipe does not quantize it."
            self._fail(Failed(Kept(what, "Choose “Quantize” in Scheme to change that."), ""))
            return
        known = analyses.known(state.tensor, spec)
        if known is not None:
            self._show(known)
            return
        quick, exact = (partial(make, state.tensor, spec) for make in (analyses.quick, analyses.exact))
        title = f"Measuring {state.tensor}"
        if state.tensor in analyses.checkpoint.by_name and analyses.quick_first(state.tensor):
            self._look.ask(quick, title, self._on_quick)
            self._exact.ask(exact, title, self._on_exact, calm_ms=CALM_MS)
        else:
            self._look.ask(exact, title, self._on_exact)

    def _on_quick(self, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):
            self._exact.drop()
            self._fail(outcome)
        else:
            self._roughly = True
            self._tell(outcome.result)

    def _on_exact(self, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):
            self._fail(outcome)
        else:
            self._show(outcome.result)

    def _fail(self, failed: Failed) -> None:
        self.analysis = None
        self.failed.emit(failed)

    def _tell(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.analyzed.emit(analysis)

    def _show(self, analysis: Analysis) -> None:
        """An exact analysis of what is chosen; then there is time for all else."""
        self._tell(analysis)
        if KERNELS not in sys.modules and self._warm.idle:
            self._warm.ask(load_kernels, "Loading kernels", lambda _: None)

    def _on_opened(self, path: str, outcome: Done | Failed) -> None:
        state = self._store.state
        if isinstance(outcome, Failed):
            if path == state.path:  # by undo, or from the last session: there is nothing else to show
                self.analyses = self.analysis = None
                self._opened = path
            self.refused.emit(outcome)
            if path != state.path:
                self._analyze()  # opening cut off what was being measured
            return
        checkpoint: Checkpoint = outcome.result
        self._opened, self.analyses, self.analysis = path, Analyses(checkpoint, self._cache), None
        known = state.tensor in checkpoint.by_name
        tensor = state.tensor if known else _most_telling(checkpoint)
        self.opened.emit(checkpoint)
        if path != state.path:
            self._store.update(path=path, tensor=tensor)
            return
        self._store.replace_silently({"tensor": tensor})
        if known:
            self._analyze()


def worth_scanning(tensor: TensorInfo) -> bool:
    """Whether there is something to be seen of it: it holds more than one floating-point value."""
    return not tensor.unsupported and tensor.n > 1 and tensor.dtype.startswith(("float", "bfloat"))


def _most_telling(checkpoint: Checkpoint) -> str:
    """The tensor that a newcomer should see first: the median one by size of the weights that are worth a scan, or of
    whatever else there is.
    """
    tensors = [t for t in checkpoint.tensors if checkpoint.roles[t.name].weighs] or checkpoint.tensors
    worth = [(t.n, i) for i, t in enumerate(tensors) if worth_scanning(t)]
    matrices = [(n, i) for n, i in worth if n >= 4096 and len(tensors[i].shape) > 1]
    candidates = sorted(matrices or worth)
    if candidates:
        return tensors[candidates[len(candidates) // 2][1]].name
    readable = [t for t in tensors if not t.unsupported]
    return readable[len(readable) // 2].name if readable else ""
