"""Rules that see a problem of a tensor under a spec, say it in a sentence, and name the remedy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from qexplorer.errors import UserError
from qexplorer.presentation import Advice
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.granularity import PerChannel, PerGroup
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.spec import QuantSpec

SPREAD_DB = 6.0
"""One bit: channels that are so much worse than the median one have ranges that are half as wide."""
TAIL_SIGMAS = 6.0
"""A normal distribution reaches so far about once in 500 million values."""
SHIFT_SIGMAS = 0.5
SKEW = 2.0
FEW_BITS = 4
POOR_DB = 15.0
GROUP = 32


@dataclass(frozen=True)
class SpecAdvice(Advice):
    """Advice of which the remedy is another spec."""

    spec: QuantSpec = field(kw_only=True)


@dataclass(frozen=True)
class Shape:
    """Of a tensor's values, by its histogram: mean, standard deviation, and how far they reach on each side of it."""

    mean: float
    sigma: float
    below: float
    above: float

    @staticmethod
    def of(analysis: Analysis) -> "Shape | None":
        """None for a tensor without different values."""
        counts = analysis.original.astype(np.float64)
        total = counts.sum()
        if not total:
            return None
        middles = (analysis.bins.edges[1:] + analysis.bins.edges[:-1]) / 2
        mean = float((counts * middles).sum() / total)
        sigma = float(np.sqrt((counts * (middles - mean) ** 2).sum() / total))
        if not sigma > 0:
            return None
        return Shape(mean, sigma, mean - analysis.data_lo, analysis.data_hi - mean)


def advise(analysis: Analysis) -> list[SpecAdvice]:
    """All that is to be said of a tensor as it is quantized now, the most helpful first."""
    shape = Shape.of(analysis)
    if shape is None or "granularity" not in analysis.spec.format.applies:
        return []
    found: list[SpecAdvice] = []
    for rule in RULES:
        try:
            found += rule(analysis, shape)
        except UserError:  # the remedy is not possible beside the other choices
            continue
    return found


def _channels(analysis: Analysis, shape: Shape) -> Iterator[SpecAdvice]:
    del shape
    spec, sqnr = analysis.spec, analysis.channel_sqnr_db[np.isfinite(analysis.channel_sqnr_db)]
    if not spec.granularity.shared or len(sqnr) < 4:
        return
    worst, middle = np.percentile(sqnr, 10), np.median(sqnr)
    if middle - worst >= SPREAD_DB:
        yield SpecAdvice(
            f"Channels have ranges that are far apart: a tenth of them are {middle - worst:.1f} dB or more below the "
            "median channel, because all share one scale.",
            "One scale per channel", spec=spec.adopt("granularity", PerChannel(0)), picture="error",
        )  # fmt: skip


def _tail(analysis: Analysis, shape: Shape) -> Iterator[SpecAdvice]:
    spec = analysis.spec
    reach = max(shape.below, shape.above) / shape.sigma
    coarse = spec.format.uniform and spec.format.code_bits <= 8
    if coarse and spec.granularity.shared and isinstance(spec.observer, MinMax) and reach > TAIL_SIGMAS:
        yield SpecAdvice(
            f"A long tail: the farthest value is {reach:.1f} standard deviations out, and to cover it every step is "
            "wider than most values need.",
            "Clip for the least squared error", spec=spec.adopt("observer", Mse()), picture="observers",
        )  # fmt: skip


def _shift(analysis: Analysis, shape: Shape) -> Iterator[SpecAdvice]:
    spec = analysis.spec
    if spec.scheme != "symmetric" or "scheme" not in spec.format.applies:
        return
    if abs(shape.mean) > SHIFT_SIGMAS * shape.sigma:
        yield SpecAdvice(
            f"The mean is {abs(shape.mean) / shape.sigma:.1f} standard deviations from zero, and a symmetric grid "
            "spends as many codes on the side where little is.",
            "Affine, with a zero point", spec=spec.adopt("scheme", "affine"), picture="distribution",
        )  # fmt: skip


def _skew(analysis: Analysis, shape: Shape) -> Iterator[SpecAdvice]:
    spec = analysis.spec
    if spec.scheme != "symmetric" or "scheme" not in spec.format.applies or not spec.granularity.shared:
        return
    low, high = max(-analysis.data_lo, 0.0), max(analysis.data_hi, 0.0)
    long, short = max(low, high), min(low, high)
    shifted = abs(shape.mean) > SHIFT_SIGMAS * shape.sigma
    if long > SKEW * short and not shifted:
        unused = 50 * (1 - short / long)
        yield SpecAdvice(
            f"Skew: one side reaches {long / max(short, 1e-30):.1f} times as far as the other, so {unused:.0f} % of a "
            "symmetric grid is never used.",
            "Affine, with a zero point", spec=spec.adopt("scheme", "affine"), picture="distribution",
        )  # fmt: skip


def _coarse(analysis: Analysis, shape: Shape) -> Iterator[SpecAdvice]:
    del shape
    spec = analysis.spec
    per_channel = spec.granularity.per_channel
    if per_channel and spec.format.code_bits <= FEW_BITS and analysis.metrics.sqnr_db < POOR_DB:
        yield SpecAdvice(
            f"{analysis.metrics.sqnr_db:.1f} dB with one scale a channel: {spec.format.code_bits} bits are few for so "
            "many values under one scale.",
            f"One scale for {GROUP} values", spec=spec.adopt("granularity", PerGroup(GROUP)), picture="error",
        )  # fmt: skip


Rule = Callable[[Analysis, Shape], Iterator[SpecAdvice]]
RULES: tuple[Rule, ...] = (_channels, _tail, _shift, _skew, _coarse)
