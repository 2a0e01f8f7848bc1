"""What mathematics says of quantization: the least error there can be, for normal and for Laplace values.

Both sources have mean 0 and variance 1, so an error power is also a ratio of powers. Everything is exact: integrals in
closed form, and a quadrature over the largest value of blocks that are scaled by it.
"""

from qexplorer.quant.theory.blocks import BlockError, Power, block_absmax
from qexplorer.quant.theory.laws import (
    panter_dite_sqnr_db,
    rate_distortion_sqnr_db,
    restricted_uniform_sqnr_db,
    uniform_source_sqnr_db,
)
from qexplorer.quant.theory.optimum import Grid, Optimum, distortion, lloyd_max, optimal_scale, optimal_uniform
from qexplorer.quant.theory.source import GAUSS, LAPLACE, SOURCES, Density, Source, moments

__all__ = [
    "GAUSS",
    "LAPLACE",
    "SOURCES",
    "BlockError",
    "Density",
    "Grid",
    "Optimum",
    "Power",
    "Source",
    "block_absmax",
    "distortion",
    "lloyd_max",
    "moments",
    "optimal_scale",
    "optimal_uniform",
    "panter_dite_sqnr_db",
    "rate_distortion_sqnr_db",
    "restricted_uniform_sqnr_db",
    "uniform_source_sqnr_db",
]
