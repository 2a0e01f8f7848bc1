"""The observer that moves the zero point and leaves the scale."""

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
    turn, up to 20 times, as long as the mean error of all groups falls. This is the variant of the `hqq` package's
    `optimize_weights_proximal_legacy`: β, the stiffness of the shrinking, is 10 at first and grows by 1 % a step, so
    that the result depends on the size of the weights.
    """

    name: ClassVar[str] = "hqq"
    title: ClassVar[str] = "HQQ"
    help: ClassVar[str] = (
        "Shifts the zero point so that most values err little, outliers aside; β from 10, 1 % more a step, as in the "
        "hqq package. For weights of usual size: its steps are never below 5·10⁻⁵. Best in groups."
    )
    order: ClassVar[int] = 40

    def refusal(self, spec: Any) -> str:
        if "scheme" in spec.format.applies and spec.scheme != "symmetric":
            return ""
        return "HQQ moves the zero point, and this scheme has none."

    def range(self, stats: Any, target: Target) -> Ends:
        sample: Sample = stats
        lo, hi = (end.astype(np.float64) for end in zero_if_empty(*extremes(sample.values)))
        most = target.levels - 1.0
        wide = np.where(hi > lo, hi - lo, 1.0)
        steps = np.minimum(most / wide, 2e4)[:, None]  # the inverse of the scale, bounded as in the original
        zero = -lo[:, None] * steps
        if target.bits == ROUNDED_BITS:
            zero = np.rint(zero)
        x, least, stiffness = sample.doubles, np.inf, STIFFNESS
        for _ in range(STEPS):
            codes = np.clip(np.rint(x * steps + zero), 0, most)
            error = x - (codes - zero) / steps
            zero = weighted_mean(sample, codes - (x - shrink(error, stiffness)) * steps)[:, None]
            stiffness *= STIFFER
            known = np.abs(error[np.isfinite(error)])
            mean = float(known.mean()) if known.size else 0.0
            if mean >= least:
                break
            least = mean
        low = np.where(hi > lo, -(zero / steps)[:, 0], lo)
        high = np.where(hi > lo, ((most - zero) / steps)[:, 0], hi)
        return as_float32(low), as_float32(high)


def shrink(x: Doubles, stiffness: float) -> Doubles:
    """The proximal step of |x|^0.7: what is left of each value after |x|^(p−1)/β is taken away."""
    magnitude = np.abs(x)
    with np.errstate(divide="ignore"):
        left = np.maximum(magnitude - magnitude ** (POWER - 1) / stiffness, 0)
    return np.sign(x) * left
