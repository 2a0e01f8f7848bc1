"""Advice: what is wrong with the selected tensor's quantization and with the run that is looked at, and the remedy."""

from typing import ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from qexplorer.engine.advice import JobAdvice, advise_on
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.quant.advice import SpecAdvice
from qexplorer.widgets.advice_list import AdviceList

NOTHING = "No advice: no rule applies to this tensor under this spec, nor to the selected run."
MEASURING = "Measuring what would help this tensor …"

LEAST_WIDTH = 19
"""So many times the height of a line it is wide at least: two buttons stand beside each other."""


@panels.register
class AdvicePanel(Panel):
    """What would help the tensor and the run, each with a button that applies it. Remedies for the tensor are measured
    while the panel is in sight.
    """

    name: ClassVar[str] = "advice"
    title: ClassVar[str] = "Advice"
    order: ClassVar[int] = 55
    places: ClassVar[tuple[Place, ...]] = (
        Place("explore", 8, "metrics", tabbed=True),
        Place("quantize", 4, "result", across=True, width=20, yields=1, onto="result"),
    )
    job_made = Signal(object)  # Job: the next one

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.list = AdviceList()
        self.list.setMinimumWidth(LEAST_WIDTH * self.fontMetrics().height())
        self.body.addWidget(self.list, 1)
        self.list.applied.connect(self._on_applied)
        self.list.shown.connect(self._on_shown)
        parts.advisor.changed.connect(self.reload)
        parts.runs.changed.connect(self.reload)
        parts.runs.history_changed.connect(self.reload)
        self.reload()

    def reload(self) -> None:
        """Ask the rules again."""
        result, of_tensor = self.parts.runs.result, self.parts.advisor.advice
        of_run = advise_on(result) if result is not None else []
        self.list.show_advice([*(of_tensor or ()), *of_run], NOTHING, MEASURING if of_tensor is None else "")

    def show_in_sight(self, in_sight: bool) -> None:
        self.parts.advisor.watch(in_sight)

    def _on_applied(self, advice: object) -> None:
        self.banner.clear()
        if isinstance(advice, SpecAdvice) and advice.spec is not None:
            self.parts.rules.adopt(advice.spec)
        elif isinstance(advice, JobAdvice):
            self._set_job(advice)

    def _set_job(self, advice: JobAdvice) -> None:
        """The run's settings with those of the advice, as the next job; it is not started."""
        try:
            job = advice.next_job(self.parts.runs.job_settings())
        except UserError as error:
            self.banner.show_message(str(error))
            return
        self.job_made.emit(job)
        self.panel_asked.emit("jobs")

    def _on_shown(self, picture: str) -> None:
        if picture == "error":
            self.parts.store.update(error_view="channels")
        self.panel_asked.emit(picture)
