"""Rules that see a problem of a tensor under a spec, say it in a sentence, and name what may help."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from qexplorer.numbers import MINUS, count, decibels, figure, percent
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.arrays import Doubles
from qexplorer.quant.moments import FAR, Shape
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.outliers import Cost
from qexplorer.quant.remedies import Remedies, Remedy

CHANNELS, LARGER = 4, 4.0
"""Two bits: the smallest tenth of at least so many channels loses them where the largest is so much larger."""
SHIFT_SIGMAS = 0.5
SKEW = 2.0
FEW_BITS, COARSE_BITS = 4, 8
POOR_DB = 15.0
GOOD_DB = 50.0
"""An error of a third of a percent is not worth advice."""
HARM_DB = 3.0
"""An outlier that costs the others less than half a bit is no problem."""
NAMED = 3
"""So many outliers are named."""
SUPER = "A single weight like this can matter more than all the others (super weights, arXiv:2411.07191)"


@dataclass(frozen=True)
class Problem:
    """What is wrong, in a sentence with its figures; what may help; and the panel in which it is to be seen.

    One that is `told` is worth saying even where nothing helps, one that is `general` only where what helps against
    other problems leaves the tensor poor. `last` is then tried as well.
    """

    sentence: str
    picture: str
    remedies: tuple[Remedy, ...]
    told: bool = False
    general: bool = False
    last: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Case:
    """An exact analysis, the shape of the tensor's values, the cost of those that stand alone, if any do, and where all
    share one scale the mean magnitude of each channel, `[C]`.
    """

    analysis: Analysis
    shape: Shape
    cost: Cost | None
    sizes: Doubles
    remedies: Remedies

    @property
    def harmed(self) -> bool:
        """Whether a value that stands alone is clipped, or costs those under its scale much."""
        cost = self.cost
        return cost is not None and (cost.clipped or cost.others_db < min(cost.alone_db - HARM_DB, GOOD_DB))


def problems_of(case: Case) -> list[Problem]:
    """All that is wrong; where the SQNR is good, what it does not tell."""
    good = case.analysis.metrics.sqnr_db >= GOOD_DB
    return [problem for rule in RULES for problem in rule(case) if problem.told or not good]


def _outliers(case: Case) -> Iterator[Problem]:
    cost, remedies = case.cost, case.remedies
    if cost is None or not case.harmed:
        return
    if cost.clipped:
        yield Problem(
            f"{_who(case)} The range of this spec turns it into {_plain(cost.becomes)}. {SUPER}, so compare the "
            "accuracy with a range that keeps it.",
            "observers", (*remedies.keeping(), *remedies.channels(), *remedies.groups()), told=True,
        )  # fmt: skip
        return
    others = f"the {count(cost.others)} other values"
    under = others if case.analysis.spec.granularity.shared else f"{others} under its scale"
    codes = "one code" if cost.codes == 1 else f"{count(cost.codes)} codes"
    yield Problem(
        f"{_who(case)} Keeping it puts {under} on {codes}, {decibels(cost.others_db, 1)} dB among themselves. "
        f"Clipping it to their range would give them {decibels(cost.alone_db, 1)} dB and turn it into "
        f"{_plain(cost.clipped_to)}. {SUPER}, so compare the accuracy of both.",
        "distribution",
        (*remedies.channels(), *remedies.groups(), *remedies.other_levels(), *remedies.clip()),
        told=True,
    )


def _who(case: Case) -> str:
    """Which values stand alone, where, and how far from the rest."""
    outliers, shape = case.shape.outliers, case.analysis.shape
    named = [f"{_plain(each.value)} at {each.indices(shape)}" for each in outliers[:NAMED]]
    sigmas = case.shape.sigmas(outliers[0].value)
    away = f"{_plain(sigmas)} σ of the rest from their mean" if np.isfinite(sigmas) else "while the rest are all equal"
    if len(outliers) == 1:
        return f"One value stands alone: {named[0]}, {away}."
    more = " and others" if len(outliers) > NAMED else ""
    return f"{len(outliers)} values stand alone: {', '.join(named)}{more}. The first is {away}."


def _plain(x: float) -> str:
    """A figure of three or four digits, or a whole number that a person can read."""
    return f"{x:,.0f}".replace("-", MINUS) if 1e3 <= abs(x) < 1e9 else figure(x, 3)


def _lost(case: Case) -> Iterator[Problem]:
    metrics, remedies = case.analysis.metrics, case.remedies
    if metrics.lost and not case.harmed:
        yield Problem(
            f"{_most(metrics.top_code_fraction)} values fall on one code: next to nothing is left of what tells them "
            "apart.",
            "distribution", (*remedies.channels(), *remedies.groups(), *remedies.clip(), *remedies.affine(),
                             *remedies.floating_zero(), *remedies.other_levels()),
            told=True, last=tuple(remedies.wider()),
        )  # fmt: skip


def _most(share: float) -> str:
    """A share near 1, which is never rounded up to it."""
    return "All" if share == 1 else f"{math.floor(share * 1e4) / 1e2:.2f} % of the"


def _channels(case: Case) -> Iterator[Problem]:
    sizes = _uneven(case)
    if sizes is not None:
        small, middle, large = sizes
        yield Problem(
            f"Channels are of very different sizes: on average the largest has {_plain(large / middle)} times the "
            f"magnitude of the median one and {_plain(large / small)} times that of the smallest tenth, but all share "
            "one scale.",
            "error", (*case.remedies.channels(), *case.remedies.groups()),
        )  # fmt: skip


def _uneven(case: Case) -> tuple[float, float, float] | None:
    """The mean magnitude of the smallest tenth of channels, the median and the largest, where they are far apart."""
    sizes = case.sizes[case.sizes > 0]
    if len(sizes) < CHANNELS:
        return None
    small, middle, large = float(np.percentile(sizes, 10)), float(np.median(sizes)), float(sizes.max())
    return (small, middle, large) if large >= LARGER * small else None


def _tail(case: Case) -> Iterator[Problem]:
    spec, rest = case.analysis.spec, case.shape.rest
    coarse = spec.format.uniform and spec.format.code_bits <= COARSE_BITS
    long = case.shape.far and rest.reach > FAR and _uneven(case) is None
    if coarse and long and isinstance(spec.observer, MinMax):
        far, all_of_it = case.shape.far, case.shape.far / rest.n
        lie = "1 value lies" if far == 1 else f"{count(far)} values ({percent(all_of_it)}) lie"
        remedies = case.remedies
        yield Problem(
            f"A long tail: {lie} more than {FAR:g} σ out, the farthest {figure(rest.reach, 3)} "
            f"(excess kurtosis {figure(rest.kurtosis, 3)}), and to cover them every step is wider than most values "
            "need.",
            "observers", (*remedies.clip(), *remedies.other_levels(), *remedies.groups()),
        )  # fmt: skip


def _shift(case: Case) -> Iterator[Problem]:
    rest = case.shape.rest
    if _shifted(case):
        yield Problem(
            f"The mean is {figure(abs(rest.mean) / rest.sigma, 3)} σ from zero, and a symmetric grid "
            "spends as many codes on the side where little is.",
            "distribution", tuple(case.remedies.affine()),
        )  # fmt: skip


def _shifted(case: Case) -> bool:
    return abs(case.shape.rest.mean) > SHIFT_SIGMAS * case.shape.rest.sigma


def _skew(case: Case) -> Iterator[Problem]:
    rest = case.shape.rest
    low, high = max(-rest.lo, 0.0), max(rest.hi, 0.0)
    long, short = max(low, high), min(low, high)
    lopsided = rest.kurtosis <= 4 * rest.skew**2 + 2  # and not merely long on both sides, with one value farther out
    if long > SKEW * short and lopsided and not _shifted(case):
        unused = 50 * (1 - short / long)
        far = f"{figure(long / short, 3)} times as far as the other" if short else "out alone"
        yield Problem(
            f"Skew: one side reaches {far} (skewness {figure(rest.skew, 3)}), so {unused:.0f} % of a symmetric grid is "
            "never used.",
            "distribution", tuple(case.remedies.affine()),
        )  # fmt: skip


def _coarse(case: Case) -> Iterator[Problem]:
    spec, metrics, remedies = case.analysis.spec, case.analysis.metrics, case.remedies
    if spec.format.code_bits > FEW_BITS or not metrics.sqnr_db < POOR_DB or metrics.lost or case.harmed:
        return
    yield Problem(
        f"{decibels(metrics.sqnr_db, 1)} dB: {spec.format.code_bits} bits are few for {_under(case)} under one scale.",
        "error", (*remedies.channels(), *remedies.groups(), *remedies.clip(), *remedies.other_levels()),
        general=True, last=tuple(remedies.wider()),
    )  # fmt: skip


def _under(case: Case) -> str:
    """How many values share a scale."""
    return f"{count(-(-case.analysis.metrics.n // max(len(case.analysis.params.scale), 1)))} values"


Rule = Callable[[Case], Iterator[Problem]]
RULES: tuple[Rule, ...] = (_outliers, _lost, _channels, _tail, _shift, _skew, _coarse)
