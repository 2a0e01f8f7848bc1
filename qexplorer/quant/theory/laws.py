"""SQNR by formula, in dB: a bound that no quantizer passes. One bit is worth 20·log₁₀2 dB."""

import math

from qexplorer.quant.theory.source import Density


def rate_distortion_sqnr_db(density: Density, bits: float) -> float:
    """The highest SQNR that any quantizer of `bits` a value can have, of whatever kind (Shannon 1959).

    Gauss: the error is 4^−R, exactly; Laplace: the Shannon lower bound on the error, (e/π)·4^−R.
    """
    factor = 1.0 if density == "gauss" else math.e / math.pi
    return 20 * bits * math.log10(2) - 10 * math.log10(factor)
