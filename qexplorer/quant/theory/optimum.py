"""The levels of least mean squared error: of any kind, evenly spaced, or of a given table with a free scale."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import Doubles
from qexplorer.quant.theory.source import SOURCES, Density, Source, middles, moments

Grid = Literal["mid_rise", "restricted", "full_range"]
SCALES_PER_OCTAVE = 8
HALVINGS = 30
AS_GOOD = 1e-6
"""Errors that differ by so little, relatively, count as one: floats do as well at any scale far from their ends."""


@dataclass(frozen=True)
class Optimum:
    """The best levels of a kind, `[K]` ascending, for a source of unit variance; `step` is 0 where steps differ.

    `entropy_bits` = −Σ p·log₂ p of the codes: what a lossless coder could bring them down to.
    """

    levels: Doubles
    mse: float
    entropy_bits: float
    step: float = 0.0

    @property
    def sqnr_db(self) -> float:
        """Signal power over error power, in dB."""
        return -10 * math.log10(self.mse)


def distortion(density: Density, levels: Doubles) -> float:
    """The mean squared error when every value takes the nearest of ascending levels `[K]`."""
    zeroth, first, second = moments(density, middles(levels))
    return float((second - 2 * levels * first + levels * levels * zeroth).sum())


def _optimum(density: Density, levels: Doubles, step: float = 0.0) -> Optimum:
    share = moments(density, middles(levels))[0]
    used = share[share > 0]
    levels.flags.writeable = False  # it is kept for the next who asks
    return Optimum(levels, distortion(density, levels), float(-(used * np.log2(used)).sum()) + 0.0, step)


@lru_cache(maxsize=64)
def lloyd_max(density: Density, bits: int) -> Optimum:
    """The best 2^bits levels of all (Lloyd 1957, Max 1960), `bits` from 1 to 8: each is the mean of its cell.

    Newton's method on “level − mean of its cell”, which for these densities has one zero, from levels as dense as the
    cube root of the density. They lie symmetrically, so the positive half is enough.
    """
    half = 2 ** (bits - 1)
    places: Doubles = (np.arange(half, dtype=np.float64) + half + 0.5) / (2 * half)
    source = SOURCES[density]
    levels = source.companded(places)
    for _ in range(50):
        step = _newton(source, levels)
        levels = np.sort(levels - step)
        if np.abs(step).max() < 1e-12:
            break
    return _optimum(density, np.concatenate([-levels[::-1], levels]))


def _newton(source: Source, levels: Doubles) -> Doubles:
    """How far each positive level `[K]` is to go down."""
    inner = (levels[1:] + levels[:-1]) / 2
    zeroth, first, _ = source.moments(np.concatenate([[0.0], inner, [np.inf]]))
    means = first / zeroth
    # a mean follows an edge of its cell by f(edge)·(distance to the mean)/share; an edge follows a level by a half
    below = source.pdf(inner) * (inner - means[:-1]) / zeroth[:-1] / 2
    above = source.pdf(inner) * (means[1:] - inner) / zeroth[1:] / 2
    own = 1 - np.append(below, 0.0) - np.insert(above, 0, 0.0)
    return _tridiagonal(-above, own, -below, levels - means)


def _tridiagonal(below: Doubles, own: Doubles, above: Doubles, right: Doubles) -> Doubles:
    """Solve for `[K]`, the matrix given by its diagonals `[K − 1]`, `[K]`, `[K − 1]`.

    Elimination without exchange of rows: a mean moves less far than the edges of its cell where the logarithm of the
    density is concave, so the diagonal outweighs the rest. NumPy's solver waits longer for its threads.
    """
    pivots, rests = own.tolist(), right.tolist()
    for i, (low, high) in enumerate(zip(below.tolist(), above.tolist(), strict=True)):
        factor = low / pivots[i]
        pivots[i + 1] -= factor * high
        rests[i + 1] -= factor * rests[i]
    solved = [rests[-1] / pivots[-1]]
    for high, pivot, rest in zip(reversed(above.tolist()), pivots[-2::-1], rests[-2::-1], strict=True):
        solved.append((rest - high * solved[-1]) / pivot)
    return np.array(solved[::-1])


@lru_cache(maxsize=128)
def optimal_uniform(density: Density, bits: int, grid: Grid) -> Optimum:
    """The best step of an even grid.

    `mid_rise`: ±Δ/2, ±3Δ/2 …; `restricted`: −(2^(b−1) − 1)Δ … (2^(b−1) − 1)Δ; `full_range`: one level more below.
    """
    half = 2 ** (bits - 1)
    match grid:
        case "mid_rise":
            return optimal_scale(density, tuple(k + 0.5 for k in range(-half, half)))
        case "restricted":
            return optimal_scale(density, tuple(float(k) for k in range(-half + 1, half)))
        case "full_range":
            return optimal_scale(density, tuple(float(k) for k in range(-half, half)))


@lru_cache(maxsize=128)
def optimal_scale(density: Density, table: tuple[float, ...]) -> Optimum:
    """The table of levels `[K]`, in any order, with its best scale > 0 of all; of equally good ones the least.

    Scales are tried at even ratios, and those best among their neighbours made exact by halving. Those below
    the least one tried are too small: every |x| > 0.4 takes an outermost level there, and ∫x·f from 0.4 on, which is
    over 0.3, says that a larger scale errs less. At the largest one every level but 0 is at 4 or farther, too far. A
    lone level is best at 0.
    """
    levels: Doubles = np.unique(np.array(table, np.float64) + 0.0)
    spread = float(levels[-1] - levels[0])
    if not spread:
        return _optimum(density, np.zeros(1))
    sizes = np.abs(levels[levels != 0])
    reach = float(sizes.max())
    low, high = min(0.4, 0.3 * spread / reach) / reach, 4 / float(sizes.min())
    count = math.ceil(SCALES_PER_OCTAVE * math.log2(high / low)) + 1
    scales: Doubles = low * np.exp2(np.arange(count) / SCALES_PER_OCTAVE)
    errors = np.array([distortion(density, levels * s) for s in scales])
    around = np.pad(errors, 1, constant_values=np.inf)
    lowest = (errors <= around[:-2]) & (errors <= around[2:]) & (errors < 1.01 * errors.min())
    found: dict[float, float] = {}
    for at in np.flatnonzero(lowest):
        scale = _bisected(density, levels, float(scales[max(at - 1, 0)]), float(scales[min(at + 1, count - 1)]))
        found[scale] = distortion(density, levels * scale)
    scale = min(s for s, error in found.items() if error <= min(found.values()) * (1 + AS_GOOD))
    steps = np.diff(levels)
    even = steps.size > 0 and bool(np.allclose(steps, steps[0], rtol=1e-9, atol=0))
    return _optimum(density, levels * scale, scale * float(steps[0]) if even else 0.0)


def _bisected(density: Density, levels: Doubles, low: float, high: float) -> float:
    """The scale s of least error between two: there d error/ds = 2·Σ y·(s·y·∫f − ∫x·f) goes from below 0 to above."""
    for _ in range(HALVINGS):
        scale = (low + high) / 2
        zeroth, first, _ = moments(density, middles(levels * scale))
        if (levels * (levels * scale * zeroth - first)).sum() > 0:
            high = scale
        else:
            low = scale
    return (low + high) / 2
