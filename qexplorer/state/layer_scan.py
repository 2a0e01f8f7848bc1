"""`LayerScan`: the scan of all tensors of the open file, in the background; it can be stopped and goes on later."""

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from qexplorer.folders import write_whole
from qexplorer.inspection.scan import Scan
from qexplorer.inspection.scan_table import as_csv
from qexplorer.progress import Progress, Steps
from qexplorer.quant.metrics import Metrics
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.state.latest import CALM_MS, Latest
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Done, Failed, Runner
from qexplorer.state.store import Store
from qexplorer.text import printable

SCAN_LIMIT = 64_000_000
"""Files up to so many values are scanned by themselves."""
MOST = 4
"""So many recipes can be pinned beside the current one."""
RANK = 2
"""It gives way to surveys."""
TITLE = "Scanning"


class LayerScan(QObject):
    """Holds the scan that is shown: of the recipe in use, then of those that are pinned.

    Files of at most `SCAN_LIMIT` values are scanned by themselves, under the pinned recipes only while somebody
    watches; larger ones when `start` is called. A choice that changes stops the work and leaves what was found to be
    seen, as `outdated`.
    """

    restarted = Signal()  # another scan, or none: rows that were taken before are void
    grew = Signal()  # there may be new rows
    changed = Signal()  # it began, stopped, ended, or no longer shows what is chosen
    failed = Signal(object)  # Failed: a bug, for what is wrong with a tensor is said in its row
    saved = Signal(object)  # Done | Failed
    measured = Signal(str, float)  # tensor name, its SQNR in dB under the recipe in use
    lost = Signal(str)  # tensor name: whatever its SQNR, next to nothing is left of it
    flagged = Signal(str, object)  # tensor name, its Flags
    cleared = Signal()  # the SQNRs are no longer those of the recipe in use

    def __init__(self, store: Store, preview: Preview, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._preview = store, preview
        self._latest, self._saving = Latest(runner, rank=RANK, parent=self), Latest(runner, parent=self)
        self._latest.began.connect(self.changed)
        self._latest.progressed.connect(self._on_grown)
        self._latest.ended.connect(self._on_stopped)
        self.scan: Scan | None = None
        self._told = 0
        self._watched = self._stopped = False
        store.changed.connect(self._on_changed)
        preview.opened.connect(self._on_opened)
        preview.refused.connect(self._on_refused)
        preview.analyzed.connect(self._tell_shown)

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What is to be compared: what the recipe in use does to weights, then the pinned ones."""
        return (self._store.state.recipe.weights_only, *self._store.state.compared)

    @property
    def running(self) -> bool:
        """Whether tensors are being measured."""
        return self._latest.task is not None

    @property
    def outdated(self) -> bool:
        """Whether the rows are of other recipes than the chosen ones."""
        return self.scan is not None and self.scan.recipes != self.recipes

    @property
    def resumable(self) -> bool:
        """Whether the scan of what is chosen was stopped half way."""
        return self.scan is not None and not (self.running or self.outdated or self.scan.complete)

    @property
    def idle(self) -> bool:
        """Whether nothing is being computed or about to be."""
        return self._latest.idle and self._saving.idle

    @property
    def small(self) -> bool:
        """Whether the open file is scanned without being asked to."""
        checkpoint = self._preview.checkpoint
        return checkpoint is not None and checkpoint.n <= SCAN_LIMIT

    @property
    def fraction(self) -> float | None:
        """How much of the bytes was read; `None` where that is not known."""
        task = self._latest.task
        return task.progress.fraction if task is not None and task.progress else None

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the bytes that were read since it began or went on; `None` while it would be a guess."""
        return self._latest.task.seconds_left if self._latest.task is not None else None

    def watch(self, watched: bool) -> None:
        """Say whether somebody looks at the rows."""
        self._watched = watched
        self._begin_soon(0)

    def start(self) -> None:
        """Scan all tensors, or go on where that was stopped; anew where all is done."""
        analyses = self._preview.analyses
        if analyses is None or self.running:
            return
        if self.scan is not None and self.scan.complete and not self.outdated:
            analyses.forget()
            self.scan = None
        self._stopped = False
        self._latest.ask(lambda: self._steps(self.recipes), TITLE, self._on_ended)

    def stop(self) -> None:
        """Stop after the step at hand; `start` goes on from there."""
        self._stopped = True
        self._halt()

    def save(self, path: Path) -> None:
        """Write what was found so far as CSV; `saved` tells how that ended."""
        if self.scan is not None:
            self._saving.ask(partial(_write, self.scan, path), f"Saving {path.name}", self.saved.emit)

    def pin(self) -> None:
        """Keep the current recipe as one that is compared, if there is room."""
        current, *pinned = self.recipes
        if len(pinned) < MOST and current not in pinned:
            self._store.update(compared=(*pinned, current))

    def unpin(self, recipe: Recipe) -> None:
        """Compare that recipe no longer."""
        self._store.update(compared=tuple(each for each in self._store.state.compared if each != recipe))

    def hold(self, held: bool) -> None:
        """Let the scan wait, or go on."""
        self._latest.hold(held)

    def close(self) -> bool:
        """Stop all work; whether it stopped in time."""
        return self._latest.close()

    def _begin_soon(self, calm_ms: int = CALM_MS) -> None:
        """Scan a small file once nothing more is chosen, unless that is done or the person has stopped it."""
        wanted = self.recipes if self._watched else self.recipes[:1]
        if self.small and not self._stopped and not self._suffices(wanted):
            self._latest.ask(lambda: self._steps(wanted), TITLE, self._on_ended, calm_ms=calm_ms)

    def _suffices(self, wanted: tuple[Recipe, ...]) -> bool:
        """Whether the scan says all that somebody wants to see, or is about to: beside the table only the recipe in use
        counts.
        """
        scan = self.scan
        if scan is None or not (scan.complete or self.running):
            return False
        return scan.recipes == wanted if self._watched or self.running else wanted[0] in scan.recipes

    def _steps(self, recipes: tuple[Recipe, ...]) -> Steps[object] | None:
        """The scan under these recipes, from where the last one stopped if that was of the same ones."""
        analyses = self._preview.analyses
        if analyses is None:
            return None
        if self.scan is None or self.scan.recipes != recipes:
            self.scan, self._told = Scan(analyses, recipes, whole=self.small), 0
            self.restarted.emit()
        return self.scan.steps()

    def _halt(self) -> None:
        running = self.running
        self._latest.drop()
        if running:
            self.changed.emit()

    def _clear(self) -> None:
        self._halt()
        self.scan, self._stopped = None, False
        self.restarted.emit()
        self.changed.emit()
        self.cleared.emit()

    def _tell_rows(self) -> None:
        """Tell the SQNRs of the rows that were not told yet, if they are of the recipe in use."""
        scan, recipe = self.scan, self.recipes[0]
        if scan is None or recipe not in scan.recipes:
            return
        at, rows = scan.recipes.index(recipe), scan.new_rows(self._told)
        self._told += len(rows)
        for row in rows:
            self.flagged.emit(row.name, row.flags)
            if row.n > 1 and not row.trouble and not row.figures[at].refusal:
                self._tell(row.name, row.figures[at].metrics)

    @Slot(object, object)
    def _on_changed(self, old: AppState, new: AppState) -> None:
        weights = new.recipe.weights_only != old.recipe.weights_only
        if not weights and old.compared == new.compared:
            return
        self._halt()
        self._stopped = False
        self.changed.emit()
        if weights:
            self.cleared.emit()
            self._told = 0
            self._tell_rows()
            self._tell_shown()
        self._begin_soon()

    @Slot()
    def _tell_shown(self) -> None:
        """Tell the SQNR of the tensor that is shown, where it is no rough one."""
        analysis, state = self._preview.analysis, self._store.state
        if analysis is not None and analysis.spec == self._preview.spec and analysis.coverage == "exact":
            self._tell(state.tensor, analysis.metrics)

    def _tell(self, name: str, metrics: Metrics) -> None:
        self.measured.emit(name, metrics.sqnr_db)
        if metrics.lost:
            self.lost.emit(name)

    @Slot(object)
    def _on_opened(self, checkpoint: object) -> None:
        del checkpoint
        self._clear()
        self._begin_soon()

    @Slot(object)
    def _on_refused(self, failed: Failed) -> None:
        del failed
        if self._preview.checkpoint is None:
            self._clear()

    @Slot()
    def _on_grown(self) -> None:
        self._tell_rows()
        self.grew.emit()

    def _on_ended(self, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):
            self._stopped = True
            self.failed.emit(outcome)

    @Slot()
    def _on_stopped(self) -> None:
        """Of one that was stopped there are rows, too: it ends a step later."""
        self._on_grown()
        self.changed.emit()


def _write(scan: Scan, path: Path) -> Steps[int]:
    """Write the table of a scan; returns its size in bytes."""
    yield Progress("Saving")
    return write_whole(path, as_csv(scan.rows, scan.recipes, printable(scan.checkpoint.path.name)).encode())
