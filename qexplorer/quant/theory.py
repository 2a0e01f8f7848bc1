"""What mathematics says of quantization: the least error there can be, for normal and for Laplace values.

Both sources have mean 0 and variance 1, so an error power is also a ratio of powers. Everything is exact: integrals in
closed form, and a quadrature for blocks that are scaled by their own largest value.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import Doubles

Density = Literal["gauss", "laplace"]
Steps = Literal["mid_rise", "restricted", "full_range"]
ROOT2 = math.sqrt(2)
_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class Optimum:
    """The best levels of a kind, `[K]` ascending, for a source of unit variance; `step` is 0 where steps differ."""

    levels: Doubles
    mse: float
    entropy_bits: float
    step: float = 0.0

    @property
    def sqnr_db(self) -> float:
        """Signal power over error power, in dB."""
        return -10 * math.log10(self.mse)


def moments(density: Density, edges: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """∫f, ∫x·f and ∫x²·f between neighbouring edges: `[K + 1]` → `[K]` each; edges may be infinite."""
    integrals = _gauss_integrals(edges) if density == "gauss" else _laplace_integrals(edges)
    zeroth, first, second = (np.diff(each) for each in integrals)
    return zeroth, first, second


def _gauss_integrals(x: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    near = np.where(np.isfinite(x), x, 0.0)
    pdf = np.where(np.isfinite(x), np.exp(-near * near / 2) / math.sqrt(2 * math.pi), 0.0)
    cdf = _erf(x / ROOT2) / 2
    return cdf, -pdf, cdf - near * pdf


def _laplace_integrals(x: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """From 0 on, with b = 1/√2: the integrals for |x|, given the sign that the moment has."""
    b = 1 / ROOT2
    away = np.abs(np.where(np.isfinite(x), x, 0.0))
    tail = np.where(np.isfinite(x), np.exp(-away / b), 0.0)
    zeroth = (1 - tail) / 2
    first = (b - (away + b) * tail) / 2
    second = (2 * b * b - (away * away + 2 * b * away + 2 * b * b) * tail) / 2
    sign = np.sign(x)
    return sign * zeroth, first, sign * second


def middles(levels: Doubles) -> Doubles:
    """The edges of the cells of ascending levels, with both infinities: `[K]` → `[K + 1]`."""
    return np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])


def distortion(density: Density, levels: Doubles) -> float:
    """The mean squared error when every value takes the nearest of ascending levels."""
    zeroth, first, second = moments(density, middles(levels))
    return float((second - 2 * levels * first + levels * levels * zeroth).sum())


def _optimum(density: Density, levels: Doubles, step: float = 0.0) -> Optimum:
    share = moments(density, middles(levels))[0]
    used = share[share > 0]
    return Optimum(levels, distortion(density, levels), float(-(used * np.log2(used)).sum()), step)


@lru_cache(maxsize=64)
def lloyd_max(density: Density, bits: int) -> Optimum:
    """The best 2^bits levels of all (Lloyd 1957, Max 1960): each the mean of its cell.

    Newton's method on “level − mean of its cell”, which for these densities has one zero, from levels as dense as the
    cube root of the density (Panter and Dite 1951). The Jacobian has three diagonals; 256 levels make it small enough.
    """
    count = 2**bits
    places: Doubles = (np.arange(count, dtype=np.float64) + 0.5) / count
    levels = _quantiles(density, places)
    for _ in range(100):
        edges = middles(levels)
        zeroth, first, _ = moments(density, edges)
        off = levels - first / zeroth
        inner = edges[1:-1]
        pdf = _pdf(density, inner)
        # d mean/d edge = ±f(edge)·(edge − mean)/share; an edge moves half as far as either of its levels
        above = pdf * (inner - first[:-1] / zeroth[:-1]) / zeroth[:-1] / 2
        below = -pdf * (inner - first[1:] / zeroth[1:]) / zeroth[1:] / 2
        jacobian = np.eye(count)
        at = list(range(count - 1))
        behind = list(range(1, count))
        jacobian[at, at] -= above
        jacobian[at, behind] -= above
        jacobian[behind, behind] -= below
        jacobian[behind, at] -= below
        step = np.linalg.solve(jacobian, off)
        levels = np.sort(levels - step)
        if np.abs(step).max() < 1e-11:
            break
    return _optimum(density, levels)


def _pdf(density: Density, x: Doubles) -> Doubles:
    if density == "gauss":
        return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return np.exp(-ROOT2 * np.abs(x)) / ROOT2


def _quantiles(density: Density, share: Doubles) -> Doubles:
    """Quantiles of the density whose shape is the cube root of the source's: the same shape, wider by √3 or by 3."""
    if density == "laplace":
        tail = np.minimum(share, 1 - share) * 2
        return np.sign(share - 0.5) * -np.log(tail) * 3 / ROOT2
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf(p) for p in share]) * math.sqrt(3)


@lru_cache(maxsize=128)
def optimal_uniform(density: Density, bits: int, steps: Steps) -> Optimum:
    """The best step of an even grid.

    `mid_rise`: ±Δ/2, ±3Δ/2 …; `restricted`: −(2^(b−1) − 1)Δ … (2^(b−1) − 1)Δ; `full_range`: one level more below.
    """
    half = 2 ** (bits - 1)
    match steps:
        case "mid_rise":
            return optimal_scale(density, tuple(k + 0.5 for k in range(-half, half)))
        case "restricted":
            return optimal_scale(density, tuple(float(k) for k in range(-half + 1, half)))
        case "full_range":
            return optimal_scale(density, tuple(float(k) for k in range(-half, half)))


