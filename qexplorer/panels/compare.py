"""Compare: every run's size against its accuracy, and two of them sample by sample."""

from typing import Any, ClassVar

import numpy as np
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from qexplorer.engine.compare import Candidate, Paired, candidate, paired
from qexplorer.engine.datasets import Data, open_dataset
from qexplorer.engine.history import History
from qexplorer.engine.results import RunResult
from qexplorer.errors import UserError
from qexplorer.panels import Panel, Parts, Place, register
from qexplorer.progress import Progress, Steps
from qexplorer.state.chosen_runs import SHOWN, Line
from qexplorer.state.runner import Done, Failed, Runner, Task
from qexplorer.widgets.contingency import PairedCounts, PairedTest
from qexplorer.widgets.controls import Button
from qexplorer.widgets.elided import subject
from qexplorer.widgets.flips_grid import Flip, FlipsGrid
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.size_accuracy_plot import SizeAccuracyPlot
from qexplorer.widgets.size_point import SizePoint
from qexplorer.widgets.theme import Theme

MOST_IMAGES = 500
Pair = tuple[Candidate, Candidate, Paired]


@register
class ComparePanel(Panel):
    """A scatter of all rows tested on the same data; the paired test of two rows, and the images that changed."""

    name: ClassVar[str] = "compare"
    title: ClassVar[str] = "Compare"
    order: ClassVar[int] = 28
    place: ClassVar[Place] = Place(10, "distribution", tabbed=True)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._reading = Runner("reading", newest_wins=True, parent=self)
        self._reading.ended.connect(self._on_read)
        self.plot, self.test, self.flips = SizeAccuracyPlot(), PairedTest(), FlipsGrid()
        self._empty = Placeholder(
            "Nothing to compare yet", "Run a job: each model appears here by its size and its accuracy."
        )
        pair = QWidget()
        column = QVBoxLayout(pair)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.test)
        column.addWidget(self.flips, 1)
        self._pair_hint = Placeholder(
            "Choose two rows", "Select two rows in Runs (Ctrl and click): who is right where the other is wrong?"
        )
        content = QWidget()
        self._stack = QStackedLayout(content)
        for widget in (self._empty, self.plot, self._pair_hint, pair):
            self._stack.addWidget(widget)
        self._pair = pair
        content.setContentsMargins(8, 0, 8, 4)
        self.body.addWidget(content, 1)
        self._subject = subject()
        self._which = Segmented([("size", "Size"), ("pair", "Pair")], "What is compared")
        self._which.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._which.setToolTip("Size: every run by its size and accuracy. Pair: two selected rows image by image")
        self._which.show_value("size")
        self._which.chosen.connect(self._on_which)
        self._images = Button("Show images")
        self._images.setVisible(False)  # it would take room from other panels
        self._images.setObjectName("show_images")
        self._images.setAccessibleName("Show the images that changed")
        self._images.setToolTip("Read the data set, and show the images on which the two differ")
        self._images.clicked.connect(self._on_images)
        self._found: Pair | None = None
        self._task: Task | None = None
        self._in_sight = False
        self.plot.chosen.connect(self._on_point)
        parts.runs.changed.connect(self.reload)
        parts.runs.history_changed.connect(self.reload)
        parts.themes.changed.connect(self.show_theme)
        self.show_theme(parts.themes.current)
        self.reload()

    def fill_title(self, row: QHBoxLayout) -> None:
        row.addWidget(self._subject, 1)
        row.addWidget(self._images)
        row.addWidget(self._which)

    def close_work(self) -> None:
        self._reading.close()

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        for widget in (self.plot, self.test, self.flips):
            widget.show_theme(theme)

    def show_in_sight(self, in_sight: bool) -> None:
        self._in_sight = in_sight
        self.reload()

    @property
    def idle(self) -> bool:
        return not self._reading.unfinished

    def reload(self) -> None:
        """Show what is chosen now; results are read only while somebody sees them."""
        if not self._in_sight:
            return
        self._images.setVisible(False)
        history, own, lines = self.parts.history, self.parts.runs.result, self.parts.runs.lines
        if self._which.value == "size":
            self._task = self._reading.submit(_comparable(history, own), "Reading results", self._show_points)
        elif len(lines) == 2:
            self._task = self._reading.submit(_pair(history, lines), "Reading predictions", self._show_pair)
        else:
            self._task = None
            self._show_no_pair()

    def _show_points(self, results: list[RunResult]) -> None:
        points = [point for i, result in enumerate(results) for point in _points(result)[bool(i) :]]  # one float model
        self.plot.show_points(points)
        lines = self.parts.runs.lines
        if lines:
            self.plot.show_chosen(lines[0])
        self._subject.setText(f"{results[0].model['name']} on {results[0].data['name']}" if results else "")
        self._stack.setCurrentWidget(self.plot if points else self._empty)

    def _show_no_pair(self) -> None:
        self._found = None
        self.flips.show_flips([])
        self._subject.setText("")
        self._stack.setCurrentWidget(self._pair_hint)

    def _show_pair(self, pair: Pair) -> None:
        self.banner.clear()
        self.flips.show_flips([])
        first, second, found = self._found = pair
        names = (first.row, second.row) if first.row != second.row else (f"{first.row} (1)", f"{second.row} (2)")
        self.test.show_test(
            PairedCounts(*names, found.both, found.only_first, found.only_second, found.neither, found.p)
        )
        self._subject.setText(f"{len(found.changed)} predictions differ")
        self._images.setVisible(bool(len(found.changed)))
        self._stack.setCurrentWidget(self._pair)

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
            steps = _images(str(result.spec["data"]), self._found[0].data, self._found[2].changed)
            self._task = self._reading.submit(steps, "Reading images", self._show_images)

    def _show_images(self, images: list[Any]) -> None:
        if self._found is not None:
            first, second, found = self._found
            flips = [Flip(image, int(first.labels[i]), int(first.predictions[i]), int(second.predictions[i]), int(i))
                     for i, image in zip(found.changed, images, strict=False)]  # fmt: skip
            self.flips.show_flips(flips)
            self._images.setVisible(False)

    def _on_read(self, task: Task) -> None:
        """Show what was read, unless something else was asked for meanwhile."""
        self._images.setEnabled(True)
        if task is not self._task:
            return
        if isinstance(task.outcome, Done):
            task.about(task.outcome.result)
        elif isinstance(task.outcome, Failed):
            self.banner.show_message(task.outcome.message, task.outcome.details)
            if task.about == self._show_pair:
                self._show_no_pair()


def _comparable(history: History, own: RunResult | None) -> Steps[list[RunResult]]:
    """The results on the same model's weights and the same data as the run that is looked at."""
    yield Progress("Reading the run history")
    found: list[RunResult] = []
    for run in history.runs() if own is not None else ():
        if run.result_json is None or own is None or len(found) == SHOWN:
            continue
        yield Progress("Reading results", len(found))
        try:
            result = RunResult.from_json(run.result_json)
        except UserError:
            continue
        same = all(getattr(result, part)["sha256"] == getattr(own, part)["sha256"] for part in ("model", "data"))
        if same and result.rows[0].n == own.rows[0].n:
            found.append(result)
    return found


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


def _points(result: RunResult) -> list[SizePoint]:
    points: list[SizePoint] = []
    for i, row in enumerate(result.rows):
        key: Line = (result.run_id, row.name)
        title = row.name if i else "FP32"
        points.append(SizePoint(key, title, row.bytes_on_disk, row.bytes_theoretical, row.top1, row.top1_ci95,
                                row.kind == "REAL", reference=i == 0))  # fmt: skip
    return points
