"""`Surveys`: compares formats and observers on the chosen tensor, in the background, for panels that are in sight."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from qexplorer.inspection.analyses import Recent
from qexplorer.progress import Steps
from qexplorer.quant import QuantSpec
from qexplorer.quant.survey import FORMATS_LIMIT, LIMIT, format_specs, observer_specs, survey_formats, survey_observers
from qexplorer.quant.tensor_source import Values
from qexplorer.state.app_state import AppState
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Cancelled, Done, Failed, Runner, Task
from qexplorer.state.store import Store

CALM_MS = 150
"""A choice has to stand so long before a survey of it begins: a drag starts none."""
ROUGH = 20_000
"""Larger tensors are surveyed by so many values first, so that something is seen at once."""


@dataclass(frozen=True)
class _Kind:
    """One kind of survey: how it is made, and what of a spec it depends on."""

    title: str
    make: Callable[..., Steps[Any]]
    depends: Callable[[QuantSpec], Hashable]
    limit: int


KINDS = {
    "formats": _Kind("Comparing formats", survey_formats, format_specs, FORMATS_LIMIT),
    "observers": _Kind("Comparing observers", survey_observers, observer_specs, LIMIT),
}


@dataclass(frozen=True)
class _Look:
    """What a task is for; a `rough` one is only seen until the full one is done."""

    kind: str
    key: Hashable
    rough: bool = False


class Surveys(QObject):
    """Nothing is computed for a kind that nobody watches. A newer choice stops the work, and drops what comes late."""

    surveyed = Signal(str, object)  # kind, FormatSurvey or ObserverSurvey
    failed = Signal(str, object)  # kind, Failed
    progressed = Signal(str, object)  # kind, Task
    outdated = Signal(str)  # kind: what was surveyed is no longer what is chosen

    def __init__(self, store: Store, preview: Preview, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._preview = store, preview
        self._runner = Runner("surveys", newest_wins=True, parent=self)
        self._runner.ended.connect(self._on_ended)
        self._runner.progressed.connect(self._on_progressed)
        self._watched: set[str] = set()
        self._shown: dict[str, Hashable] = {}
        self._known: Recent[tuple[str, Hashable], Any] = Recent(32)
        self._calm = QTimer(self, singleShot=True, interval=CALM_MS)
        self._calm.timeout.connect(self._go_on)
        store.changed.connect(self._on_changed)
        preview.opened.connect(self._on_opened)
        preview.analyzed.connect(self._on_analyzed)
        for signal in (preview.failed, preview.refused):
            signal.connect(self._on_failed)

    def watch(self, kind: str, watched: bool) -> None:
        """Say whether somebody looks at surveys of that kind."""
        if watched == (kind in self._watched):
            return
        self._watched ^= {kind}
        if watched:
            self._go_on()
        else:
            for task in self._runner.tasks:
                if task.about.kind == kind:
                    self._runner.cancel(task)

    @property
    def idle(self) -> bool:
        """Whether every watched survey is that of the choice."""
        return not self._runner.unfinished and not self._calm.isActive()

    def close(self) -> bool:
        """Stop all work; whether it stopped in time."""
        self._calm.stop()
        self._watched.clear()
        return self._runner.close()

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        if (new.path, new.tensor, new.spec) != (old.path, old.tensor, old.spec):
            keys = {kind: self._key(kind) for kind in self._watched}
            for task in self._runner.tasks:
                if task.about.key != keys.get(task.about.kind):
                    self._runner.cancel(task)
            for kind, key in keys.items():
                if self._shown.get(kind) != key:
                    self._shown.pop(kind, None)
                    self.outdated.emit(kind)

    @Slot(object)
    def _on_opened(self, checkpoint: object) -> None:
        """Another file, or the same one anew: its tensors may have changed."""
        del checkpoint
        self._known = Recent(32)
        self._shown.clear()
        for task in self._runner.tasks:
            self._runner.cancel(task)

    @Slot(object)
    def _on_analyzed(self, analysis: object) -> None:
        del analysis
        self._calm.start()

    def _key(self, kind: str) -> Hashable:
        """What the survey depends on: a change of the spec that leaves this alone needs no other survey."""
        state = self._store.state
        return (state.path, state.tensor, KINDS[kind].depends(state.spec))

    @Slot()
    def _go_on(self) -> None:
        """Show what is known, and begin the first survey that is not."""
        if self._preview.analysis is None or self._runner.tasks or self._calm.isActive():
            return
        for kind in sorted(self._watched):
            key = self._key(kind)
            known = self._known.get((kind, key))
            if known is None and self._shown.get(kind) != (key, "failed"):
                self._begin(kind, key)
                return
            if known is not None and self._shown.get(kind) != key:
                self._shown[kind] = key
                self.surveyed.emit(kind, known)

    def _begin(self, kind: str, key: Hashable) -> None:
        state, checkpoint = self._store.state, self._preview.checkpoint
        assert checkpoint is not None  # noqa: S101  there is an analysis
        rough = checkpoint.tensor(state.tensor).n > 2 * ROUGH and self._shown.get(kind) != (key, "rough")
        steps = _survey(
            KINDS[kind], self._preview.values(state.tensor), state.spec, ROUGH if rough else KINDS[kind].limit
        )
        self._runner.submit(steps, KINDS[kind].title, _Look(kind, key, rough))

    @Slot(object)
    def _on_ended(self, task: Task) -> None:
        look: _Look = task.about
        if not isinstance(task.outcome, Cancelled) and look.kind in self._watched and look.key == self._key(look.kind):
            if isinstance(task.outcome, Done):
                self._show(look, task.outcome.result)
            elif isinstance(task.outcome, Failed):
                self._shown[look.kind] = (look.key, "failed")
                self.failed.emit(look.kind, task.outcome)
        self._go_on()

    def _show(self, look: _Look, survey: Any) -> None:
        self._shown[look.kind] = (look.key, "rough") if look.rough else look.key
        if not look.rough:
            self._known.put((look.kind, look.key), survey)
        self.surveyed.emit(look.kind, survey)

    @Slot(object)
    def _on_failed(self, failed: Failed) -> None:
        """The tensor or the file cannot be had: what was surveyed is seen no more."""
        del failed
        if self._preview.analysis is None:
            self._shown.clear()

    @Slot(object)
    def _on_progressed(self, task: Task) -> None:
        self.progressed.emit(task.about.kind, task)


def _survey(kind: _Kind, values: Steps[Values], spec: QuantSpec, limit: int) -> Steps[Any]:
    return (yield from kind.make((yield from values), spec, limit=limit))
