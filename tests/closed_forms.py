"""Closed forms that tests compare with: SQNR by formula, and the exact error of normal values in blocks that are scaled
by their own largest magnitude m.

Every other value of a block is then normal, cut at ±m. The share of values in ±m is written P(m) = 2Φ(m) − 1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import Doubles
from qexplorer.quant.theory import GAUSS, Density
from qexplorer.quant.theory.source import middles

Power = Literal["", "floor", "rceil"]
FARTHEST = 10.0
"""No block of any size that fits in memory has a larger magnitude: one value in 10²³ does."""
LEAST_SHARE = 1e-20
PANELS = 8
NODES = 24


def uniform_source_sqnr_db(bits: float) -> float:
    """6.02 dB a bit: evenly spread values on an even grid of 2^bits levels that just covers them."""
    return 20 * bits * math.log10(2)


def restricted_uniform_sqnr_db(bits: int) -> float:
    """Evenly spread values on −A … A, quantized to −(2^(b−1) − 1) … 2^(b−1) − 1 with S = A/(2^(b−1) − 1); b ≥ 2."""
    return 20 * math.log10(2 * (2 ** (bits - 1) - 1))


def panter_dite_sqnr_db(density: Density, bits: float) -> float:
    """What Lloyd–Max comes to for many levels: D = (∫f^⅓)³/12·4^−b (Panter and Dite 1951)."""
    factor = math.sqrt(3) * math.pi / 2 if density == "gauss" else 4.5
    return uniform_source_sqnr_db(bits) - 10 * math.log10(factor)


@dataclass(frozen=True)
class BlockError:
    """The expected error of normal values, for each value of a block."""

    mse: float
    mae: float


@lru_cache(maxsize=256)
def block_absmax(table: tuple[float, ...], block: int, power: Power = "") -> BlockError:
    """What to expect of N(0, 1) in blocks of `block` ≥ 1 values, with a table of levels in any order.

    The scale puts m on the level of largest magnitude, whatever the signs of both are. With `power` it is a power of
    two instead, as MX has it: `floor` is 2^(⌊log₂ m⌋ − ⌊log₂ of the largest level⌋), which may clip, `rceil` the least
    that brings m within the largest level.
    """
    levels: Doubles = np.unique(np.array(table, np.float64) + 0.0)
    return _powers(levels, block, power) if power else _exact(levels, block)


def _exact(levels: Doubles, block: int) -> BlockError:
    """By Gauss–Legendre over m, whose density is 2nφ(m)·P(m)^(n−1); nothing jumps, since all levels go with m."""
    levels = levels / np.abs(levels).max()
    m, widths = _magnitudes(block)
    share, squared, absolute = _cut(m[:, None] * levels, m)
    others = widths * 2 * (block - 1) * GAUSS.pdf(m) * share ** (block - 2)
    largest = widths * 2 * GAUSS.pdf(m) * share ** (block - 1)
    miss = np.abs(np.array([[-1.0], [1.0]]) - levels).min(axis=1)  # of m itself, one sign as likely as the other
    return BlockError(
        float((others * squared + largest * m * m * (miss**2).mean()).sum()),
        float((others * absolute + largest * m * miss.mean()).sum()),
    )


def _magnitudes(block: int) -> tuple[Doubles, Doubles]:
    """Points and widths for the largest magnitude of a block."""
    nearest = NormalDist().inv_cdf((1 + LEAST_SHARE ** (1 / block)) / 2)
    nodes, widths = np.polynomial.legendre.leggauss(NODES)
    edges = np.linspace(nearest, FARTHEST, PANELS + 1)
    half = np.diff(edges) / 2
    middle = (edges[1:] + edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * widths).ravel()


def _powers(levels: Doubles, block: int, power: Power) -> BlockError:
    """In closed form: a scale holds for all m from one jump to the next, whatever the values of the block are.

    Take the blocks whose m is below b, all at that scale: a value of theirs errs by E(b), the integral over ±b, and its
    n − 1 neighbours lie in ±b with P(b)^(n−1). Less the blocks whose m is below a, which have another scale, the band
    from a to b comes to P(b)^(n−1)·E(b) − P(a)^(n−1)·E(a).
    """
    top = float(levels.max())
    exponents = np.arange(-40, 5)
    if power == "floor":
        jumps, scales = np.exp2(exponents), np.exp2(exponents[:-1] - (math.frexp(top)[1] - 1))
    else:
        fraction = math.frexp(top)[0]
        jumps, scales = fraction * np.exp2(exponents), np.exp2(exponents[1:] - math.frexp(top)[1])
    scaled = scales[:, None] * levels
    mse = mae = 0.0
    for sign, bounds in ((1, jumps[1:]), (-1, jumps[:-1])):
        share, squared, absolute = _cut(scaled, bounds)
        weights = sign * share ** (block - 1)
        mse += float((weights * squared).sum())
        mae += float((weights * absolute).sum())
    return BlockError(mse, mae)


def _cut(levels: Doubles, m: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """∫φ, ∫(x − y)²φ and ∫|x − y|φ over |x| < m, y the nearest of ascending levels: `[M, K]`, `[M]` → `[M]` each."""
    edges = np.clip(middles(levels), -m[:, None], m[:, None])
    inside = np.clip(levels, edges[:, :-1], edges[:, 1:])
    knots = np.empty((len(m), 2 * levels.shape[1] + 1))
    knots[:, ::2], knots[:, 1::2] = edges, inside  # so that x − y has one sign between two of them
    zeroth, first, second = GAUSS.moments(knots)
    y = np.repeat(levels, 2, axis=1)
    signed = first - y * zeroth
    squared = second - 2 * y * first + y * y * zeroth
    return zeroth.sum(axis=1), squared.sum(axis=1), signed[:, 1::2].sum(axis=1) - signed[:, ::2].sum(axis=1)
