"""How much of a curve can be seen."""

import numpy as np

from qexplorer.presentation import Curve


def points_of(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Its points, without those at no place of the x axis; what is not finite is a gap."""
    n = min(len(curve.xs), len(curve.ys))
    xs, ys = np.asarray(curve.xs, np.float64)[:n], np.asarray(curve.ys, np.float64)[:n]
    placed = np.isfinite(xs)
    ys = np.where(np.isfinite(ys), ys, np.nan)
    return (xs, ys) if placed.all() else (xs[placed], ys[placed])


def thinned(xs: np.ndarray, ys: np.ndarray, pieces: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a long curve the least and the greatest point of each piece: all that can be seen of it."""
    each = len(ys) // pieces
    if each < 4:
        return xs, ys
    whole = len(ys) // each
    blocks, starts = ys[: whole * each].reshape(whole, each), np.arange(whole) * each
    low = starts + np.argmin(np.where(np.isfinite(blocks), blocks, np.inf), axis=1)
    high = starts + np.argmax(np.where(np.isfinite(blocks), blocks, -np.inf), axis=1)
    kept = np.unique(np.concatenate([[0], low, high, np.arange(whole * each, len(ys)), [len(ys) - 1]]))
    return xs[kept], ys[kept]
