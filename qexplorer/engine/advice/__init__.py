"""Rules that see a problem in a run's result, say it in a sentence, and name the job that helps."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qexplorer.engine.advice.accuracy import dropped, trained
from qexplorer.engine.advice.base import JobAdvice as JobAdvice
from qexplorer.engine.advice.base import Rule
from qexplorer.engine.advice.layers import more_samples, no_faster, one_layer, shifted
from qexplorer.engine.runs.results import RunResult

RULES: tuple[Rule, ...] = (dropped, trained, no_faster, one_layer, shifted, more_samples)


def advise_on(result: RunResult) -> list[JobAdvice]:
    """All that is to be said of a run; where the same would help several rows it is said once, of all of them."""
    found: list[JobAdvice] = []
    for advice in (advice for rule in RULES for advice in rule(result)):
        alike = [i for i, each in enumerate(found) if each.job and _remedy(each) == _remedy(advice)]
        for i in alike:
            sentence = f"{found[i].sentence} {advice.sentence}"
            found[i] = replace(found[i], sentence=sentence, rows=(*found[i].rows, *advice.rows))
        if not alike:
            found.append(advice)
    return found


def document(result: RunResult) -> dict[str, Any]:
    """The document of a run with the advice on it: on all of it, and on each row."""
    own, advice = result.document(), advise_on(result)
    rows = [{**row, "advice": [each.to_json() for each in advice if row["name"] in each.rows]} for row in own["rows"]]
    return {**own, "rows": rows, "advice": [each.to_json() for each in advice]}


def _remedy(advice: JobAdvice) -> tuple[str, Mapping[str, Any]]:
    return advice.job, advice.settings
