"""Compare: every run's size against its accuracy, and two of them sample by sample."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from qexplorer.engine.datasets import Data, open_dataset
from qexplorer.engine.runs.compare import Candidate, candidate, paired
from qexplorer.engine.runs.findings import TrainingFindings
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import SIMULATED, Row, RunResult
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.panels.titles import job_title, row_title
from qexplorer.presentation import Paired
from qexplorer.progress import Progress, Steps
from qexplorer.state.chosen_runs import SHOWN, Line
from qexplorer.state.runner import Done, Failed
from qexplorer.widgets.contingency import PairedTest
from qexplorer.widgets.controls import Button, caption
from qexplorer.widgets.elided import subject
from qexplorer.widgets.flips_grid import Flip, FlipsGrid
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.size_accuracy_plot import SizeAccuracyPlot
from qexplorer.widgets.size_point import SizePoint
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import thin_scroll_bars

MOST_IMAGES = 500
T = TypeVar("T")
Pair = tuple[Candidate, Candidate, Paired]
NOTHING = ("Nothing to compare yet", "Run a job: each model appears here by its size and its accuracy.")
NO_RESULT = ("Nothing to compare", "The selected run has no result: select one that is done in Runs.")


@dataclass
class Comparable:
    """Results that can stand in one picture, and how many runs cannot, by why."""

    results: list[RunResult] = field(default_factory=list[RunResult])
    left_out: Counter[str] = field(default_factory=Counter[str])


@panels.register
class ComparePanel(Panel):
    """A scatter of all rows tested on the same data; the paired test of two rows, and the images that changed."""

    name: ClassVar[str] = "compare"
    title: ClassVar[str] = "Compare"
    order: ClassVar[int] = 28
    places: ClassVar[tuple[Place, ...]] = (Place("quantize", 5, "result", tabbed=True),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self.plot, self.test, self.flips = SizeAccuracyPlot(), PairedTest(), FlipsGrid()
        self._empty = Placeholder(*NOTHING)
        self._pair_hint = Placeholder(
            "Choose two rows", "Select two rows in Runs (Ctrl and click): who is right where the other is wrong?"
        )
        head, content = QWidget(), QWidget()
        self.body.addWidget(head)
        self._stack = QStackedLayout(content)
        self._pair = self._pair_page()
        for widget in (self._empty, self.plot, self._pair_hint, self._pair):
            self._stack.addWidget(widget)
        content.setContentsMargins(8, 0, 8, 4)
        self.body.addWidget(content, 1)
        self._left_out = caption("")
        self._left_out.setContentsMargins(12, 0, 12, 4)
        self._left_out.setWordWrap(True)
        self.body.addWidget(self._left_out)
        self._subject = subject()
        self._which = Segmented([("size", "Size"), ("pair", "Pair")], "What is compared")
        self._which.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._which.setToolTip("Size: every run by its size and accuracy. Pair: two selected rows image by image")
        self._which.show_value("size")
        self._which.chosen.connect(self._on_which)
        self._images = Button("Show images")
        self._images.setVisible(False)
        self._images.setObjectName("show_images")
        self._images.setAccessibleName("Show the images that changed")
        self._images.setToolTip("Read the data set, and show the images on which the two differ")
        self._images.clicked.connect(self._on_images)
        row = QHBoxLayout(head)
        row.setContentsMargins(12, 0, 12, 0)
        row.addWidget(self._subject, 1)
        for control in (self._images, self._which):
            row.addWidget(control)
        self._found: Pair | None = None
        self._in_sight = False
        self.plot.chosen.connect(self._on_point)
        parts.runs.changed.connect(self.reload)
        parts.runs.history_changed.connect(self.reload)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)
        self.reload()

    def _pair_page(self) -> QScrollArea:
        """The test and the images; it scrolls, so that it takes no room from other panels."""
        page, content = QScrollArea(), QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.test)
        column.addWidget(self.flips, 1)
        page.setWidget(content)
        page.setWidgetResizable(True)
        page.setFrameShape(QFrame.Shape.NoFrame)
        page.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        page.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        content.setAutoFillBackground(False)
        return page

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        for widget in (self.plot, self.test, self.flips):
            widget.show_theme(theme)
        thin_scroll_bars(self._pair, theme)

    def show_in_sight(self, in_sight: bool) -> None:
        self._in_sight = in_sight
        self.reload()

    def reload(self) -> None:
        """Show what is chosen now; results are read only while somebody sees them."""
        if not self._in_sight:
            return
        self._images.setVisible(False)
        self._images.setEnabled(True)
        history, own, lines = self.parts.history, self.parts.runs.result, self.parts.runs.lines
        if self._which.value == "size":
            self._read(partial(_comparable, history, own), "Reading results", self._show_points)
        elif len(lines) == 2:
            self._read(partial(_pair, history, lines), "Reading predictions", self._show_pair)
        else:
            self.parts.comparing.drop()
            self.banner.clear()
            self._show_no_pair()

    def _show_points(self, found: Comparable) -> None:
        results, runs = found.results, self.parts.runs
        points = [point for i, result in enumerate(results) for point in _points(result)[bool(i) :]]  # one float model
        self.banner.clear()
        self.plot.show_points(points)
        self.plot.show_chosen(runs.lines)
        first = results[0] if results else None
        self._show_subject(f"{first.model.name} on {first.data.name}" if first else "", _told(found.left_out))
        self._empty.show_text(*(NOTHING if runs.run is None else NO_RESULT))
        self._stack.setCurrentWidget(self.plot if points else self._empty)

    def _show_subject(self, text: str, left_out: str = "") -> None:
        self._subject.setText(text)
        self._left_out.setText(left_out)
        self._left_out.setVisible(bool(left_out))

    def _show_no_pair(self) -> None:
        self._found = None
        self._show_subject("")
        self._stack.setCurrentWidget(self._pair_hint)

    def _show_pair(self, pair: Pair) -> None:
        self.banner.clear()
        first, second, found = self._found = pair
        a, b = self._name(first), self._name(second)
        names = (a, b) if a != b else (f"{a} (1)", f"{b} (2)")
        self.test.show_test(*names, found)
        n = len(found.changed)
        self._show_subject(f"{n} of {len(first.labels)} predictions differ")
        self._images.setVisible(n > 0)
        self.flips.show_flips([])
        self.flips.setVisible(not n)  # until the images were read there is none to show
        self._stack.setCurrentWidget(self._pair)

    def _name(self, own: Candidate) -> str:
        """A row as the table of runs calls it."""
        result = self.parts.runs.known.results.get(own.run_id)
        rows = result.rows if result is not None else ()
        return next((_point_title(result, row) for row in rows if result and row.name == own.row), own.row)

    def _on_which(self, value: object) -> None:
        self._which.show_value(value)
        self.reload()

    def _on_point(self, key: object) -> None:
        if isinstance(key, tuple):
            self.parts.runs.choose((key,))

    def _on_images(self) -> None:
        result = self.parts.runs.result
        if self._found is not None and result is not None:
            self._images.setEnabled(False)
            first, _, found = self._found
            steps = partial(_images, str(result.settings["data"]), first.data, found.changed)
            self._read(steps, "Reading images", self._show_images)

    def _show_images(self, images: list[Any]) -> None:
        if self._found is not None:
            first, second, found = self._found
            flips = [Flip(image, int(first.labels[i]), int(first.predictions[i]), int(second.predictions[i]), int(i))
                     for i, image in zip(found.changed, images, strict=False)]  # fmt: skip
            self.flips.show_flips(flips)
            self.flips.show()
            QTimer.singleShot(0, self, lambda: self._pair.ensureWidgetVisible(self.flips))  # once it is laid out
            self._images.setVisible(False)

    def _read(self, steps: Callable[[], Steps[T]], title: str, show: Callable[[T], None]) -> None:
        """Read something and show it, unless something else is asked for meanwhile."""

        def tell(outcome: Done | Failed) -> None:
            self._images.setEnabled(True)
            if isinstance(outcome, Done):
                show(outcome.result)
                return
            self.banner.show_message(outcome.message, outcome.details)
            if show == self._show_pair:
                self._show_no_pair()

        self.parts.comparing.ask(steps, title, tell)


def _comparable(history: History, own: RunResult | None) -> Steps[Comparable]:
    """The results on the same model's weights and the same samples as the run that is looked at."""
    yield Progress("Reading the run history")
    found = Comparable()
    for run in history.runs() if own is not None else ():
        if run.result_json is None or own is None:
            continue
        yield Progress("Reading results", len(found.results))
        try:
            result = RunResult.from_json(run.result_json)
        except UserError:
            found.left_out["that cannot be read"] += 1
            continue
        if why := _difference(result, own) or ("older than those" if len(found.results) == SHOWN else ""):
            found.left_out[why] += 1
        else:
            found.results.append(result)
    return found


