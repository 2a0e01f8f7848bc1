"""`Surveys`: compares formats and observers on the chosen tensor, in the background, for panels that are in sight."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from qexplorer.inspection.recent import Recent
from qexplorer.progress import Steps
from qexplorer.quant import QuantSpec
from qexplorer.quant.survey import FORMATS_LIMIT, LIMIT, format_specs, observer_specs, survey_formats, survey_observers
from qexplorer.quant.tensor_source import Values
from qexplorer.state.app_state import AppState
from qexplorer.state.latest import CALM_MS, Latest
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Done, Failed, Runner
from qexplorer.state.store import Store

ROUGH = 20_000
"""Larger tensors are surveyed by so many values first, so that something is seen at once."""
REMEMBERED = 32


@dataclass(frozen=True)
class Kind:
    """One kind of survey: how it is made, and what of a spec it depends on."""

    title: str
    make: Callable[..., Steps[Any]]
    depends: Callable[[QuantSpec], Hashable]
    limit: int


KINDS = {
    "formats": Kind("Comparing formats", survey_formats, format_specs, FORMATS_LIMIT),
    "observers": Kind("Comparing observers", survey_observers, observer_specs, LIMIT),
}


class Surveys(QObject):
    """Nothing is computed for a kind that nobody watches. A newer choice stops the work, and drops what comes late."""

    surveyed = Signal(str, object)  # kind, FormatSurvey or ObserverSurvey
    failed = Signal(str, object)  # kind, Failed
    progressed = Signal(str, object)  # kind, Task
    outdated = Signal(str)  # kind: what was surveyed is no longer what is chosen

    def __init__(self, store: Store, preview: Preview, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._preview, self._runner = store, preview, runner
        self._latest = {kind: Latest(runner, rank=1, parent=self) for kind in KINDS}
        for kind, latest in self._latest.items():
            latest.progressed.connect(partial(self.progressed.emit, kind))
        self.watched: frozenset[str] = frozenset()
        self._asked: dict[str, Hashable] = {}
        self._shown: dict[str, Hashable] = {}
        self._known: Recent[tuple[str, Hashable], Any] = Recent(REMEMBERED)
        store.changed.connect(self._on_changed)
        preview.opened.connect(self._on_opened)
        preview.analyzed.connect(self._on_analyzed)
        for signal in (preview.failed, preview.refused):
            signal.connect(self._on_failed)

    def watch(self, kind: str, watched: bool) -> None:
        """Say whether somebody looks at surveys of that kind."""
        if watched == (kind in self.watched):
            return
        self.watched ^= {kind}
        if watched:
            self._survey(kind, None)
        else:
            self._latest[kind].drop()

    @property
    def idle(self) -> bool:
        """Whether every watched survey is that of the choice."""
        return all(latest.idle for latest in self._latest.values())

    def hold(self, held: bool) -> None:
        """Let surveys wait, or go on."""
        self._runner.hold(held)

    def close(self) -> bool:
        """Stop all work; whether it stopped in time."""
        self.watched = frozenset()
        self._drop()
        return self._runner.close()

    def _drop(self) -> None:
        for latest in self._latest.values():
            latest.drop()

    def _key(self, kind: str) -> Hashable:
        """What the survey depends on: a change of the spec that leaves this alone needs no other survey."""
        state = self._store.state
        return (state.path, state.tensor, KINDS[kind].depends(state.spec))

    def _survey(self, kind: str, calm_ms: int | None) -> None:
        """Show the survey of the choice, as soon as it is known."""
        key, latest = self._key(kind), self._latest[kind]
        if self._preview.analysis is None or self._shown.get(kind) in (key, (key, "failed")):
            return
        known = self._known.get((kind, key))
        if known is not None:
            latest.drop()
            self._shown[kind] = key
            self.surveyed.emit(kind, known)
        elif latest.task is None or self._asked[kind] != key:
            self._ask(kind, key, calm_ms)

    def _ask(self, kind: str, key: Hashable, calm_ms: int | None) -> None:
        state, analyses = self._store.state, self._preview.analyses
        if analyses is None:
            return
        rough = analyses.checkpoint.tensor(state.tensor).n > 2 * ROUGH and self._shown.get(kind) != (key, "rough")
        limit, tell = ROUGH if rough else KINDS[kind].limit, partial(self._on_surveyed, kind, key, rough)
        self._asked[kind] = key
        self._latest[kind].ask(
            lambda: _steps(KINDS[kind], analyses.values(state.tensor), state.spec, limit),
            KINDS[kind].title, tell, calm_ms=calm_ms,
        )  # fmt: skip

    def _on_surveyed(self, kind: str, key: Hashable, rough: bool, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):
            self._shown[kind] = (key, "failed")
            self.failed.emit(kind, outcome)
            return
        self._shown[kind] = (key, "rough") if rough else key
        if not rough:
            self._known.put((kind, key), outcome.result)
        self.surveyed.emit(kind, outcome.result)
        self._survey(kind, None)

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        if (new.path, new.tensor, new.spec) == (old.path, old.tensor, old.spec):
            return
        for kind in self.watched:
            key = self._key(kind)
            if self._asked.get(kind) != key:
                self._latest[kind].drop()
            if self._shown.get(kind) != key:
                self._shown.pop(kind, None)
                self.outdated.emit(kind)

    @Slot(object)
    def _on_opened(self, checkpoint: object) -> None:
        """Another file, or the same one anew: its tensors may have changed."""
        del checkpoint
        self._known.clear()
        self._shown.clear()
        self._drop()

    @Slot(object)
    def _on_analyzed(self, analysis: object) -> None:
        del analysis
        for kind in sorted(self.watched):
            self._survey(kind, CALM_MS)

    @Slot(object)
    def _on_failed(self, failed: Failed) -> None:
        """The tensor or the file cannot be had: what was surveyed is seen no more."""
        del failed
        if self._preview.analysis is None:
            self._shown.clear()
            self._drop()


def _steps(kind: Kind, values: Steps[Values], spec: QuantSpec, limit: int) -> Steps[Any]:
    return (yield from kind.make((yield from values), spec, limit=limit))
