"""The observer that believes in a distribution."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from qexplorer.progress import Steps
from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.observers import Ends, Observer, Passes, Target, extremes, observers, zero_if_empty
from qexplorer.quant.weighted import Sample, weighted_mean
from qexplorer.settings import Choice, setting

SHAPES = (Choice("gauss", "Normal"), Choice("laplace", "Laplace"))


@dataclass(frozen=True)
class Moments:
    """The ends of each group, its mean, and the mean square or the mean magnitude of what is left without it: `[G]`."""

    lo: Floats
    hi: Floats
    mean: Doubles
    deviation: Doubles


@observers.register
@dataclass(frozen=True)
class Aciq(Observer):
    """Mean ± α*·spread, where α* has the least expected error for a normal or a Laplace distribution.

    Banner et al. 2019, ACIQ: rounding costs α²/(3·4^M) for M bits, whatever is beyond ±α is clipped; the spread is the
    standard deviation, or for Laplace the mean deviation. An approximation: the exact optimum differs a little.
    """

    distribution: str = setting("gauss", "Distribution", "What the values are taken to be", choices=SHAPES)
    name: ClassVar[str] = "aciq"
    title: ClassVar[str] = "ACIQ"
    help: ClassVar[str] = "From the spread alone, as if values were normal (gauss) or Laplace distributed."
    order: ClassVar[int] = 36

    def by_passes(self, passes: Passes) -> Steps[Any]:
        total, n = yield from passes.sum(lambda x: np.array([x.sum(dtype=np.float64), x.size]))
        mean = float(total / max(n, 1))
        away = yield from passes.sum(lambda x: self._deviations(x.astype(np.float64) - mean).sum())
        lo, hi = zero_if_empty(*(np.array([end], np.float32) for end in passes.ends))
        return Moments(lo, hi, np.array([mean]), np.array([away / max(n, 1)]))

    def range(self, stats: Any, target: Target) -> Ends:
        found: Moments = stats if isinstance(stats, Moments) else self._moments(stats)
        spread = np.sqrt(found.deviation) if self.distribution == "gauss" else found.deviation
        reach = best_clip(self.distribution, target.bits) * spread
        return (np.maximum(found.lo, found.mean - reach).astype(np.float32),
                np.minimum(found.hi, found.mean + reach).astype(np.float32))  # fmt: skip

    def _moments(self, sample: Sample) -> Moments:
        mean = weighted_mean(sample, sample.doubles)
        away = self._deviations(sample.doubles - mean[:, None])
        return Moments(*zero_if_empty(*extremes(sample.values)), mean, weighted_mean(sample, away))

    def _deviations(self, away: Doubles) -> Doubles:
        return away * away if self.distribution == "gauss" else np.abs(away)


@lru_cache(maxsize=64)
def best_clip(distribution: str, bits: int) -> float:
    """α* in units of the spread: where the expected error has its only minimum, found by halving intervals."""
    slope = _gauss_slope if distribution == "gauss" else _laplace_slope
    low, high = 1e-6, 60.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle, 4.0**bits) < 0 else (low, middle)
    return (low + high) / 2


def _gauss_slope(a: float, steps: float) -> float:
    """Derivative of (α² + 1)·(1 − erf(α/√2)) − √(2/π)·α·e^(−α²/2) + α²/(3·4^M)."""
    tail = math.erfc(a / math.sqrt(2))
    return 2 * a * tail - 2 * math.sqrt(2 / math.pi) * math.exp(-a * a / 2) + 2 * a / (3 * steps)


def _laplace_slope(a: float, steps: float) -> float:
    """Derivative of 2·e^(−α) + α²/(3·4^M)."""
    return -2 * math.exp(-a) + 2 * a / (3 * steps)
