"""SQNR by formula, in dB: bounds that no quantizer passes, and what some come to. One bit is worth 20·log₁₀2 dB."""

import math

from qexplorer.quant.theory.source import Density


def uniform_source_sqnr_db(bits: float) -> float:
    """6.02 dB a bit: evenly spread values on an even grid of 2^bits levels that just covers them."""
    return 20 * bits * math.log10(2)


def restricted_uniform_sqnr_db(bits: int) -> float:
    """Evenly spread values on −A … A, quantized to −(2^(b−1) − 1) … 2^(b−1) − 1 with S = A/(2^(b−1) − 1); b ≥ 2."""
    return 20 * math.log10(2 * (2 ** (bits - 1) - 1))


def rate_distortion_sqnr_db(density: Density, bits: float) -> float:
    """The highest SQNR that any quantizer of `bits` a value can have, of whatever kind (Shannon 1959).

    Gauss: the error is 4^−R, exactly; Laplace: the Shannon lower bound on the error, (e/π)·4^−R.
    """
    factor = 1.0 if density == "gauss" else math.e / math.pi
    return uniform_source_sqnr_db(bits) - 10 * math.log10(factor)


def panter_dite_sqnr_db(density: Density, bits: float) -> float:
    """What Lloyd–Max comes to for many levels: D = (∫f^⅓)³/12·4^−b (Panter and Dite 1951)."""
    factor = math.sqrt(3) * math.pi / 2 if density == "gauss" else 4.5
    return uniform_source_sqnr_db(bits) - 10 * math.log10(factor)
