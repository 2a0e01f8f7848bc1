"""How each cell of a study stands, while it runs and when it has ended."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from qexplorer.cluster.study import Cell, Study
from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.progress import Progress

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass(frozen=True)
class CellState:
    """A cell and how it stands: waiting, running, done or failed. A study that is cancelled leaves the rest as it is.

    `rows` are those of its result, the float model first; `seconds` is what the run took; `error` is what the person
    has to hear of a failed one; `worker` says where it ran, and is empty for this process.
    """

    number: int
    key: str
    label: str
    job: str
    settings: dict[str, Any]
    status: str = WAITING
    run_id: str = ""
    fraction: float = 0.0
    phase: str = ""
    rows: tuple[Row, ...] = ()
    seconds: float = 0.0
    error: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class StudyProgress(Progress):
    """Progress with all cells as they stand; a reader that misses one loses nothing."""

    study_id: str = ""
    cells: tuple[CellState, ...] = ()


@dataclass(frozen=True)
class StudyResult:
    """A study whose cells have all ended. `notes` say in sentences what one might not expect, such as lost workers."""

    study_id: str
    title: str
    cells: tuple[CellState, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> int:
        """How many cells failed."""
        return sum(cell.status == FAILED for cell in self.cells)


class Board:
    """The cells of a study that runs, by their keys."""

    def __init__(self, study: Study, study_id: str) -> None:
        self.study = study
        self.study_id = study_id
        self._cells = {cell.key: _state(cell) for cell in study.cells}
        self._shares: dict[str, float] = {}
        """How far the cells that run are."""
        self._notes: list[str] = []
        self.ended = 0

    def __getitem__(self, key: str) -> CellState:
        return self._cells[key]

    @property
    def left(self) -> list[Cell]:
        """The cells that have not ended, in their order."""
        return [cell for cell in self.study.cells if self._cells[cell.key].status in (WAITING, RUNNING)]

    def change(self, key: str, **changes: Any) -> None:
        """Another state of a cell; one that ended stays as it is."""
        if self._cells[key].status in (DONE, FAILED):
            return
        cell = self._cells[key] = dataclasses.replace(self._cells[key], **changes)
        self._shares[key] = cell.fraction
        if cell.status in (DONE, FAILED):
            del self._shares[key]
            self.ended += 1

    def finish(self, key: str, result: RunResult) -> None:
        """A cell is done."""
        self.change(key, status=DONE, run_id=result.run_id, fraction=1.0, phase="", rows=result.rows,
                    seconds=result.seconds)  # fmt: skip

    def fail(self, key: str, error: str) -> None:
        """A cell has failed, with what the person has to hear of it."""
        self.change(key, status=FAILED, fraction=1.0, phase="", error=error)

    def note(self, sentence: str) -> None:
        """Something that one might not expect."""
        self._notes.append(sentence)

    def progress(self, phase: str) -> StudyProgress:
        """The whole study as it stands now."""
        fraction = (self.ended + sum(self._shares.values())) / len(self._cells)
        return StudyProgress(phase, fraction=fraction, study_id=self.study_id, cells=tuple(self._cells.values()))

    def result(self) -> StudyResult:
        """What came of it."""
        return StudyResult(self.study_id, self.study.title, tuple(self._cells.values()), tuple(self._notes))


def _state(cell: Cell) -> CellState:
    return CellState(cell.number, cell.key, cell.label, cell.job.name, cell.settings)
