"""The reference executor: a spec applied to rows of values, in plain NumPy.

Every other executor (compiled kernels, torch's fake-quantize) is held to these results by tests.
"""

import numpy as np

from qexplorer.progress import Steps, finish
from qexplorer.quant.arrays import AnyArray, Codes, Doubles, Floats
from qexplorer.quant.measure import compiled
from qexplorer.quant.observers import Target
from qexplorer.quant.params import Choices, QuantParams
from qexplorer.quant.spec import QuantSpec


def find_range(spec: QuantSpec, rows: Floats) -> tuple[Floats, Floats]:
    """The range that the spec's observer chooses for each row of `[G, N]`: `[G]`, `[G]`."""
    return finish(range_steps(spec, rows))


def range_steps(spec: QuantSpec, rows: Floats) -> Steps[tuple[Floats, Floats]]:
    """`find_range` as work that may be stopped between its steps."""
    return (yield from spec.observer.search(spec.observer.update(None, rows), target(spec)))


def target(spec: QuantSpec) -> Target:
    """What the spec's observer may ask about its grid."""

    def squared_error(rows: Floats, lo: Floats, hi: Floats, weights: Doubles | None) -> Doubles:
        params = params_for(spec, lo, hi)
        if weights is None and compiled(rows, spec.format, params):
            from qexplorer.quant import kernels

            return kernels.squared_error(rows, params)
        error = spec.format.dequantize(spec.format.quantize(rows, params), params) - rows
        np.nan_to_num(error, copy=False, nan=0.0)
        if weights is None:
            return np.einsum("gn,gn->g", error, error, dtype=np.float64)
        return np.einsum("gn,gn,gn->g", error, error, weights, dtype=np.float64)

    return Target(levels=2**spec.format.code_bits, squared_error=squared_error)


def params_for(spec: QuantSpec, lo: Floats, hi: Floats) -> QuantParams:
    """Scale and zero point for the ranges `lo`..`hi` (`[G]` each); scale 1 for a scale-free format."""
    return spec.format.choose(lo, hi, Choices(spec.scheme, spec.convention, spec.rounding, spec.division))


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
    params = params or params_for(spec, *find_range(spec, rows))
    codes = spec.format.quantize(rows, params)
    values = spec.format.dequantize(codes, params)
    restore = spec.granularity.restore
    return restore(codes, tensor.shape), restore(values, tensor.shape), params  # pyright: ignore[reportReturnType]
