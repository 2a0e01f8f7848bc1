"""`Surveys`: compares formats and observers on the chosen tensor, in the background, for panels that are in sight."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from qexplorer.inspection.recent import Recent
from qexplorer.progress import Steps
from qexplorer.quant import QuantSpec
from qexplorer.quant.glance import Glance
from qexplorer.quant.survey import (
    Survey,
    format_specs,
    observer_specs,
    refined,
    survey_formats,
    survey_observers,
)
from qexplorer.state.app_state import AppState
from qexplorer.state.latest import CALM_MS, Latest
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Done, Failed, Runner
from qexplorer.state.store import Store

REMEMBERED = 32
TELL_S = 0.25
"""So often at most it is told what has become exact."""


@dataclass(frozen=True)
class Kind:
    """One kind of survey: how it is made, and what of a spec it depends on."""

    title: str
    make: Callable[[Glance, QuantSpec], Steps[Survey]]
    depends: Callable[[QuantSpec], Hashable]


KINDS = {
    "formats": Kind("Comparing formats", survey_formats, format_specs),
    "observers": Kind("Comparing observers", survey_observers, observer_specs),
}


class Surveys(QObject):
    """Nothing is computed for a kind that nobody watches. A newer choice stops the work, and drops what comes late.

    A large tensor is told of at once, then again with each figure that has become exact.
    """

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
        self._current: set[str] = set()
        """Kinds whose last survey that was told is of the choice."""
        self._rough: dict[str, tuple[Hashable, Survey]] = {}
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
        return (state.path, state.tensor, self._preview.spec and KINDS[kind].depends(self._preview.spec))

    def _survey(self, kind: str, calm_ms: int | None) -> None:
        """Show the survey of the choice, as soon as it is known."""
        key, latest = self._key(kind), self._latest[kind]
        if self._preview.analysis is None or self._shown.get(kind) in (key, (key, "failed")):
            return
        known = self._known.get((kind, key))
        if known is not None:
            latest.drop()
            self._shown[kind] = key
            self._tell(kind, known)
        elif latest.task is None or self._asked[kind] != key:
            self._ask(kind, key, calm_ms)

    def _ask(self, kind: str, key: Hashable, calm_ms: int | None) -> None:
        state, analyses = self._store.state, self._preview.analyses
        spec = self._preview.spec
        if analyses is None or spec is None:
            return
        of, survey = self._rough.get(kind, (None, None))
        if of != key:
            survey = None
        elif kind not in self._current:
            self._tell(kind, survey)
        self._asked[kind] = key
        self._latest[kind].ask(
            lambda: _steps(KINDS[kind], analyses.glance(state.tensor), spec, survey),
            KINDS[kind].title, partial(self._on_surveyed, kind, key), calm_ms=calm_ms,
        )  # fmt: skip

    def _tell(self, kind: str, survey: Any) -> None:
        self._current.add(kind)
        self.surveyed.emit(kind, survey)

    def _on_surveyed(self, kind: str, key: Hashable, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):
            self._shown[kind] = (key, "failed")
            self.failed.emit(kind, outcome)
            return
        survey: Survey = outcome.result
        if survey.coverage == "exact":
            self._shown[kind] = key
            self._known.put((kind, key), survey)
        else:
            self._rough[kind] = (key, survey)
        self._tell(kind, survey)
        self._survey(kind, None)

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        if (new.path, new.tensor, new.recipe) == (old.path, old.tensor, old.recipe):
            return
        for kind in self.watched:
            key = self._key(kind)
            if self._asked.get(kind) != key:
                self._latest[kind].drop()
            if self._shown.get(kind) != key:
                self._shown.pop(kind, None)
                self._current.discard(kind)
                self.outdated.emit(kind)

    @Slot(object)
    def _on_opened(self, checkpoint: object) -> None:
        """Another file, or the same one anew: its tensors may have changed."""
        del checkpoint
        self._known.clear()
        self._shown.clear()
        self._rough.clear()
        self._current.clear()
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


def _steps(kind: Kind, glance: Steps[Glance], spec: QuantSpec, survey: Survey | None) -> Steps[Survey]:
    """The first survey of a tensor, or one that is more exact."""
    tensor, until = (yield from glance), time.monotonic() + TELL_S
    if survey is None:
        return (yield from kind.make(tensor, spec))
    while True:
        more = yield from refined(survey, tensor)
        if more.coverage == "exact" or time.monotonic() > until:
            return more
        survey = more
