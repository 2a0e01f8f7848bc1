"""`CloserLook`: what is zoomed is counted anew, and the tensor that is shown is looked at for what is odd."""

from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from qexplorer.quant import Analysis
from qexplorer.quant.flags import Flags
from qexplorer.quant.sketch import Sketch
from qexplorer.quant.windows import Span, errors_of_sketch, window_of_sketch
from qexplorer.state.app_state import AppState
from qexplorer.state.latest import CALM_MS, Latest
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Done, Failed, Runner
from qexplorer.state.store import Store

RANK = 1
"""It gives way to what is chosen."""


@dataclass(frozen=True)
class Inspection:
    """The tensor of a file, its sketch, and what is odd about its values."""

    subject: tuple[str, str]
    sketch: Sketch
    flags: Flags


class CloserLook(QObject):
    """Counts are told at once from the sketch, where it is known, and again when every value was counted. Where that is
    not possible nothing is told, and what was seen before stays. Nothing of it is kept in the store.
    """

    inspected = Signal(object)  # Inspection
    seen = Signal(object)  # Window
    errors_seen = Signal(object)  # ErrorWindow

    def __init__(self, store: Store, preview: Preview, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._preview = store, preview
        self._inspecting, self._counting = (Latest(runner, rank=RANK, parent=self) for _ in range(2))
        self.inspection: Inspection | None = None
        self._span: Span | None = None
        self._errors: Span | None = None
        store.changed.connect(self._on_changed)
        preview.analyzed.connect(self._on_analyzed)
        preview.opened.connect(self._forget)

    @property
    def idle(self) -> bool:
        """Whether nothing is being counted or about to be."""
        return self._inspecting.idle and self._counting.idle

    def look(self, span: Span | None) -> None:
        """Count a part of the value axis anew; `None` where all of it is seen."""
        if span is not None or self._span is not None:
            self._span = span
            self._count()

    def look_at_errors(self, span: Span | None) -> None:
        """The same of the error axis."""
        if span is not None or self._errors is not None:
            self._errors = span
            self._count()

    def hold(self, held: bool) -> None:
        """Let the work wait, or go on."""
        self._counting.hold(held)

    def close(self) -> bool:
        """Stop; the runner is the preview's to close."""
        self._inspecting.drop()
        self._counting.drop()
        return True

    def _count(self) -> None:
        self._counting.drop()
        analyses, a, name = self._preview.analyses, self._preview.analysis, self._store.state.tensor
        if analyses is None or a is None or (self._span is None and self._errors is None):
            return
        whole = analyses.known_sketch(name)
        if whole is not None:
            self._tell_roughly(whole, a)
        if a.coverage == "exact":
            steps = partial(analyses.windows, name, a, self._span, self._errors)
            self._counting.ask(steps, f"Counting {name}", self._on_counted, calm_ms=CALM_MS)

    def _tell_roughly(self, whole: Sketch, a: Analysis) -> None:
        if self._span is not None:
            self.seen.emit(window_of_sketch(whole, a, self._span))
        errors = errors_of_sketch(whole, a, self._errors) if self._errors is not None else None
        if errors is not None:
            self.errors_seen.emit(errors)

    def _on_counted(self, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):  # of the file, which the preview tells of as well
            return
        window, errors = outcome.result
        if window is not None:
            self.seen.emit(window)
        if errors is not None:
            self.errors_seen.emit(errors)

    def _on_inspected(self, subject: tuple[str, str], outcome: Done | Failed) -> None:
        if isinstance(outcome, Done):
            self.inspection = Inspection(subject, *outcome.result)
            self.inspected.emit(self.inspection)

    @Slot(object)
    def _on_analyzed(self, analysis: Analysis) -> None:
        del analysis
        state, analyses = self._store.state, self._preview.analyses
        subject = (state.path, state.tensor)
        known = self.inspection is not None and self.inspection.subject == subject
        if analyses is not None and not known and not self._inspecting.pending:
            self._inspecting.ask(partial(analyses.inspect, state.tensor), f"Looking at {state.tensor}",
                                 partial(self._on_inspected, subject))  # fmt: skip

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        if (new.path, new.tensor) != (old.path, old.tensor):
            self._forget()

    @Slot()
    def _forget(self) -> None:
        self._inspecting.drop()
        self._counting.drop()
        self.inspection = self._span = self._errors = None
