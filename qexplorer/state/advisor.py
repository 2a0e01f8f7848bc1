"""`Advisor`: measures in the background what would help the chosen tensor, while somebody looks at the advice."""

from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from qexplorer.quant import Analysis, QuantSpec
from qexplorer.quant.advice import SpecAdvice
from qexplorer.state.app_state import AppState
from qexplorer.state.latest import CALM_MS, Latest
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Done, Failed, Runner
from qexplorer.state.store import Store


class Advisor(QObject):
    """Advice on the exact analysis of what is chosen; a newer choice stops the work, and drops what comes late."""

    changed = Signal()

    def __init__(self, store: Store, preview: Preview, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._preview, self._runner = store, preview, runner
        self._latest = Latest(runner, rank=1, parent=self)
        self._watched = False
        self._analysis: Analysis | None = None
        self._choice: tuple[str, str, QuantSpec | None] | None = None
        self.advice: tuple[SpecAdvice, ...] | None = ()
        """None while it is not known yet."""
        store.changed.connect(self._on_changed)
        preview.analyzed.connect(self._on_analyzed)
        for signal in (preview.failed, preview.refused, preview.opened):
            signal.connect(self._on_nothing)

    def watch(self, watched: bool) -> None:
        """Say whether somebody looks."""
        if watched == self._watched:
            return
        self._watched = watched
        if watched:
            self._ask(None)
        else:
            self._latest.drop()

    @property
    def idle(self) -> bool:
        """Whether the advice is that on the choice."""
        return self._latest.idle

    def hold(self, held: bool) -> None:
        """Let work wait, or go on."""
        self._runner.hold(held)

    def close(self) -> bool:
        """Stop all work; whether it stopped in time."""
        self._watched = False
        self._latest.drop()
        return self._runner.close()

    def _ask(self, calm_ms: int | None) -> None:
        analysis, analyses = self._analysis, self._preview.analyses
        if not self._watched or analysis is None or analyses is None or self._latest.pending or self.advice is not None:
            return
        steps = partial(analyses.advice, self._store.state.tensor, analysis)
        self._latest.ask(steps, "Measuring remedies", self._on_advice, calm_ms=calm_ms)

    def _on_advice(self, outcome: Done | Failed) -> None:
        self._tell(() if isinstance(outcome, Failed) else outcome.result)

    def _tell(self, advice: tuple[SpecAdvice, ...] | None) -> None:
        self.advice = advice
        self.changed.emit()

    def _forget(self, advice: tuple[SpecAdvice, ...] | None) -> None:
        self._latest.drop()
        self._analysis = self._choice = None
        self._tell(advice)

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        choice, before = ((each.path, each.tensor, self._preview.spec_of(each)) for each in (new, old))
        if choice not in (before, self._choice):  # else it may be known and analyzed already
            self._forget(None)

    @Slot(object)
    def _on_analyzed(self, analysis: Analysis) -> None:
        state = self._store.state
        choice = (state.path, state.tensor, self._preview.spec)
        if analysis.coverage != "exact":
            return
        if choice != self._choice:
            self._forget(None)
            self._analysis, self._choice = analysis, choice
        self._ask(CALM_MS)

    @Slot(object)
    def _on_nothing(self, what: object) -> None:
        """There is no analysis of what is chosen, or not yet."""
        del what
        self._forget(())
