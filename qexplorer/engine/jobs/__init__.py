"""What can be done to a model: each file here is one job, started from the window or by `qexplorer run`."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from qexplorer.engine.jobs.presentation import Presentation, presentation_of
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.results import RunResult
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps


@dataclass(frozen=True)
class Job(Plugin):
    """A job's fields are its settings, each made by `setting`. One out of bounds is a `UserError` naming its field."""

    trainable: ClassVar[bool] = False
    """Whether training can go on from its simulation."""
    by_recipe: ClassVar[tuple[str, ...]] = ()
    """The settings that say how layers are quantized. The window has them in its recipe, and not among the job's own.
    """
    reported: ClassVar[tuple[str, ...]] = ()
    """The settings that decide what the rows are; a report has a column for each."""

    @property
    def taken(self) -> tuple[str, ...]:
        """The settings that an earlier run decides."""
        return ()

    @property
    def taken_from(self) -> str:
        """The id of that run; empty where there is none."""
        return ""

    def offered(self, name: str, history: History) -> Mapping[str, str] | None:
        """What the history adds to the offers of a setting, and what is to be said of each; None where it adds nothing.

        Raises `UserError` where the history cannot be read.
        """
        del name, history

    def settled(self, history: History) -> Self:
        """The job with what it takes over from earlier runs. Raises a `UserError` where one of them will not do."""
        del history
        return self

    def begin(self, history: History, journal: Journal) -> None:
        """Enter into the `journal` what the run has to know of earlier ones. Raises `UserError` where there is none."""

    def check(self) -> None:
        """Raise a `UserError` now for what would stop the job at its first step, such as a file that is not there."""

    @classmethod
    def present(cls, result: RunResult) -> Presentation:
        """What a result of this job looks like."""
        return presentation_of(result)

    @abstractmethod
    def run(self, folder: Path | None = None, journal: Journal | None = None) -> Steps[RunResult]:
        """Do it. Files go to `folder`; without one they are written, measured and thrown away.

        What the `journal` has as done is not done again, and what is finished is entered there. Raises `UserError` for
        what the person can mend. The result has no run id yet: `recorded` gives it one.
        """
        raise NotImplementedError


jobs = Registry[Job]("job")
jobs.discover(__name__, list(__path__))


def present(result: RunResult) -> Presentation:
    """What a result looks like."""
    return jobs[result.job].present(result) if result.job in jobs else presentation_of(result)
