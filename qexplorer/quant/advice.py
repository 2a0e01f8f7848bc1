"""What to do about a tensor under a spec: each remedy was measured, and only those that help are offered."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qexplorer.numbers import decibels
from qexplorer.presentation import Advice
from qexplorer.progress import Steps
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.metrics import Metrics
from qexplorer.quant.moments import Shape, channel_sizes
from qexplorer.quant.outliers import cost_of, without
from qexplorer.quant.problems import POOR_DB, Case, Problem, problems_of
from qexplorer.quant.remedies import Bench, Measured, Remedies
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values

LEAST = 64
"""Fewer values are not worth advice."""
SEARCHED = 1 << 26
"""Where more values are to be searched, which takes minutes, only plain remedies are tried."""
OFFERED = 2
"""At most so many remedies for one problem."""


@dataclass(frozen=True)
class SpecAdvice(Advice):
    """Advice of which the remedy is another spec, with the SQNR and the bits a weight that were measured with it; none
    of them where nothing helps.
    """

    spec: QuantSpec | None = field(default=None, kw_only=True)
    sqnr_db: float | None = field(default=None, kw_only=True)
    bits_per_weight: float | None = field(default=None, kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """As `qexplorer analyze --json` prints it."""
        return {
            "sentence": self.sentence,
            "remedy": self.remedy,
            "spec": self.spec.to_json() if self.spec is not None else None,
            "sqnr_db": self.sqnr_db,
            "bits_per_weight": self.bits_per_weight,
        }


def advise(
    values: Values, analysis: Analysis, shape: Shape, *, searched: int = SEARCHED
) -> Steps[tuple[SpecAdvice, ...]]:
    """All that is to be said of a tensor as an exact analysis has it, what helps most first, outliers before all else.
    `shape` is that of its `values`. Remedies that search are tried on at most so many values.
    """
    if shape.all.n < LEAST or not shape.all.sigma or not analysis.sums.e2:
        return ()
    if "granularity" not in analysis.spec.format.applies:
        return ()
    cost = (yield from cost_of(values, analysis, shape.outliers)) if shape.outliers else None
    sizes = np.zeros(0)
    if analysis.spec.granularity.shared:
        sizes = yield from channel_sizes(without(values, shape.outliers) if shape.outliers else values)
    case = Case(analysis, shape, cost, sizes, Remedies(analysis.spec, values))
    bench = Bench(values, analysis.metrics, searched)
    found: list[tuple[bool, float, list[SpecAdvice]]] = []
    offered: dict[QuantSpec, Measured] = {}
    for problem in problems_of(case):
        if problem.general and _good_enough(offered.values()):
            continue
        helpful = yield from bench.helpful(problem.remedies)
        best_of_kind: dict[str, Measured] = {}
        for each in helpful:
            if each.remedy.spec not in offered:
                best_of_kind.setdefault(each.remedy.kind, each)
        chosen = list(best_of_kind.values())[:OFFERED]
        if problem.last and not _good_enough([*offered.values(), *helpful]):
            chosen += yield from bench.enough(problem.last, POOR_DB)
        if chosen or problem.told:
            best = max((each.gain for each in chosen), default=0.0)
            found.append((problem.told, best, _advice(problem, analysis, chosen)))
            offered.update({each.remedy.spec: each for each in chosen})
    found.sort(key=lambda each: (-each[0], -each[1]))
    return tuple(advice for *_, each in found for advice in each)


def _good_enough(measured: Iterable[Measured]) -> bool:
    return any(each.metrics.sqnr_db >= POOR_DB for each in measured)


def _advice(problem: Problem, analysis: Analysis, helpful: list[Measured]) -> list[SpecAdvice]:
    plain = SpecAdvice(problem.sentence, picture=problem.picture)
    return [
        replace(
            plain,
            remedy=each.remedy.title,
            figure=_figures(each.metrics, analysis.metrics),
            spec=each.remedy.spec,
            sqnr_db=each.metrics.sqnr_db,
            bits_per_weight=each.metrics.bits_per_weight,
        )
        for each in helpful
    ] or [plain]


def _figures(then: Metrics, now: Metrics) -> str:
    """What was measured with a remedy, beside what is."""
    bits = f"{then.bits_per_weight:.2f} bits, now {now.bits_per_weight:.2f}"
    return f"{decibels(then.sqnr_db, 1)} dB, now {decibels(now.sqnr_db, 1)}; {bits}"
