"""Formats: what each number format costs and gives on the selected tensor, beside what theory allows."""

from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from qexplorer.panels import Parts, Place, panels
from qexplorer.panels.survey import SurveyPanel
from qexplorer.quant import QuantSpec
from qexplorer.quant.survey import FormatSurvey
from qexplorer.widgets.bits_chart import NARROW, BitsChart
from qexplorer.widgets.elided import subject
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.theme import Theme


@panels.register
class FormatsPanel(SurveyPanel):
    """SQNR over bits per weight, a dot for each format; a click on a dot quantizes so."""

    name: ClassVar[str] = "formats"
    title: ClassVar[str] = "Formats"
    order: ClassVar[int] = 22
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 6, "distribution", tabbed=True),)
    kind: ClassVar[str] = "formats"
    empty: ClassVar[tuple[str, str]] = (
        "Nothing to compare yet",
        "Open weights and select a tensor to see the bits and the SQNR of every number format.",
    )

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        self.chart = BitsChart()
        super().__init__(parts, self.chart, parent)
        self._remark = subject()
        self._remark.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._remark.setMinimumWidth(1)  # the tabs beside it need the room more
        self._wide = Segmented([(False, "To 9 bits"), (True, "All")], "Bits shown")
        self._wide.setToolTip("Formats of 16 and 32 bits stand far out; without them the others have room")
        self._wide.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._wide.chosen.connect(self._on_wide)
        self.chart.chosen.connect(self.adopt)
        self.chart.menu.failed.connect(self.banner.show_message)
        self.show_theme(parts.themes.current)

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addWidget(self._remark, 1)
        row.addWidget(self._wide)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.chart.show_theme(theme)

    def show_survey(self, survey: FormatSurvey | None) -> None:
        self.chart.show_survey(survey, self.subject)
        self.chart.menu.subject = self.subject_text
        left_out = survey.refused if survey else ()
        pending = sum(point.coverage == "pending" for point in survey.points) if survey else 0
        remarks = {"left out": len(left_out), "being measured": pending}
        self._remark.setText(" · ".join(f"{n} {what}" for what, n in remarks.items() if n))
        self._remark.setToolTip("\n".join(f"{each.title}: {each.reason}" for each in left_out))
        wide = any(point.bits_per_weight > NARROW for point in survey.points) if survey else True
        self._wide.show_refusals({} if wide else {True: "No format needs more bits on this tensor."})

    def show_choice(self, spec: QuantSpec) -> None:
        self.chart.show_current(spec.format.name)
        if self.chart.needs_wide and not self._wide.value:
            self._wide.show_value(True)
            self.chart.show_wide(True)

    def facts(self, spec: QuantSpec) -> str:
        if "granularity" not in spec.format.applies:
            return ""
        return f"per {spec.granularity.title.lower()} · {spec.observer.title}"

    def _on_wide(self, wide: object) -> None:
        self.chart.show_wide(bool(wide))
