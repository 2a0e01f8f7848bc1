"""The axes of a picture: how far the grid and the data reach, and the bins in which values and errors are counted."""

from dataclasses import dataclass

import numpy as np

from qexplorer.quant.arrays import Floats
from qexplorer.quant.bins import Bins, even_bins, step_bins
from qexplorer.quant.observers import Ends, zero_if_empty
from qexplorer.quant.params import QuantParams
from qexplorer.quant.spec import QuantSpec


@dataclass(frozen=True)
class Axes:
    """What is drawn and where: the reach of the grid and of the data, and the bins; none where none are wanted."""

    lo: float
    hi: float
    data_lo: float
    data_hi: float
    bins: Bins | None
    error_bins: Bins | None
    seen: bool = True

    @staticmethod
    def of(spec: QuantSpec, params: QuantParams, ends: Ends, bins: int) -> "Axes":
        lows, highs = ends
        seen = highs >= lows
        data_lo, data_hi = (float(lows[seen].min()), float(highs[seen].max())) if seen.any() else (0.0, 0.0)
        low, high = reach_of_grid(spec, params)
        if not bins:
            return Axes(low, high, data_lo, data_hi, None, None, bool(seen.any()))
        shown = _shown(spec, params, *zero_if_empty(lows, highs), data_lo, data_hi)
        error_bins = even_bins(*_error_reach(spec, params, data_lo, data_hi), bins // 2 * 2 + 1)
        return Axes(low, high, data_lo, data_hi, value_bins(spec, params, *shown, bins), error_bins)

    def widened(self, other: "Axes") -> "Axes":
        """What holds both, without bins; an other one that has seen no finite value adds nothing of the data."""
        lo, hi = min(self.lo, other.lo), max(self.hi, other.hi)
        if not other.seen or not self.seen:
            data = (self if self.seen else other).data_lo, (self if self.seen else other).data_hi
        else:
            data = min(self.data_lo, other.data_lo), max(self.data_hi, other.data_hi)
        return Axes(lo, hi, *data, None, None, self.seen or other.seen)


def _shown(spec: QuantSpec, params: QuantParams, lows: Floats, highs: Floats, lo: float, hi: float,
           ) -> tuple[float, float]:  # fmt: skip
    """The value axis: from `lo` to `hi`, and what they become. Quantization is monotone, so the extremes of each group
    become the extremes of its dequantized values.
    """
    room = 0.0 if lo < hi else max(abs(lo), 1.0) / 2
    become = spec.format.dequantize(spec.format.quantize(np.stack([lows, highs], axis=1), params), params)
    become = become[np.isfinite(become)].astype(np.float64)
    return float(become.min(initial=lo - room)), float(become.max(initial=hi + room))


def value_bins(spec: QuantSpec, params: QuantParams, lo: float, hi: float, count: int) -> Bins:
    """About `count` bins that cover `lo`..`hi`, aligned to the steps of a grid that all values share."""
    step = abs(float(params.scale[0])) if len(params.scale) == 1 else 0.0
    if spec.format.uniform and 0 < step <= hi - lo:
        return step_bins(lo, hi, step, 0.0 if params.offset is None else float(params.offset[0]), count)
    return even_bins(lo, hi, count)


def _error_reach(spec: QuantSpec, params: QuantParams, lo: float, hi: float) -> tuple[float, float]:
    """An error axis that shows rounding (±S/2) well and the onset of clipping: at most four half steps wide."""
    half = spec.format.half_step(params, max(-lo, hi))
    least, most = reach_of_grid(spec, params)
    overshoot = max(hi - most, least - lo, 0.0)
    reach = max(min(half + overshoot, 4 * half) * 1.1, 1e-30)
    return -reach, reach


def reach_of_grid(spec: QuantSpec, params: QuantParams) -> tuple[float, float]:
    """The least and greatest representable value over all groups."""
    least, most = spec.format.reach(params)
    return float(least.min(initial=0.0)), float(most.max(initial=0.0))
