"""Rules that see a problem in a run's result, say it in a sentence, and name the job that helps."""

from qexplorer.engine.advice.accuracy import dropped, trained
from qexplorer.engine.advice.base import JobAdvice as JobAdvice
from qexplorer.engine.advice.base import Rule
from qexplorer.engine.advice.layers import more_samples, no_faster, one_layer, shifted
from qexplorer.engine.runs.results import RunResult

RULES: tuple[Rule, ...] = (dropped, trained, no_faster, one_layer, shifted, more_samples)


def advise_on(result: RunResult) -> list[JobAdvice]:
    """All that is to be said of a run."""
    return [advice for rule in RULES for advice in rule(result)]
