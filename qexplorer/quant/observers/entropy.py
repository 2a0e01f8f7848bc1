"""The observer of TensorRT: the clip that keeps most of the information."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import Counts, Doubles
from qexplorer.quant.bins import Bins
from qexplorer.quant.observers import Ends, Observer, Passes, Target, extremes, observers, zero_if_empty
from qexplorer.quant.weighted import Sample

BINS = 2048
TOGETHER = 512
"""So many numbers of kept bins are compared at once."""
ROUNDING = 1e-12
"""Divergences below this differ from 0 by rounding only."""


@dataclass(frozen=True)
class Magnitudes:
    """How often |x| falls into each of `BINS` bins of a `width`, for values from `lo` to `hi`."""

    lo: float
    hi: float
    counts: Doubles
    width: float

    @staticmethod
    def of(sample: Sample, g: int, lo: float, hi: float) -> "Magnitudes":
        """Those of group `g`."""
        finite = np.isfinite(sample.values[g])
        magnitude = np.abs(sample.values[g][finite]).astype(np.float64)
        weights = None if sample.weights is None else sample.weights[g][finite]
        most = max(-lo, hi)
        if not most:
            return Magnitudes(lo, hi, np.zeros(BINS), 0.0)
        counts = np.histogram(magnitude, BINS, (0.0, most), weights=weights)[0].astype(np.float64)
        return Magnitudes(lo, hi, counts, most / BINS)


@observers.register
@dataclass(frozen=True)
class Entropy(Observer):
    """The clip with the least Kullback–Leibler divergence (Migacz, “8-bit Inference with TensorRT”, GTC 2017).

    |x| is counted in 2,048 bins. For each number of bins i that may be kept: P is what is kept, the rest added to its
    last bin; Q is the kept part without that rest, merged into as many bins as there are levels on one side and spread
    again over the bins that hold something. The clip is the middle of the bin after the best i.

    Of a few hundred values, or with few bits, it may keep next to nothing: a single bin has no shape to lose.
    """

    name: ClassVar[str] = "entropy"
    title: ClassVar[str] = "Entropy (KL)"
    help: ClassVar[str] = "TensorRT's: the clip that changes the shape of the histogram least. Made for activations."
    order: ClassVar[int] = 32

    def refusal(self, spec: Any) -> str:
        if not spec.granularity.shared:
            return "The entropy observer searches 2,048 bins: it exists for one range per tensor."
        if not spec.format.uniform or spec.format.storage_bits > 8:
            return "The entropy observer knows only evenly spaced integers of at most 8 bits."
        return ""

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def by_passes(self, passes: Passes) -> Steps[Any]:
        lo, hi = passes.ends if passes.ends[0] <= passes.ends[1] else (0.0, 0.0)
        bins = Bins(0.0, max(-lo, hi) / BINS, BINS)
        if not bins.width:
            yield Progress("Finding the range")
            return Magnitudes(lo, hi, np.zeros(BINS), 0.0)
        counts = yield from passes.magnitudes(bins)
        return Magnitudes(lo, hi, counts.astype(np.float64), bins.width)

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        if isinstance(stats, Magnitudes):
            groups = [stats]
        else:
            ends = zip(*zero_if_empty(*extremes(stats.values)), strict=True)
            groups = [Magnitudes.of(stats, g, float(lo), float(hi)) for g, (lo, hi) in enumerate(ends)]
        lo, hi = (np.array([getattr(group, end) for group in groups], np.float32) for end in ("lo", "hi"))
        for g, group in enumerate(groups):
            clip = np.float32((yield from _best_clip(group.counts, max(target.levels // 2, 1))) * group.width)
            if group.width:
                lo[g], hi[g] = max(lo[g], -clip), min(hi[g], clip)
        return lo, hi


def _best_clip(counts: Doubles, levels: int) -> Steps[float]:
    """Where to clip, in bins; half a bin beyond the best number of bins."""
    best, least = BINS - 0.5, np.inf
    for start in range(levels, BINS + 1, TOGETHER):
        yield Progress("Comparing histograms", start, BINS)
        kept = np.arange(start, min(start + TOGETHER, BINS + 1))
        divergence = _divergences(counts, kept, levels)
        at = int(np.argmin(divergence))
        if divergence[at] < least:
            best, least = kept[at] + 0.5, float(divergence[at])
    return min(best, float(BINS))


def _divergences(counts: Doubles, kept: Counts, levels: int) -> Doubles:
    """KL(P‖Q) in nats for each number of `kept` bins; infinite where Q has nothing and P has something.

    With the counts c of the kept bins, their rest r and n = Σc + r: Σp·log p is (Σc·log c over all but the last bin,
    and that of the last one with r) / n − log n, and q is the same for all filled bins of a cell, so that everything
    follows from sums up to each bin.
    """
    upto, filled_upto = np.append(0.0, np.cumsum(counts)), np.append(0, np.cumsum(counts > 0))
    entropy_upto = np.append(0.0, np.cumsum(_times_log(counts)))
    firsts = np.arange(levels + 1) * kept[:, None] // levels
    sums, filled = np.diff(upto[firsts], axis=1), np.diff(filled_upto[firsts], axis=1)
    logs = np.log(np.divide(sums, filled, out=np.ones_like(sums), where=sums > 0))
    rest, last = upto[-1] - upto[kept], counts[kept - 1]
    own = entropy_upto[kept - 1] + _times_log(last + rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.log(upto[kept]) - np.log(upto[-1])
        found = (own - (sums * logs).sum(axis=1) - rest * logs[:, -1]) / upto[-1] + shift
    found[(upto[kept] == 0) | ((rest > 0) & (last == 0))] = np.inf
    return np.where(found < ROUNDING, 0.0, found)


def _times_log(x: Doubles) -> Doubles:
    """x·log x; 0 for 0."""
    return x * np.log(np.where(x > 0, x, 1.0))
