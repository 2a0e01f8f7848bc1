"""The observer that follows the clipping error downhill."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.quant.arrays import Doubles
from qexplorer.quant.observers import Ends, Observer, Target, extremes, observers, zero_if_empty
from qexplorer.quant.weighted import Sample, weighted_mean

STEPS = 100


@observers.register
@dataclass(frozen=True)
class Octav(Observer):
    """The clip s for which s = E[|x|·1(|x|>s)] / (4^−B/3·E[1(|x|≤s)] + E[1(|x|>s)]), by Newton's iteration.

    Sakr et al. 2022 (arXiv 2206.06501). As ACIQ it takes rounding errors for uniform, but it asks the values.
    """

    name: ClassVar[str] = "octav"
    title: ClassVar[str] = "OCTAV"
    help: ClassVar[str] = "Newton's method on the values: nearly the best symmetric clip, within a few passes."
    order: ClassVar[int] = 38

    def range(self, stats: Any, target: Target) -> Ends:
        sample: Sample = stats
        lo, hi = zero_if_empty(*extremes(sample.values))
        magnitude = np.abs(sample.doubles)
        rounding = 4.0**-target.bits / 3
        clip = weighted_mean(sample, magnitude)
        for _ in range(STEPS):
            beyond = magnitude > clip[:, None]
            share = weighted_mean(sample, beyond.astype(np.float64))
            inside = weighted_mean(sample, (~beyond & (magnitude > 0)).astype(np.float64))
            below: Doubles = rounding * inside + share
            # Where all that lay beyond is equal the step lands on it, and nothing is beyond any more: that is the clip.
            moved = np.where(share > 0, weighted_mean(sample, magnitude * beyond) / np.where(share > 0, below, 1), clip)
            if np.array_equal(moved, clip):
                break
            clip = moved
        reach = clip.astype(np.float32)
        return np.maximum(lo, -reach), np.minimum(hi, reach)
