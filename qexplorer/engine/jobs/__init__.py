"""What can be done to a model: each file here is one job, started from the window or by `qexplorer run`."""

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from qexplorer.engine.journal import Journal
from qexplorer.engine.results import RunResult
from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps

if TYPE_CHECKING:
    from qexplorer.engine.history import History


def setting(default: Any, title: str, help_text: str, **bounds: Any) -> Any:
    """A field with what a form or a command line needs to ask for it.

    `bounds`: `choices`, `minimum`, `maximum`; `browse` (`file` or `folder`) for a path; `offers`, texts that are
    offered beside any other; `empty`, what an empty text or a 0 stands for; `minor=True` for what a form may fold away,
    `wide=True` for what is long; `trial`, the job that shows first what the setting does.
    """
    return dataclasses.field(default=default, metadata={"title": title, "help": help_text, **bounds})


@dataclass(frozen=True)
class Job(Plugin):
    """A job's fields are its settings, each made by `setting`. One out of bounds is a `UserError` naming its field."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, title, bounds = getattr(self, f.name), f.metadata["title"], f.metadata
            if "choices" in bounds and value not in bounds["choices"]:
                remedy = f"Choose one of {', '.join(bounds['choices'])}."
                raise UserError(f"{title} cannot be “{value}”.", remedy, field=f.name)
            if "minimum" in bounds and value < bounds["minimum"]:
                raise UserError(f"{title} must be {bounds['minimum']} or more, not {value}.", field=f.name)
            if "maximum" in bounds and value > bounds["maximum"]:
                raise UserError(f"{title} must be {bounds['maximum']} or less, not {value}.", field=f.name)

    @property
    def taken(self) -> tuple[str, ...]:
        """The settings that an earlier run decides."""
        return ()

    def settled(self, history: "History") -> Self:
        """The job with what it takes over from earlier runs. Raises a `UserError` where one of them will not do."""
        del history
        return self

    def check(self) -> None:
        """Raise a `UserError` now for what would stop the job at its first step, such as a file that is not there."""

    @abstractmethod
    def run(self, folder: Path | None = None, journal: Journal | None = None) -> Steps[RunResult]:
        """Do it. Files go to `folder`; without one they are written, measured and thrown away.

        What the `journal` has as done is not done again, and what is finished is entered there. Raises `UserError` for
        what the person can mend. The result has no run id yet: `recorded` gives it one.
        """
        raise NotImplementedError


jobs = Registry[Job]("job")
jobs.discover(__name__, list(__path__))
