"""What mathematics says of quantization: the least error there can be, for normal and for Laplace values.

Both sources have mean 0 and variance 1, so an error power is also a ratio of powers. Everything is exact: integrals in
closed form.
"""

from qexplorer.quant.theory.laws import rate_distortion_sqnr_db
from qexplorer.quant.theory.optimum import Grid, Optimum, distortion, lloyd_max, optimal_scale, optimal_uniform
from qexplorer.quant.theory.source import GAUSS, LAPLACE, SOURCES, Density, Source, moments

__all__ = [
    "GAUSS",
    "LAPLACE",
    "SOURCES",
    "Density",
    "Grid",
    "Optimum",
    "Source",
    "distortion",
    "lloyd_max",
    "moments",
    "optimal_scale",
    "optimal_uniform",
    "rate_distortion_sqnr_db",
]
