"""What advice is, and what its rules ask of a result."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.runs.compare import mcnemar
from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.errors import UserError
from qexplorer.presentation import Advice
from qexplorer.quant.recipe import LayerSpec, Recipe
from qexplorer.settings import schema

DROP = 0.005
"""So small a loss of accuracy is not worth a remedy."""
CHANCE = 0.05


@dataclass(frozen=True)
class JobAdvice(Advice):
    """Advice of which the remedy is a job with these settings; those that are not named are the run's.

    `rows` are those of the run that it is about; none where it is about all of it.
    """

    job: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    rows: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """As `qexplorer run --json` prints it."""
        return {"sentence": self.sentence, "remedy": self.remedy, "job": self.job, "settings": dict(self.settings),
                "rows": list(self.rows)}  # fmt: skip

    def next_job(self, own: Mapping[str, Any]) -> Job:
        """The job that helps, after a run with these settings of its `own`."""
        cls = jobs[self.job]
        names = {each.name for each in schema(cls)}
        return cls(**{name: value for name, value in {**own, **self.settings}.items() if name in names})


Rule = Callable[[RunResult], Iterator[JobAdvice]]


def recipe_of(result: RunResult) -> Recipe:
    """The specs that a run was asked for; none where it has none, or another version wrote them."""
    texts = (str(result.settings.get(name, "")) for name in ("weight_spec", "activation_spec", "overrides"))
    try:
        return Recipe.parse(*texts)
    except UserError:
        return Recipe(LayerSpec())


def drop(result: RunResult, row: Row) -> float:
    """The loss of top-1, as a fraction."""
    return result.rows[0].top1 - row.top1


def chance(result: RunResult, row: Row) -> float:
    """The most that McNemar's p can be for the loss of a row, whichever of its flips made right answers wrong."""
    lost = round(drop(result, row) * row.n)
    changed = max(row.flips, abs(lost))
    only_first = (changed + lost) // 2
    return mcnemar(only_first, only_first - lost)
