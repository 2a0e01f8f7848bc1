"""The observer of TensorRT: the clip that keeps most of the information."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.arrays import AnyArray, Doubles, Floats
from qexplorer.quant.observers import Ends, Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.sample import Sample

BINS = 2048


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
        if spec.granularity.name != "tensor":
            return "The entropy observer searches 2,048 bins: it exists for one range per tensor."
        if not spec.format.uniform or spec.format.storage_bits > 8:
            return "The entropy observer knows only evenly spaced integers of at most 8 bits."
        return ""

    def update(self, stats: Any, rows: Floats) -> Any:
        return Sample.of(rows) if stats is None else stats.and_also(rows)

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        sample: Sample = stats
        lo, hi = zero_if_empty(*extremes(sample.values))
        for g in range(len(lo)):
            counts, width = _magnitudes(sample, g)
            clip = np.float32((yield from _best_clip(counts, max(target.levels // 2, 1))) * width)
            if width:
                lo[g], hi[g] = max(lo[g], -clip), min(hi[g], clip)
        return lo, hi


def _magnitudes(sample: Sample, g: int) -> tuple[Doubles, float]:
    """How often |x| of group `g` falls into each bin, and the width of a bin."""
    finite = np.isfinite(sample.values[g])
    magnitude = np.abs(sample.values[g][finite]).astype(np.float64)
    weights = None if sample.weights is None else sample.weights[g][finite]
    most = float(magnitude.max(initial=0.0))
    if not most:
        return np.zeros(BINS), 0.0
    return np.histogram(magnitude, BINS, (0.0, most), weights=weights)[0].astype(np.float64), most / BINS


def _best_clip(counts: Doubles, levels: int) -> Steps[float]:
    """Where to clip, in bins; half a bin beyond the best number of bins."""
    best, least = BINS - 0.5, np.inf
    for i in range(levels, BINS + 1):
        if i % 128 == 0:
            yield Progress("Comparing histograms", i, BINS)
        divergence = _divergence(counts, i, levels)
        if divergence < least:
            best, least = i + 0.5, divergence
    return min(best, float(BINS))


def _divergence(counts: Doubles, i: int, levels: int) -> float:
    """KL(P‖Q) in nats for `i` kept bins; infinite where Q has nothing and P has something."""
    kept = counts[:i]
    p = kept.copy()
    p[-1] += counts[i:].sum()
    firsts = np.arange(levels) * i // levels
    present = (kept > 0).astype(np.float64)
    sums, filled = np.add.reduceat(kept, firsts), np.add.reduceat(present, firsts)
    each: AnyArray = np.divide(sums, filled, out=np.zeros(levels), where=filled > 0)
    q = np.repeat(each, np.diff(np.append(firsts, i))) * present
    total_p, total_q = p.sum(), q.sum()
    used = p > 0
    if not total_q or (q[used] == 0).any():
        return np.inf
    p, q = p[used] / total_p, q[used] / total_q
    return float((p * np.log(p / q)).sum())
