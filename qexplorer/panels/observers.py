"""Observers: where each would clip the selected tensor, and what that costs."""

from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QWidget

from qexplorer.panels import Parts, Place, panels
from qexplorer.panels.survey import SurveyPanel
from qexplorer.quant import QuantSpec
from qexplorer.quant.survey import ObserverSurvey
from qexplorer.state.app_state import AppState
from qexplorer.widgets.controls import Button
from qexplorer.widgets.observer_plot import ObserverPlot
from qexplorer.widgets.observers_table import ObserversTable
from qexplorer.widgets.theme import Theme


class Lab(QWidget):
    """Picture and table: beside each other where there is width for both, else one over the other."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plot, self.table = ObserverPlot(), ObserversTable()
        self._row = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._row.setContentsMargins(0, 0, 8, 0)
        self._row.setSpacing(4)
        self._row.addWidget(self.plot, 3)
        self._row.addWidget(self.table, 2)
        self.table.pointed.connect(self.plot.show_pointed)
        rows = self.table.verticalHeader().defaultSectionSize()
        self.table.setMinimumHeight(self.table.minimumSizeHint().height() - 3 * rows)  # beside a picture half will do

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        beside = event.size().width() > 64 * self.fontMetrics().height()
        way = QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom
        if way != self._row.direction():
            self._row.setDirection(way)


@panels.register
class ObserversPanel(SurveyPanel):
    """A histogram with the clips of every observer, and a table of their figures."""

    name: ClassVar[str] = "observers"
    title: ClassVar[str] = "Observers"
    order: ClassVar[int] = 24
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 7, "distribution", tabbed=True),)
    kind: ClassVar[str] = "observers"
    empty: ClassVar[tuple[str, str]] = (
        "Nothing to compare yet",
        "Open weights and select a tensor to see where each observer would clip it, and what that costs.",
    )

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        self.lab = Lab()
        super().__init__(parts, self.lab, parent)
        self.plot, self.table = self.lab.plot, self.lab.table
        self._adopt = Button("Use selected")
        self._adopt.setAccessibleName("Use the selected observer")
        self._adopt.setToolTip("Quantize with the selected observer (Enter, or a double click on its row)")
        self._adopt.clicked.connect(self._on_adopt)
        self.table.chosen.connect(self.adopt)
        self.table.selectionModel().selectionChanged.connect(self._show_adopt)
        self.plot.menu.failed.connect(self.banner.show_message)
        self.plot.show_log(parts.store.state.log_counts)
        self.show_theme(parts.themes.current)
        self._show_adopt()

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        row.addWidget(self._adopt, 0, Qt.AlignmentFlag.AlignVCenter)

    def show_theme(self, theme: Theme) -> None:
        super().show_theme(theme)
        self.plot.show_theme(theme)
        self.table.show_theme(theme)

    def show_survey(self, survey: ObserverSurvey | None) -> None:
        if survey is not None and not survey.points:  # the format asks for no range
            self._clear("Nothing to compare", next((each.reason for each in survey.refused), ""))
            return
        self.plot.show_survey(survey, self.subject)
        self.plot.menu.subject = self.subject_text
        self.table.show_survey(survey)
        self._show_adopt()

    def show_choice(self, spec: QuantSpec) -> None:
        self.table.show_current(spec.observer.name)
        self._show_adopt()

    def facts(self, spec: QuantSpec) -> str:
        return spec.title

    def _on_changed(self, old: AppState, new: AppState) -> None:
        super()._on_changed(old, new)
        self.plot.show_log(new.log_counts)

    def _show_adopt(self) -> None:
        chosen, spec = self.table.selected, self.parts.preview.spec
        self._adopt.setEnabled(chosen is not None and spec is not None and chosen.observer != spec.observer)

    def _on_adopt(self) -> None:
        if self.table.selected is not None:
            self.adopt(self.table.selected)