@lru_cache(maxsize=128)
def optimal_scale(density: Density, table: tuple[float, ...]) -> Optimum:
    """The table of levels with its best scale: the best of a fine grid of scales, then made exact by golden section."""
    levels = np.unique(np.array(table, np.float64))
    reach = float(np.abs(levels).max())
    scales = np.geomspace(0.3, 60, 64) / reach
    errors = [distortion(density, levels * s) for s in scales]
    at = int(np.argmin(errors))
    low, high = float(scales[max(at - 1, 0)]), float(scales[min(at + 1, len(scales) - 1)])
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(36):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if distortion(density, levels * left) < distortion(density, levels * right):
            high = right
        else:
            low = left
    scale = (low + high) / 2
    return _optimum(density, levels * scale, scale)


def rate_distortion_sqnr_db(density: Density, bits: float) -> float:
    """The highest SQNR that any quantizer of `bits` a value can have, of whatever kind.

    Gauss: 6.02 dB a bit, exactly; Laplace: the Shannon lower bound on the error, (e/π)·4^−R.
    """
    return 20 * bits * math.log10(2) - (10 * math.log10(math.e / math.pi) if density == "laplace" else 0.0)


def uniform_source_sqnr_db(bits: float) -> float:
    """6.02 dB a bit: evenly spread values on an even grid of 2^bits levels that just covers them."""
    return 20 * bits * math.log10(2)


def restricted_uniform_sqnr_db(bits: int) -> float:
    """Evenly spread values on −A … A, quantized to −(2^(b−1) − 1) … 2^(b−1) − 1 with S = A/(2^(b−1) − 1)."""
    return 20 * math.log10(2 * (2 ** (bits - 1) - 1))


def panter_dite_sqnr_db(density: Density, bits: float) -> float:
    """What Lloyd–Max comes to for many levels: D = (∫f^⅓)³/12·4^−b."""
    factor = math.sqrt(3) * math.pi / 2 if density == "gauss" else 4.5
    return 20 * bits * math.log10(2) - 10 * math.log10(factor)


@dataclass(frozen=True)
class BlockError:
    """The expected error of normal values in blocks that are scaled by their own largest magnitude."""

    mse: float
    mae: float


Power = Literal["", "floor", "rceil"]


def block_absmax(table: tuple[float, ...], block: int, power: Power = "") -> BlockError:
    """What to expect of N(0, 1) in blocks of `block` values whose largest magnitude is put on the largest level.

    `power`: the scale is a power of two, 2^(⌊log₂ max⌋ − ⌊log₂ largest level⌋) or the least that clips nothing. The
    largest magnitude m has the density 2nφ(m)(2Φ(m) − 1)^(n−1); given it, the other values are normal, cut at ±m.
    """
    levels = np.unique(np.array(table, np.float64))
    largest = float(np.abs(levels).max())
    points, weights = _magnitudes(block)
    mse = mae = 0.0
    for m, weight in zip(points, weights, strict=True):
        scaled = levels * _block_scale(float(m), largest, power)
        inside = max(math.erf(m / ROOT2), 1e-300)
        others = _cut_error(scaled, float(m))
        own = np.abs(np.array([m, -m])[:, None] - scaled).min(axis=1)
        mse += weight * ((block - 1) * others[0] / inside + float((own**2).mean())) / block
        mae += weight * ((block - 1) * others[1] / inside + float(own.mean())) / block
    return BlockError(float(mse), float(mae))


def _block_scale(m: float, largest: float, power: Power) -> float:
    if not power:
        return m / largest
    (fraction, exponent), (top, top_exponent) = math.frexp(m), math.frexp(largest)
    return math.ldexp(1.0, exponent - top_exponent + (power == "rceil" and fraction > top))


def _magnitudes(block: int) -> tuple[Doubles, Doubles]:
    """Points and weights for the largest magnitude of a block: Gauss–Legendre between the jumps of scales."""
    nodes, node_weights = np.polynomial.legendre.leggauss(24)
    binades: Doubles = np.exp2(np.arange(-12.0, 4.0))
    cuts = [binades, 1.5 * binades, 1.75 * binades, np.arange(1.0, 9.0, 0.25)]
    edges: Doubles = np.unique(np.concatenate(cuts))
    edges = edges[edges <= 9]
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    points = (middle[:, None] + half[:, None] * nodes).ravel()
    density = 2 * block * _pdf("gauss", points) * _erf(points / ROOT2) ** (block - 1)
    weights = (half[:, None] * node_weights).ravel() * density
    kept = weights > 1e-14
    return points[kept], weights[kept] / weights[kept].sum()


def _cut_error(levels: Doubles, m: float) -> tuple[float, float]:
    """∫(x − y)²φ and ∫|x − y|φ for |x| < m, y the nearest level."""
    edges = np.clip(middles(levels), -m, m)
    zeroth, first, second = moments("gauss", edges)
    squared = float((second - 2 * levels * first + levels * levels * zeroth).sum())
    left = np.minimum(np.maximum(levels, edges[:-1]), edges[1:])
    below, above = np.stack([edges[:-1], left]), np.stack([left, edges[1:]])
    absolute = 0.0
    for ends, sign in ((below, -1.0), (above, 1.0)):
        integrals = _gauss_integrals(ends)
        share, moment = integrals[0][1] - integrals[0][0], integrals[1][1] - integrals[1][0]
        absolute += sign * float((moment - levels * share).sum())
    return squared, absolute
