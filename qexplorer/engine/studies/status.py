"""The status of each run of a study, while it runs and when it has ended."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.engine.studies.study import Study, StudyRun
from qexplorer.progress import Progress

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass(frozen=True)
class RunStatus:
    """A run of a study and its `status`: waiting, running, done or failed; it keeps it where the study is cancelled.

    `rows` are those of its result, the float model first; `seconds` is what the run took; `error` is the message of a
    failed one; `worker` says where it ran, and is empty for this process.
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

    @property
    def ended(self) -> bool:
        """Whether it is done or failed."""
        return self.status in (DONE, FAILED)


@dataclass(frozen=True, slots=True)
class StudyProgress(Progress):
    """Progress with the status of every run, so a reader may skip some."""

    study_id: str = ""
    runs: tuple[RunStatus, ...] = ()


@dataclass(frozen=True)
class StudyResult:
    """A study whose runs have all ended. `notes` are sentences about anything unexpected, such as lost workers."""

    study_id: str
    title: str
    runs: tuple[RunStatus, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return sum(run.status == FAILED for run in self.runs)


class StudyStatus:
    """The status of a study in progress: that of each run by its key."""

    def __init__(self, study: Study, study_id: str) -> None:
        self.study = study
        self.study_id = study_id
        self._runs = {run.key: RunStatus(run.number, run.key, run.label, run.job.name, run.settings)
                      for run in study.runs}  # fmt: skip
        self._notes: list[str] = []
        self.ended = 0
        """How many runs have ended."""

    def __getitem__(self, key: str) -> RunStatus:
        return self._runs[key]

    @property
    def left(self) -> list[StudyRun]:
        """The runs that have not ended, in their order."""
        return [run for run in self.study.runs if not self._runs[run.key].ended]

    def change(self, key: str, **changes: Any) -> None:
        """Change the status of a run; one that has ended stays as it is."""
        if not self._runs[key].ended:
            self._runs[key] = dataclasses.replace(self._runs[key], **changes)
            self.ended += self._runs[key].ended

    def finish(self, key: str, result: RunResult) -> None:
        """Set a run to done."""
        self.change(key, status=DONE, run_id=result.run_id, fraction=1.0, phase="", rows=result.rows,
                    seconds=result.seconds)  # fmt: skip

    def fail(self, key: str, error: str) -> None:
        """Set a run to failed, with the message for the user."""
        self.change(key, status=FAILED, fraction=1.0, phase="", error=error)

    def note(self, sentence: str) -> None:
        """Add a note to the result."""
        self._notes.append(sentence)

    def progress(self, phase: str) -> StudyProgress:
        """A snapshot of the whole study."""
        runs = tuple(self._runs.values())
        fraction = sum(run.fraction for run in runs) / len(runs)
        return StudyProgress(phase, fraction=fraction, study_id=self.study_id, runs=runs)

    def result(self) -> StudyResult:
        """The result of the study."""
        return StudyResult(self.study_id, self.study.title, tuple(self._runs.values()), tuple(self._notes))
