"""What a value that stands alone costs those that share its scale, and what it would cost itself to be clipped."""

from dataclasses import dataclass

import numpy as np

from qexplorer.progress import Steps
from qexplorer.quant.analysis import Analysis, analyze
from qexplorer.quant.arrays import AnyArray
from qexplorer.quant.axes import Axes
from qexplorer.quant.granularity import PerTensor
from qexplorer.quant.matrices import matrix_of
from qexplorer.quant.metrics import sqnr_db
from qexplorer.quant.moments import Outlier
from qexplorer.quant.params import QuantParams
from qexplorer.quant.passes import measure_pieces
from qexplorer.quant.pieces import blocks, rows_of
from qexplorer.quant.ranges import extremes_of
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values, narrowed, widened

FELT = 0.1
"""A value that loses less of itself is not clipped but rounded."""
UNSEEN = Axes(0.0, 0.0, 0.0, 0.0, None, None)
"""No histograms are wanted."""


@dataclass(frozen=True)
class Cost:
    """Of the `others` under the scale of an outlier: on how many `codes` they fall now, their SQNR, and what it would
    be if the scale were theirs `alone`. The outlier itself `becomes` something now, `clipped` or not, and would be
    `clipped_to` the reach of that scale.
    """

    others: int
    codes: int
    others_db: float
    alone_db: float
    becomes: float
    clipped: bool
    clipped_to: float


def cost_of(values: Values, analysis: Analysis, outliers: tuple[Outlier, ...]) -> Steps[Cost]:
    """The cost of the farthest of `outliers` under the spec of an exact analysis: two more passes over its group."""
    spec, worst = analysis.spec, np.float32(outliers[0].value)
    group, params = yield from _group(values, analysis, float(worst))
    others = without(group, outliers)
    shared = spec.adopt("granularity", PerTensor())
    matrix, own = yield from matrix_of(others, shared)
    now = (yield from measure_pieces(matrix, own, params, UNSEEN)).total
    alone = yield from analyze(others, shared, bins=0)
    x = np.array([[worst]])
    becomes = _becomes(x, shared, params)
    lost = abs(becomes - float(worst)) > FELT * abs(float(worst))
    return Cost(
        others=now.sums.n,
        codes=int(np.count_nonzero(now.code_counts)),
        others_db=sqnr_db(now.sums.x2, now.sums.e2),
        alone_db=alone.metrics.sqnr_db,
        becomes=becomes,
        clipped=lost and bool(spec.format.outside(x, params)[0, 0]),
        clipped_to=_becomes(x, shared, alone.params),
    )


def _becomes(x: AnyArray, spec: QuantSpec, params: QuantParams) -> float:
    return float(spec.format.dequantize(spec.format.quantize(x, params), params)[0, 0])


def _group(values: Values, analysis: Analysis, value: float) -> Steps[tuple[Values, QuantParams]]:
    """The values under the scale of the one that is the least or the greatest there, and their parameters."""
    if analysis.spec.granularity.shared:
        return values, analysis.params
    matrix, spec = yield from matrix_of(values, analysis.spec)
    lows, highs = yield from extremes_of(matrix, spec)
    g = int(np.argmax((lows == value) | (highs == value)))
    piece = next(each for each in blocks(matrix, spec, whole=True) if g in each.groups)
    row = widened(rows_of(matrix, spec, piece)[g - piece.groups.start])
    return Values.of(row[~np.isnan(row)]), analysis.params.take(g, g + 1)


def without(values: Values, outliers: tuple[Outlier, ...]) -> Values:
    """The values with NaN for those, which every figure leaves out."""
    beyond = np.array([each.value for each in outliers], np.float32)

    def read(start: int, stop: int) -> AnyArray:
        x = widened(narrowed(values.read(start, stop)))
        return np.where(np.isin(x, beyond), np.float32(np.nan), x)

    return Values(values.shape, np.dtype(np.float32), read, values.kind)
