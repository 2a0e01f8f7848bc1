"""The observer that moves the zero point and leaves the scale."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qexplorer.quant.arrays import Doubles
from qexplorer.quant.observers import Ends, Observer, Target, as_float32, extremes, observers, zero_if_empty
from qexplorer.quant.weighted import Sample, weighted_mean

STEPS, POWER, STIFFNESS, STIFFER = 20, 0.7, 10.0, 1.01
ROUNDED_BITS = 4
"""With these the original begins at a whole zero point."""


@observers.register
@dataclass(frozen=True)
class Hqq(Observer):
    """Half-quadratic quantization (Badri and Shaji 2023): the zero point with the least Σ|e|^0.7, the scale fixed.

    Outliers are split off as a sparse part by shrinking the error; the zero point is the mean of what is left; both in
    turn, up to 20 times, as long as the mean error of all groups falls. β, the stiffness of the shrinking, is 10 at
    first and grows by 1 % a step, as in torchao's copy of `optimize_weights_proximal_legacy`; the `hqq` package itself
    leaves it at 10 since version 0.2.8. Either way the result depends on the size of the weights.
    """

    name: ClassVar[str] = "hqq"
    title: ClassVar[str] = "HQQ"
    help: ClassVar[str] = (
        "Shifts the zero point so that most values err little, outliers aside; β from 10, 1 % more a step, as in "
        "torchao. For weights of usual size: its steps are never below 5·10⁻⁵. Best in groups."
    )
    order: ClassVar[int] = 40
    piloted: ClassVar[bool] = True

    def refusal(self, spec: Any) -> str:
        if "scheme" in spec.format.applies and spec.scheme != "symmetric":
            return ""
        return "HQQ moves the zero point, and this scheme has none."

    def pilot(self, stats: Any, target: Target) -> Doubles:
        """Σ|e| and the number of values after each step, `[STEPS, 2]`: those of all groups say which is the last."""
        return np.array([errors for _, errors in _steps(stats, target)])

    def range(self, stats: Any, target: Target) -> Ends:
        sample: Sample = stats
        least, ends = np.inf, zero_if_empty(*extremes(sample.values))
        for i, (found, own) in enumerate(_steps(sample, target)):
            total, n = own if target.pilot is None else target.pilot[i]
            mean = total / max(n, 1)
            ends = found
            if mean >= least:
                break
            least = mean
        return ends


def _steps(sample: Sample, target: Target) -> Iterator[tuple[Ends, tuple[float, float]]]:
    """The range of each group after each step, and Σ|e| and the number of values before its zero point moved."""
    lo, hi = (end.astype(np.float64) for end in zero_if_empty(*extremes(sample.values)))
    most = target.levels - 1.0
    wide = np.where(hi > lo, hi - lo, 1.0)
    steps = np.minimum(most / wide, 2e4)[:, None]  # the inverse of the scale, bounded as in the original
    zero = -lo[:, None] * steps
    if target.bits == ROUNDED_BITS:
        zero = np.rint(zero)
    x, stiffness = sample.doubles, STIFFNESS
    known = np.isfinite(x)
    often = known.astype(np.float64) if sample.weights is None else np.where(known, sample.weights, 0.0)
    n = float(often.sum())
    for _ in range(STEPS):
        codes = np.clip(np.rint(x * steps + zero), 0, most)
        error = x - (codes - zero) / steps
        zero = weighted_mean(sample, codes - (x - shrink(error, stiffness)) * steps)[:, None]
        stiffness *= STIFFER
        low = np.where(hi > lo, -(zero / steps)[:, 0], lo)
        high = np.where(hi > lo, ((most - zero) / steps)[:, 0], hi)
        total = float((np.abs(np.where(known, error, 0.0)) * often).sum())
        yield (as_float32(low), as_float32(high)), (total, n)


def shrink(x: Doubles, stiffness: float) -> Doubles:
    """The proximal step of |x|^0.7: what is left of each value after |x|^(p−1)/β is taken away."""
    magnitude = np.abs(x)
    with np.errstate(divide="ignore"):
        left = np.maximum(magnitude - magnitude ** (POWER - 1) / stiffness, 0)
    return np.sign(x) * left