def _difference(result: RunResult, own: RunResult) -> str:
    """Why two results have no place in one picture; empty where they have."""
    if result.model.sha256 != own.model.sha256:
        return "of other weights"
    if result.data.sha256 != own.data.sha256:
        return "on other data"
    n = result.rows[0].n
    return f"tested on {n:,} samples" if n != own.rows[0].n else ""


def _told(left_out: Counter[str]) -> str:
    """How many runs are left out, and why."""
    n = left_out.total()
    whys = ", ".join(f"{count} {why}" for why, count in left_out.most_common())
    return f"Left out: {n} {'run' if n == 1 else 'runs'} – {whys}." if n else ""


def _pair(history: History, lines: tuple[Line, ...]) -> Steps[Pair]:
    """Two rows of runs, sample by sample. Raises `UserError` where they cannot be paired."""
    yield Progress("Reading predictions")
    first, second = (candidate(history, *line) for line in lines)
    return first, second, paired(first, second)


def _images(name: str, sha256: str, places: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Steps[list[object]]:
    """The test images at these places, the first of them. Raises `UserError` where the data is not what it was."""
    yield Progress("Reading the data set")
    data: Data = yield from open_dataset(name)
    if data.sha256 != sha256:
        raise UserError(f"The data {name} is not what it was when the runs were made.", "Run both again.")
    return [data.x_test[i] for i in places[:MOST_IMAGES]]


def _point_title(result: RunResult, row: Row) -> str:
    """A row where rows of several jobs stand side by side."""
    title = row_title(result, row)
    trained = isinstance(result.findings, TrainingFindings)  # of others, the specs say enough
    plain = row == result.rows[0] or (row.kind == SIMULATED and not trained)
    return title if plain else f"{job_title(result.job)} · {title}"


def _points(result: RunResult) -> list[SizePoint]:
    points: list[SizePoint] = []
    for i, row in enumerate(result.rows):
        key: Line = (result.run_id, row.name)
        points.append(SizePoint(key, _point_title(result, row), row.bytes_on_disk, row.bytes_theoretical, row.top1,
                                row.top1_ci95, row.kind == "REAL", reference=i == 0))  # fmt: skip
    return points
