"""What an observer may ask about the grid of a spec."""

from dataclasses import replace

import numpy as np

from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.measure import compiled
from qexplorer.quant.observers import Target
from qexplorer.quant.spec import QuantSpec


def target(spec: QuantSpec, tensor_reach: float | None = None) -> Target:
    """The grid of a spec; `tensor_reach` is the largest magnitude of the tensor, where scales depend on it."""
    choices = replace(spec.choices, tensor_reach=tensor_reach)

    def squared_error(rows: Floats, lo: Floats, hi: Floats, weights: Doubles | None) -> Doubles:
        params = spec.format.choose(lo, hi, choices)
        if weights is None and compiled(rows, spec.format, params):
            from qexplorer.quant import kernels

            return kernels.squared_error(rows, params)
        error = spec.format.dequantize(spec.format.quantize(rows, params), params) - rows
        np.nan_to_num(error, copy=False, nan=0.0)
        if weights is None:
            return np.einsum("gn,gn->g", error, error, dtype=np.float64)
        return np.einsum("gn,gn,gn->g", error, error, weights, dtype=np.float64)

    return Target(levels=2**spec.format.code_bits, squared_error=squared_error)
