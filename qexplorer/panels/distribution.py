"""Distribution: the tensor's values, before and after."""

from typing import ClassVar

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QStackedLayout, QWidget

from qexplorer.numbers import count, shape
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.quant import Analysis
from qexplorer.quant.flags import NO_FLAGS
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.windows import bulk_of, outliers_of
from qexplorer.state.app_state import AppState
from qexplorer.state.closer_look import Inspection
from qexplorer.state.preview import Kept
from qexplorer.state.runner import Failed, Task
from qexplorer.text import printable
from qexplorer.widgets.distribution_plot import DistributionPlot
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.metrics_list import sqnr_bound
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.tensor_head import TensorHead
from qexplorer.widgets.theme import LIGHT, Theme

NOTHING = ("Nothing to draw yet", "Open weights and select a tensor: its values appear here, before and after.")
NOTICEABLE_S = 0.3
LAGS = "The plot and the figures are still for the previous choice."


class Swatch(QWidget):
    """A sample of how a series is drawn, with its name: a filled box, or a stem."""

    def __init__(self, role: str, text: str, *, stem: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._role, self._text, self._stem = role, text, stem
        self.theme = LIGHT
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.theme = theme
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(20 + self.fontMetrics().horizontalAdvance(self._text), self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        middle = self.height() / 2
        if self._stem:
            for x in (3.0, 7.0, 11.0):
                painter.fillRect(
                    QRectF(QPointF(x - 1, middle - 5), QPointF(x + 1, middle + 5)), self.theme.color(self._role)
                )
        else:
            box = QRectF(1, middle - 4.5, 12, 9)
            painter.fillRect(box, self.theme.color(self._role, 0.35))
            painter.setPen(self.theme.color(self._role))
            painter.drawRect(box)
        painter.setPen(self.theme.color("text"))
        painter.drawText(QRectF(19, 0, self.width(), self.height()), Qt.AlignmentFlag.AlignVCenter, self._text)


KEPT = "Kept as it is"


@panels.register
class DistributionPanel(Panel):
    """The tensor's name over its picture, with clip limits that can be dragged."""

    name: ClassVar[str] = "distribution"
    title: ClassVar[str] = "Distribution"
    order: ClassVar[int] = 20
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 3, "weights", across=True, width=41, height=22),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.head = TensorHead()
        self.plot = DistributionPlot()
        self._empty = Placeholder(*NOTHING, "Open &weights …")
        content = QWidget()
        self._stack = QStackedLayout(content)
        self._stack.addWidget(self._empty)
        self._picture = self._with_legend()
        self._stack.addWidget(self._picture)
        self.body.addWidget(self.head)
        self.body.addWidget(content, 1)
        self._counts = Segmented([(False, "Linear"), (True, "Log")], "Count axis")
        self._counts.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._counts.setToolTip("Linear counts show the shape, logarithmic ones the outliers")
        self._counts.chosen.connect(self._on_counts)
        self._counts.show_value(parts.store.state.log_counts)
        self.plot.show_log(parts.store.state.log_counts)
        self.plot.looked_at.connect(self._on_looked)
        parts.closer.seen.connect(self.plot.show_window)
        parts.closer.inspected.connect(self._on_inspected)
        self.plot.clip_dragged.connect(self._on_clip_dragged)
        self.plot.menu.failed.connect(self.banner.show_message)
        self.plot.clip_released.connect(parts.store.end_drag)
        self._empty.pressed.connect(self.open_pressed)
        parts.preview.analyzed.connect(self.show_analysis)
        parts.preview.failed.connect(self.show_failed)
        parts.preview.progressed.connect(self._on_progressed)
        parts.preview.refused.connect(self._on_refused)
        parts.store.changed.connect(self._on_changed)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)

    def _with_legend(self) -> QWidget:
        """The plot, and what its colours mean beside the title of its axis, where there is room."""
        self._swatches = (Swatch("original", "Original", stem=False), Swatch("dequantized", "Dequantized", stem=True))
        self._swatches[0].setToolTip("Values of the file, counted in bins; heights are values per width of the axis")
        self._swatches[1].setToolTip("What they become: each stem is one level, its count spread over its step")
        legend, picture = QWidget(), QWidget()
        row, grid = QHBoxLayout(legend), QGridLayout(picture)
        row.setContentsMargins(12, 0, 0, 1)
        row.setSpacing(14)
        for swatch in self._swatches:
            row.addWidget(swatch)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.plot, 0, 0)
        grid.addWidget(legend, 0, 0, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom)
        return picture

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addStretch()
        row.addWidget(self._counts)
        row.setSpacing(16)

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self.plot.show_theme(theme)
        for swatch in self._swatches:
            swatch.show_theme(theme)
        self.head.show_theme(theme)

    def show_analysis(self, analysis: Analysis) -> None:
        """Draw a result."""
        state = self.parts.store.state
        self.banner.clear()
        self._stack.setCurrentWidget(self._picture)
        checkpoint = self.parts.preview.checkpoint
        dtype = checkpoint.by_name[state.tensor].dtype if checkpoint else ""
        role = checkpoint.roles[state.tensor] if checkpoint else None
        n = analysis.metrics.n
        rounded = " rounded to float32" if dtype == "float64" else ""
        facts = f"{shape(analysis.shape)} · {count(n)} value{'s' if n != 1 else ''} · {dtype}{rounded}"
        if role is not None and not role.weighs:
            facts += f" · {role.name.replace('_', ' ')}"
        self.head.show_text(printable(state.tensor), facts, f"Role: {role.name}. {role.reason}" if role else "")
        self._show_flags()
        self.head.show_coverage(analysis.coverage, analysis.coverage_n, sqnr_bound(analysis), analysis.for_this_range)
        self.plot.show_analysis(analysis, (state.path, state.tensor))
        self._on_looked()
        self.plot.menu.subject = self.subject_text

    def _on_looked(self) -> None:
        """Count anew where only a part of the axis is seen."""
        self.parts.closer.look(self.plot.view if self.plot.zoomed else None)

    def _on_inspected(self, found: Inspection) -> None:
        """Mark what lies far out, and say what is odd."""
        bulk, whole = bulk_of(found.sketch), found.sketch
        if bulk is not None:
            far = whole.values[(whole.values < bulk[0]) | (whole.values > bulk[1])]
            self.plot.show_outliers(bulk, outliers_of(whole, bulk), far.astype(np.float64))
        self._show_flags()

    def _show_flags(self) -> None:
        """Say over the picture what is odd about the tensor's values."""
        analyses = self.parts.preview.analyses
        known = analyses.flags if analyses is not None else {}
        self.head.show_flags(known.get(self.parts.store.state.tensor, NO_FLAGS))

    def show_failed(self, failed: Failed) -> None:
        """Say why the tensor could not be shown."""
        self.plot.show_analysis(None)
        self.head.show_text(printable(self.parts.store.state.tensor), "")
        self._show_flags()
        self.head.show_coverage("", 0)
        if isinstance(failed.error, Kept):
            self.banner.clear()
            self._empty.show_text(KEPT, failed.error.remedy, button=False)
            self._stack.setCurrentWidget(self._empty)
        else:
            self.banner.show_message(failed.message, failed.details)

    def _on_refused(self, failed: Failed) -> None:
        del failed
        if self.parts.preview.checkpoint is not None:
            return
        self.plot.show_analysis(None)
        self._empty.show_text(*NOTHING)
        self._stack.setCurrentWidget(self._empty)
        self.head.show_text("", "")
        self.head.show_coverage("", 0)

    def _on_progressed(self, task: Task) -> None:
        """Say that the picture lags behind the choice, once it does so noticeably."""
        if not self.parts.preview.busy or task.seconds < NOTICEABLE_S:
            return
        phase, share = (task.progress.phase, task.progress.fraction) if task.progress else ("Measuring", None)
        text = phase.lower() + (f" {share:.0%}" if share else " …")
        self.head.show_work(text, LAGS)
        self._empty.show_text(f"{phase} …", printable(task.title), button=False)

    def _on_counts(self, log: object) -> None:
        self.parts.store.update(log_counts=bool(log))

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.log_counts != old.log_counts:
            self._counts.show_value(new.log_counts)
            self.plot.show_log(new.log_counts)

    def _on_clip_dragged(self, lo: float, hi: float) -> None:
        spec = self.parts.preview.spec
        if spec is not None:
            limits = Fixed(float(f"{lo:.4g}"), float(f"{hi:.4g}"))
            self.parts.rules.adopt(spec.adopt("observer", limits), drag="clip")
