"""The reference executor: a spec applied to rows of values, in plain NumPy.

Every other executor (compiled kernels, torch's fake-quantize) is held to these results by tests.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from qexplorer.progress import Steps, finish
from qexplorer.quant.arrays import AnyArray, Codes, Doubles, Floats
from qexplorer.quant.error_sums import measure_reference
from qexplorer.quant.grid_target import target
from qexplorer.quant.observers import Ends, extremes, zero_if_empty
from qexplorer.quant.params import QuantParams
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.weighted import Sample


def find_range(spec: QuantSpec, rows: Floats) -> tuple[Floats, Floats]:
    """The range that the spec's observer chooses for each row of `[G, N]`: `[G]`, `[G]`."""
    return finish(range_of_stats(spec, spec.observer.update(None, rows), tensor_reach(spec, rows)))


def range_steps(spec: QuantSpec, rows: Floats, reach: float | None = None, pilot: Doubles | None = None) -> Steps[Ends]:
    """The ranges of some groups as work that may be stopped between its steps; `reach` and `pilot` are those of all:
    see `tensor_reach` and `Target`.
    """
    aim = replace(target(spec, reach), pilot=pilot)
    return (yield from spec.observer.search(spec.observer.update(None, rows), aim))


def range_of_stats(spec: QuantSpec, stats: Any, reach: float | None) -> Steps[Ends]:
    """The range of each group from what the observer knows of all of them."""
    found = yield from spec.observer.search(stats, target(spec, reach))
    if not settles(spec):
        return found
    sample: Sample = stats
    plain = zero_if_empty(*extremes(sample.values))
    counts = None if sample.weights is None else sample.weights.astype(np.int64)
    errors = [
        measure_reference(sample.values, spec.format, params_for(spec, *ends), weights=counts).sums.e2
        for ends in (found, plain)
    ]
    return found if errors[0] <= errors[1] else plain


def settles(spec: QuantSpec) -> bool:
    """Whether the extremes are to be kept where the ranges of all groups together err more: scales that are quantized
    together are restored with errors that no group's own search can know.
    """
    return spec.scale_dtype.late and spec.observer.least_squares


def tensor_reach(spec: QuantSpec, rows: Floats) -> float | None:
    """The largest finite magnitude, where the scale of a group depends on it."""
    return reach_of(spec, extremes(rows)) if spec.scale_dtype.tensor_bits and rows.size else None


def reach_of(spec: QuantSpec, ends: Ends) -> float | None:
    """The same from the extremes of all groups, `[G]` each; infinite ones are those of groups without finite values."""
    lo, hi = ends
    if not spec.scale_dtype.tensor_bits or not len(lo):
        return None
    return float(max(-lo.min(), hi.max(), 0.0))


def params_for(spec: QuantSpec, lo: Floats, hi: Floats) -> QuantParams:
    """Scale and zero point for the ranges `lo`..`hi` (`[G]` each); scale 1 for a scale-free format."""
    return spec.format.choose(lo, hi, spec.choices)


def range_for_end(spec: QuantSpec, end: float) -> float:
    """The A for which the range −A … A puts an end of the grid at `end`: |end| itself only in some conventions."""
    one = np.ones(1, np.float32)
    least, most = spec.format.reach(params_for(spec, -one, one))
    return abs(end) / float(most[0] if end > 0 else -least[0])


def quantize(tensor: AnyArray, spec: QuantSpec, params: QuantParams | None = None,
             ) -> tuple[Codes, AnyArray, QuantParams]:  # fmt: skip
    """A whole tensor at once: its codes and dequantized values, in its own shape, and the parameters.

    `params` are those of an earlier analysis; without them the observer chooses the range.
    """
    rows = spec.granularity.rows(tensor)
    params = params or finish(spec.format.fit(rows, *find_range(spec, rows), spec.choices))
    codes = spec.format.quantize(rows, params)
    values = spec.format.dequantize(codes, params)
    restore = spec.granularity.restore
    return restore(codes, tensor.shape), restore(values, tensor.shape), params  # pyright: ignore[reportReturnType]
