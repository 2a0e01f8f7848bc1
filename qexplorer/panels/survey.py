"""What the panels that compare have in common: the tensor's name, what to do where nothing is, and how far it is."""

from typing import Any, ClassVar

from PySide6.QtWidgets import QStackedLayout, QWidget

from qexplorer.panels import Panel, Parts
from qexplorer.quant import QuantSpec
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Failed, Task
from qexplorer.text import printable
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.tensor_head import TensorHead
from qexplorer.widgets.theme import Theme

LAGS = "This is still the result for the previous choice."


class SurveyPanel(Panel):
    """A panel over one kind of survey, which is made only while the panel is in sight."""

    kind: ClassVar[str]
    empty: ClassVar[tuple[str, str]]

    def __init__(self, parts: Parts, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.head, self._empty = TensorHead(), Placeholder(*self.empty, "Open weights …")
        self._content = content
        self._survey: Any = None
        self._lags = True
        place = QWidget()
        self._stack = QStackedLayout(place)
        for widget in (self._empty, content):
            self._stack.addWidget(widget)
        self.body.addWidget(self.head)
        self.body.addWidget(place, 1)
        self._empty.pressed.connect(self.open_pressed)
        parts.surveys.surveyed.connect(self._on_surveyed)
        parts.surveys.progressed.connect(self._on_progressed)
        parts.surveys.outdated.connect(self._on_outdated)
        parts.surveys.failed.connect(self._on_survey_failed)
        parts.preview.failed.connect(self._on_failed)
        parts.preview.refused.connect(self._on_refused)
        parts.store.changed.connect(self._on_changed)
        parts.themes.changed.connect(self.show_theme)

    def show_in_sight(self, in_sight: bool) -> None:
        self.parts.surveys.watch(self.kind, in_sight)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.head.show_theme(theme)

    def show_survey(self, survey: Any) -> None:
        """Draw a result; `None` takes it away."""
        raise NotImplementedError

    def show_choice(self, spec: QuantSpec) -> None:
        """Mark what is in use."""
        raise NotImplementedError

    def facts(self, spec: QuantSpec) -> str:
        """What holds for everything that is compared."""
        raise NotImplementedError

    def adopt(self, spec: QuantSpec) -> None:
        """Quantize so from now on: one entry to undo."""
        self.parts.rules.adopt(spec)

    @property
    def subject(self) -> tuple[str, str]:
        """The file and the tensor."""
        state = self.parts.store.state
        return state.path, state.tensor

    def _on_surveyed(self, kind: str, survey: Any) -> None:
        if kind != self.kind:
            return
        self.banner.clear()
        self._survey = survey
        self._stack.setCurrentWidget(self._content)
        self.show_survey(survey)
        if self._survey is not None:
            self._show_head()
            self._lags = False
            self.head.show_coverage(survey.coverage, survey.n)

    def _on_outdated(self, kind: str) -> None:
        if kind == self.kind:
            self._lags = True
            self._show_head()

    def _show_head(self) -> None:
        if self._survey is not None:
            state, spec = self.parts.store.state, self.parts.preview.spec
            if spec is not None:
                self.head.show_text(printable(state.tensor), self.facts(spec))
                self.show_choice(spec)

    def _on_progressed(self, kind: str, task: Task) -> None:
        if kind != self.kind or task.cancelling or not (self._lags or self._survey is None):
            return
        share = task.progress.fraction if task.progress else None
        self.head.show_work("measuring" + (f" {share:.0%}" if share else " …"), LAGS)
        if self._survey is None:
            self._empty.show_text(f"{task.title} …", printable(self.parts.store.state.tensor), button=False)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        spec = self.parts.preview.spec
        chosen = (old.recipe, old.tensor, old.path) != (new.recipe, new.tensor, new.path)
        if self._survey is not None and spec is not None and chosen:
            self.show_choice(spec)

    def _on_survey_failed(self, kind: str, failed: Failed) -> None:
        if kind == self.kind:
            self._clear("Nothing to compare", failed.message)
            if failed.details:
                self.banner.show_message(failed.message, failed.details)

    def _on_failed(self, failed: Failed) -> None:
        self._clear("Nothing to compare", failed.message)

    def _on_refused(self, failed: Failed) -> None:
        del failed
        if self.parts.preview.checkpoint is None:
            self._clear(*self.empty, button=True)

    def _clear(self, title: str, text: str, *, button: bool = False) -> None:
        self._survey = None
        self.show_survey(None)
        self.head.show_text(printable(self.parts.store.state.tensor), "")
        self.head.show_coverage("", 0)
        self._empty.show_text(title, text, button=button)
        self._stack.setCurrentWidget(self._empty)
