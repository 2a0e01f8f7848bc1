"""Integers rounded half to even, in compiled code: the reference's counts exactly, its sums up to rounding.

One thread each, without the GIL, so that a pool may run them over blocks. A strip of values is quantized into buffers
that stay in the first-level cache, then summed, then counted: the block is read once from memory (4 bytes a value)
and nothing of its size is written. Quantizing is compiled strictly; only sums may be reordered (`reassoc`), because
that is what lets the processor add several values at once.

Importing this module loads numba and compiles, or loads what is cached: import it where it is first needed.
"""

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numba import types

from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.bins import Bins
from qexplorer.quant.measure import Measured
from qexplorer.quant.metrics import ErrorSums
from qexplorer.quant.params import QuantParams

STRIP = 1024
"""Values in one strip: their buffers take 16 KB."""
LARGEST = np.float32(np.finfo(np.float32).max)

_ROWS = types.Array(types.float32, 2, "C", readonly=True)
_ROW = types.Array(types.float32, 1, "C", readonly=True)
_F4 = types.float32[::1]
_F8 = types.float64[::1]
_I4 = types.int32[::1]
_I8 = types.int64[::1]


def _compiled(signature: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile now; keep the result on disk where there is a place for it, and do without where there is none."""

    def compile_now(function: Callable[..., Any]) -> Any:
        try:
            return nb.njit(signature, cache=True, nogil=True, **options)(function)
        except (RuntimeError, OSError):
            return nb.njit(signature, nogil=True, **options)(function)

    return compile_now


@_compiled(types.intp(_ROW, _F4))
def _load(row: Any, x: Any) -> int:
    """Copy the finite values of `row` to the front of `x`; how many they are."""
    finite = 0
    for i in range(row.size):
        x[i] = row[i]
        finite += np.abs(row[i]) <= LARGEST
    if finite < row.size:
        at = 0
        for value in row:
            if np.abs(value) <= LARGEST:
                x[at] = value
                at += 1
    return finite


@_compiled(types.void(_F4, types.float32, types.boolean, _F4))
def _divide(x: Any, scale: Any, true_division: bool, q: Any) -> None:
    """`x` over the scale, as the division mode says."""
    inverse = np.float32(1) / scale
    if true_division:
        for i in range(x.size):
            q[i] = x[i] / scale
    else:
        for i in range(x.size):
            q[i] = x[i] * inverse


@_compiled(types.intp(_F4, types.float32, types.float32, types.float32))
def _round(q: Any, zero: Any, least: Any, most: Any) -> int:
    """Quotients to codes, in place: rounded half to even, shifted by the zero point, clamped. How many were clamped.

    A quotient that is no number has the code of zero.
    """
    clamped = 0
    for i in range(q.size):
        code = np.rint(q[i]) + zero
        code = code if code == code else zero
        clamped += (code < least) | (code > most)
        code = max(least, code)
        q[i] = min(most, code)
    return clamped


@_compiled(types.void(_F4, types.float32, types.float32, _F4))
def _restore(q: Any, zero: Any, scale: Any, y: Any) -> None:
    """Codes to the values that they stand for."""
    for i in range(q.size):
        y[i] = (q[i] - zero) * scale


@_compiled(types.void(_F4, _F4, _F8), fastmath={"reassoc", "nsz"})
def _add_sums(x: Any, y: Any, sums: Any) -> None:
    """Add Σx², Σe², Σ|e|, Σy² and Σxy to `sums[:5]`."""
    x2 = e2 = e1 = y2 = xy = 0.0
    for i in range(x.size):
        a, b = np.float64(x[i]), np.float64(y[i])
        e = b - a
        x2 += a * a
        e2 += e * e
        e1 += np.abs(e)
        y2 += b * b
        xy += a * b
    sums[0] += x2
    sums[1] += e2
    sums[2] += e1
    sums[3] += y2
    sums[4] += xy


@_compiled(types.float64(_F4, _F4), fastmath={"nnan", "nsz"})
def _worst(x: Any, y: Any) -> float:
    """Max |e|."""
    worst = 0.0
    for i in range(x.size):
        worst = max(worst, np.abs(np.float64(y[i]) - np.float64(x[i])))
    return worst


@_compiled(types.void(_F4, _F8, _I4, _I8))
def _count(values: Any, edges: Any, places: Any, counts: Any) -> None:
    """Count values where `np.histogram` does: the last bin takes its right edge. `counts[-1]` takes all outside.

    A bin follows from a value by arithmetic. Only where a value lies so near an edge that rounding may have moved it
    to the other side are the edges themselves looked at. `places` is room for the bins of a strip.
    """
    bins = counts.size - 1
    first, stop = edges[0], edges[bins]
    per_width = bins / (stop - first)
    doubt = 1e-15 * (bins + (np.abs(first) + np.abs(stop)) * per_width)
    doubtful = 0
    for i in range(values.size):
        v = np.float64(values[i])
        inside = (v >= first) & (v <= stop)
        place = (v - first) * per_width
        doubtful += inside & (np.abs(place - np.rint(place)) <= doubt)
        places[i] = np.int32(place if inside else np.float64(bins))
    if doubtful:
        for i in range(values.size):
            v = np.float64(values[i])
            if first <= v <= stop:
                at = min(places[i], bins - 1)
                at -= v < edges[at]
                at += at < bins - 1 and v >= edges[at + 1]
                places[i] = at
    for i in range(values.size):
        counts[places[i]] += 1


@_compiled(types.void(_F4, types.int64, _I8))
def _count_codes(q: Any, qmin: int, counts: Any) -> None:
    for code in q:
        counts[np.intp(code) - qmin] += 1


@_compiled(types.void(_F4, _F4, _F4))
def _subtract(x: Any, y: Any, e: Any) -> None:
    for i in range(x.size):
        e[i] = np.float32(np.float64(y[i]) - np.float64(x[i]))


@_compiled(
    types.void(_ROWS, _F4, _I4, types.int64, types.int64, types.boolean, _F8, _F8, types.Tuple((_I8,) * 4),
               types.float64[:, ::1])
)  # fmt: skip
def _measure(
    rows: Any, scale: Any, zero_point: Any, qmin: int, qmax: int, true_division: bool, edges: Any, error_edges: Any,
    counts: Any, sums: Any,
) -> None:  # fmt: skip
    """All of a block `[G, N]`. `counts`: codes, originals, dequantized, errors. `sums`: `[G, 8]`, see `measure`."""
    x, q, y = np.empty(STRIP, np.float32), np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    places = np.empty(STRIP, np.int32)
    least, most = np.float32(qmin), np.float32(qmax)
    groups, length = rows.shape
    together = max(1, STRIP // max(1, length))
    for first in range(0, groups, together):
        for start in range(0, length, STRIP):
            end = 0
            for g in range(first, min(first + together, groups)):
                n = _load(rows[g, start : start + STRIP], x[end:])
                at, end, zero = end, end + n, np.float32(zero_point[g])
                _divide(x[at:end], scale[g], true_division, q[at:end])
                sums[g, 5] += _round(q[at:end], zero, least, most)
                sums[g, 6] += n
                _restore(q[at:end], zero, scale[g], y[at:end])
                _add_sums(x[at:end], y[at:end], sums[g])
            sums[first, 7] = max(sums[first, 7], _worst(x[:end], y[:end]))
            _count_codes(q[:end], qmin, counts[0])
            _count(x[:end], edges, places, counts[1])
            _count(y[:end], edges, places, counts[2])
            _subtract(x[:end], y[:end], q[:end])
            _count(q[:end], error_edges, places, counts[3])


@_compiled(types.float64(_F4, _F4), fastmath={"reassoc", "nsz"})
def _square_sum(x: Any, y: Any) -> float:
    """Σe², e in float32."""
    total = 0.0
    for i in range(x.size):
        e = np.float64(y[i] - x[i])
        total += e * e
    return total


@_compiled(types.void(_ROWS, _F4, _I4, types.int64, types.int64, types.boolean, _F8))
def _squared_error(
    rows: Any, scale: Any, zero_point: Any, qmin: int, qmax: int, true_division: bool, total: Any
) -> None:
    x, q, y = np.empty(STRIP, np.float32), np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    least, most = np.float32(qmin), np.float32(qmax)
    for g in range(rows.shape[0]):
        zero = np.float32(zero_point[g])
        for start in range(0, rows.shape[1], STRIP):
            n = _load(rows[g, start : start + STRIP], x)
            _divide(x[:n], scale[g], true_division, q[:n])
            _round(q[:n], zero, least, most)
            _restore(q[:n], zero, scale[g], y[:n])
            total[g] += _square_sum(x[:n], y[:n])


def measure(rows: Floats, params: QuantParams, bins: Bins, error_bins: Bins) -> Measured:
    """What `measure_reference` says of integers rounded half to even, from one pass over `[G, N]`."""
    sizes = (params.qmax - params.qmin + 1, bins.count + 1, bins.count + 1, error_bins.count + 1)
    counts = tuple(np.zeros(size, np.int64) for size in sizes)
    sums = np.zeros((len(rows), 8))
    _measure(*_arguments(rows, params), bins.edges, error_bins.edges, counts, sums)
    x2, e2, e1, y2, xy, clipped, n, e_max = sums.T
    return Measured(
        sums=ErrorSums(
            n=int(n.sum()),
            e2=float(e2.sum()),
            e1=float(e1.sum()),
            e_max=float(e_max.max(initial=0.0)),
            x2=float(x2.sum()),
            y2=float(y2.sum()),
            xy=float(xy.sum()),
            clipped=float(clipped.sum()),
        ),
        code_counts=counts[0],
        original=counts[1][:-1],
        dequantized=counts[2][:-1],
        errors=counts[3][:-1],
        group_x2=x2.copy(),
        group_e2=e2.copy(),
    )


def squared_error(rows: Floats, params: QuantParams) -> Doubles:
    """Σe² of each group of `[G, N]`, e in float32 as the reference has it; NaN and infinite values are left out."""
    total = np.zeros(len(rows))
    _squared_error(*_arguments(rows, params), total)
    return total


def _arguments(rows: Floats, params: QuantParams) -> tuple[Any, ...]:
    ready = np.ascontiguousarray
    return (ready(rows), ready(params.scale), ready(params.zero_point), params.qmin, params.qmax,
            params.division == "true")  # fmt: skip
