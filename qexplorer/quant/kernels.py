"""Integers rounded half to even, in compiled code: the reference's counts exactly, its sums up to rounding.

Each function runs on one thread, without the GIL, so that a pool may run it over pieces of a tensor. Values are taken
in strips whose buffers stay in the first-level cache. Of memory a value is read once (4 bytes of a float32, 2 of a
float16 or bfloat16, which are widened in the strip) and nothing of the tensor's size is written. A strip is quantized,
then summed (Σx², Σe², Σ|e|, Σy², Σxy and the worst error, in float64), then counted: codes, and where histograms are
wanted originals, dequantized values and errors.

Every loop but the increments of counters has a plain body, which the compiler turns into vector code. Quantizing is
compiled strictly; only sums may be reordered (`reassoc`), because that is what lets the processor add several values
at once. Extremes are found among the bits taken as whole numbers, whose order is that of the values: a maximum of
floats would not be vectorized. Places of counters are unsigned: for signed ones each access would ask for the sign.

Rows are float32, float16, or uint16 for the bits of bfloat16.

Importing this module loads numba and compiles, or loads what is cached: import it where it is first needed.
"""

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numba import types

from qexplorer.quant.arrays import AnyArray, Doubles, Floats
from qexplorer.quant.bins import Bins
from qexplorer.quant.measure import Measured
from qexplorer.quant.metrics import ErrorSums
from qexplorer.quant.params import QuantParams
from qexplorer.quant.sketch import LOW_BITS
from qexplorer.quant.values import widened

STRIP = 1024
"""Values in one strip: their buffers take 28 KB."""
FEW_CODES = 32
"""So few codes are counted in pairs: half as many increments."""
_ONE = np.uint64(1 << 40)

_WIDE = types.Array(types.uint32, 2, "C", readonly=True)
_HALF = types.Array(types.uint16, 2, "C", readonly=True)
_WIDE_ROW = types.Array(types.uint32, 1, "C", readonly=True)
_HALF_ROW = types.Array(types.uint16, 1, "C", readonly=True)
_F4 = types.float32[::1]
_F8 = types.float64[::1]
_I4 = types.int32[::1]
_I8 = types.int64[::1]
_U1 = types.uint8[::1]
_U4 = types.uint32[::1]
_U8 = types.uint64[::1]


def _compiled(*signatures: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile now; keep the result on disk where there is a place for it, and do without where there is none."""

    def compile_now(function: Callable[..., Any]) -> Any:
        try:
            return nb.njit(list(signatures), cache=True, nogil=True, **options)(function)
        except (RuntimeError, OSError):
            return nb.njit(list(signatures), nogil=True, **options)(function)

    return compile_now


def _inlined(function: Callable[..., Any]) -> Any:
    """Compile into whatever calls it: for a few dozen values a call would cost as much as the work."""
    return nb.njit(nogil=True, inline="always")(function)


@_compiled(types.intp(_WIDE_ROW, types.boolean, _U4))
def _load_wide(row: Any, half: Any, bits: Any) -> int:
    """Copy the bits of the finite values of `row` to the front of `bits`; how many they are."""
    beyond = 0
    for i in range(row.size):
        bits[i] = row[i]
        beyond += (row[i] & np.uint32(0x7FFFFFFF)) >= np.uint32(0x7F800000)
    if beyond:
        at = 0
        for value in row:
            if (value & np.uint32(0x7FFFFFFF)) < np.uint32(0x7F800000):
                bits[at] = value
                at += 1
    return row.size - beyond


@_compiled(types.intp(_HALF_ROW, types.boolean, _U4))
def _load_half(row: Any, half: Any, bits: Any) -> int:
    """The same for float16 (`half`) and bfloat16, widened to the bits of float32.

    A bfloat16 is the upper half of a float32. The exponent of a float16 counts from 2⁻¹⁵ and not from 2⁻¹²⁷, so that
    a multiplication by 2¹¹² puts it right, subnormal numbers included.
    """
    infinity = np.uint16(0x7C00) if half else np.uint16(0x7F80)
    beyond = 0
    for i in range(row.size):
        beyond += (row[i] & np.uint16(0x7FFF)) >= infinity
    if beyond == 0:
        for i in range(row.size):
            bits[i] = np.uint32(row[i])
    else:
        at = 0
        for value in row:
            if (value & np.uint16(0x7FFF)) < infinity:
                bits[at] = np.uint32(value)
                at += 1
    n = row.size - beyond
    if half:
        x = bits[:n].view(np.float32)
        for i in range(n):
            b = bits[i]
            bits[i] = ((b & np.uint32(0x7FFF)) << np.uint32(13)) | ((b & np.uint32(0x8000)) << np.uint32(16))
        for i in range(n):
            x[i] = x[i] * np.float32(2.0**112)
    else:
        for i in range(n):
            bits[i] = bits[i] << np.uint32(16)
    return n


@_inlined
def _quantize(x: Any, scale: Any, true_division: bool, zero_point: int, qmin: int, qmax: int, q: Any, y: Any) -> Any:
    """Values to codes `q` and to what these stand for, `y`; how many were clamped.

    Rounded half to even, shifted by the zero point, clamped. A quotient that is no number has the code of zero.
    """
    zero, least, most = np.float32(zero_point), np.float32(qmin), np.float32(qmax)
    inverse = np.float32(1) / scale
    clamped = np.int32(0)
    if true_division or not np.isfinite(inverse):
        for i in range(x.size):
            q[i] = x[i] / scale if true_division else x[i] * inverse
            q[i] = q[i] if q[i] == q[i] else np.float32(0)
    else:
        for i in range(x.size):
            code = np.rint(x[i] * inverse) + zero
            clamped += np.int32((code < least) | (code > most))
            code = max(least, code)
            code = min(most, code)
            q[i] = code
            y[i] = (code - zero) * scale
        return clamped
    for i in range(x.size):
        code = np.rint(q[i]) + zero
        clamped += np.int32((code < least) | (code > most))
        code = max(least, code)
        code = min(most, code)
        q[i] = code
        y[i] = (code - zero) * scale
    return clamped


@_compiled(types.void(_F4, _F4, _F8, _F8), fastmath={"reassoc", "nsz"})
def _add_sums(x: Any, y: Any, e: Any, sums: Any) -> None:
    """Errors to `e`; add Σx², Σe², Σ|e|, Σy² and Σxy to `sums[:5]`."""
    x2 = e2 = e1 = y2 = xy = 0.0
    for i in range(x.size):
        a, b = np.float64(x[i]), np.float64(y[i])
        d = b - a
        e[i] = d
        x2 += a * a
        e2 += d * d
        e1 += np.abs(d)
        y2 += b * b
        xy += a * b
    sums[0] += x2
    sums[1] += e2
    sums[2] += e1
    sums[3] += y2
    sums[4] += xy


@_compiled(types.int64(_I8))
def _worst(bits: Any) -> Any:
    """The bits of the largest magnitude."""
    worst = np.int64(0)
    for i in range(bits.size):
        worst = max(worst, bits[i] & np.int64(0x7FFFFFFFFFFFFFFF))
    return worst


@_compiled(types.uint32(types.float64, _F8, types.int64))
def _bin_of(v: float, edges: Any, bins: int) -> Any:
    """The bin of a value by the edges themselves, from 1 on; 0 for outside."""
    if not edges[0] <= v <= edges[bins]:
        return np.uint32(0)
    at = np.int64((v - edges[0]) * (bins / (edges[bins] - edges[0])))
    at = max(0, min(at, bins - 1))
    while v < edges[at]:
        at -= 1
    while at < bins - 1 and v >= edges[at + 1]:
        at += 1
    return np.uint32(at + 1)


@_compiled(types.void(_F4, _F8, _U4, _U1, _I8))
def _count(values: Any, edges: Any, places: Any, doubtful: Any, counts: Any) -> None:
    """Count values where `np.histogram` does: the last bin takes its right edge. The first and the last of `counts`,
    `[bins + 2]`, take what lies outside.

    A bin follows from a value by arithmetic in float32. Where a value lies so near an edge that rounding may have moved
    it to another bin, the edges themselves are looked at: these are one in a few hundred. `places` and `doubtful` are
    room for a strip; doubts are looked for eight at a time.
    """
    bins = counts.size - 2
    first, stop = edges[0], edges[bins]
    width = (stop - first) / bins
    per_width = np.float32(1 / width)
    start, most = np.float32(first - width), np.float32(bins + 1)
    reach = max(np.abs(first), np.abs(stop)) * np.float64(per_width)
    doubt = np.float32(min(0.5, 2.0**-22 * (bins + 1 + reach)))
    for i in range(values.size):
        place = (values[i] - start) * per_width
        doubtful[i] = np.uint8(~(np.abs(place - np.rint(place)) > doubt))
        place = max(np.float32(0), place)
        places[i] = np.uint32(np.int32(min(most, place)))
    words = doubtful.view(np.uint64)
    for i in range(values.size, (values.size + 7) // 8 * 8):
        doubtful[i] = 0
    for w in range((values.size + 7) // 8):
        if words[w]:
            for i in range(8 * w, 8 * w + 8):
                if doubtful[i]:
                    places[i] = _bin_of(np.float64(values[i]), edges, bins)
    for i in range(values.size):
        counts[places[i]] += 1


@_compiled(types.void(_F4, types.int32, _U4, _I8))
def _count_codes(q: Any, qmin: int, places: Any, counts: Any) -> None:
    for i in range(q.size):
        places[i] = np.uint32(np.int32(q[i]) - qmin)
    for i in range(q.size):
        counts[places[i]] += 1


@_compiled(types.void(_F4, types.int32, types.uint32, _U4, _I8))
def _count_pairs(q: Any, qmin: int, codes: int, places: Any, counts: Any) -> None:
    """Count few codes two at once, one of the first half with one of the second: `counts` is `[codes²]`."""
    half = q.size // 2
    first, second = q[:half], q[half : 2 * half]
    for i in range(half):
        places[i] = np.uint32(np.int32(first[i]) - qmin) * codes + np.uint32(np.int32(second[i]) - qmin)
    for i in range(half):
        counts[places[i]] += 1


@_compiled(types.void(_F8, _F4))
def _to_single(wide: Any, single: Any) -> None:
    for i in range(wide.size):
        single[i] = np.float32(wide[i])


_COUNTS = types.Tuple((_I8,) * 4)


@_compiled(types.void(_F4, _F4, _F8, _F4, types.int64, _U4, _U1, _F8, _F8, types.boolean, _I8, _COUNTS))
def _count_all(
    x: Any, y: Any, e: Any, q: Any, qmin: int, places: Any, doubtful: Any, edges: Any, error_edges: Any, levels: bool,
    pairs: Any, counts: Any,
) -> None:  # fmt: skip
    """Count a strip: its codes, and where `edges` has bins its values, what they become and the errors. Overwrites
    `q`.
    """
    codes, lowest = counts[0].size, np.int32(qmin)
    if pairs.size > 1:
        _count_pairs(q, lowest, np.uint32(codes), places, pairs)
        _count_codes(q[q.size - q.size % 2 :], lowest, places, counts[0])
    else:
        _count_codes(q, lowest, places, counts[0])
    if edges.size > 1:
        _count(x, edges, places, doubtful, counts[1])
        if not levels:
            _count(y, edges, places, doubtful, counts[2])
        _to_single(e, q)
        _count(q, error_edges, places, doubtful, counts[3])


@_compiled(types.void(_I8, _I8))
def _unpair(pairs: Any, counts: Any) -> None:
    """Add what was counted in pairs."""
    if pairs.size > 1:
        for a in range(counts.size):
            for b in range(counts.size):
                counts[a] += pairs[a * counts.size + b]
                counts[b] += pairs[a * counts.size + b]


def _loading(load: Any, row_type: Any) -> Any:
    """What loads a strip of rows of one width."""

    @_compiled(types.intp(row_type, types.boolean, types.int64, _U4, _I8))
    def load_rows(strip: Any, half: Any, width: int, bits: Any, begins: Any) -> Any:
        """The finite values of rows of `width` one after the other; `begins` are where each begins. How many in all."""
        rows = strip.size // width
        end = load(strip, half, bits)
        for r in range(rows + 1):
            begins[r] = r * width
        if end < strip.size:
            for r in range(rows):
                begins[r + 1] = begins[r] + load(strip[r * width : (r + 1) * width], half, bits[begins[r] :])
        return end

    return load_rows


_SETTINGS = (_F4, _I4, types.int64, types.int64, types.boolean, _F8, _F8, types.boolean)


def _measuring(load_rows: Any, rows_type: Any) -> Any:
    """The measuring kernel for rows of one width."""

    @_compiled(types.void(rows_type, types.boolean, types.int64, *_SETTINGS, _COUNTS, types.float64[:, ::1]))
    def measure_rows(
        rows: Any, half: Any, together: int, scale: Any, zero_point: Any, qmin: int, qmax: int, true_division: bool,
        edges: Any, error_edges: Any, levels: bool, counts: Any, sums: Any,
    ) -> None:  # fmt: skip
        """All of `[R, N]`, whose scales serve equally many rows each. `counts`: codes, originals, dequantized, errors,
        the last three only where `edges` has bins; `levels` says that the dequantized are counted by others. `sums`:
        `[R / together, 8]`, see `measure`.

        A strip holds several short rows or a part of a long one. `begins` are where its rows begin in the strip.
        """
        bits, places = np.empty(STRIP, np.uint32), np.empty(STRIP, np.uint32)
        x, q, y = bits.view(np.float32), np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
        e, worst, begins = np.empty(STRIP, np.float64), np.empty(1, np.int64), np.empty(STRIP + 1, np.int64)
        doubtful = np.empty(STRIP, np.uint8)
        pairs = np.zeros(counts[0].size ** 2 if counts[0].size <= FEW_CODES else 1, np.int64)
        groups, length = rows.shape
        flat = rows.reshape(groups * length)
        each = max(1, groups // max(1, scale.size))
        most = max(1, STRIP // max(1, length))
        for first in range(0, groups, most):
            n_rows = min(most, groups - first)
            for start in range(0, length, STRIP):
                width = min(STRIP, length - start)
                at = first * length + start
                end = load_rows(flat[at : at + n_rows * width], half, width, bits, begins)
                for r in range(n_rows):
                    s, begin, to = (first + r) // each, begins[r], begins[r + 1]
                    sums[(first + r) // together, 5] += _quantize(
                        x[begin:to], scale[s], true_division, zero_point[s], qmin, qmax, q[begin:to], y[begin:to]
                    )
                r = 0
                while r < n_rows:
                    slot = (first + r) // together
                    stop = min(n_rows, (slot + 1) * together - first)
                    begin, to = begins[r], begins[stop]
                    _add_sums(x[begin:to], y[begin:to], e[begin:to], sums[slot])
                    sums[slot, 6] += to - begin
                    r = stop
                worst[0] = _worst(e[:end].view(np.int64))
                sums[first // together, 7] = max(sums[first // together, 7], worst.view(np.float64)[0])
                _count_all(x[:end], y[:end], e[:end], q[:end], qmin, places, doubtful, edges, error_edges, levels,
                           pairs, counts)  # fmt: skip
        _unpair(pairs, counts[0])

    return measure_rows


_measure_wide = _measuring(_loading(_load_wide, _WIDE_ROW), _WIDE)
_measure_half = _measuring(_loading(_load_half, _HALF_ROW), _HALF)


@_compiled(types.float64(_F4, _F4), fastmath={"reassoc", "nsz"})
def _square_sum(x: Any, y: Any) -> float:
    """Σe², e in float32."""
    total = 0.0
    for i in range(x.size):
        e = np.float64(y[i] - x[i])
        total += e * e
    return total


@_compiled(types.float64(_F4, _F4, _F8), fastmath={"reassoc", "nsz"})
def _weighted_square_sum(x: Any, y: Any, weights: Any) -> float:
    total = 0.0
    for i in range(x.size):
        e = np.float64(y[i] - x[i])
        total += e * e * weights[i]
    return total


@_compiled(types.void(_WIDE, types.float64[:, ::1], _F4, _I4, types.int64, types.int64, types.boolean, _F8))
def _squared_error(
    rows: Any, weights: Any, scale: Any, zero_point: Any, qmin: int, qmax: int, true_division: bool, total: Any
) -> None:
    """Each value counts once where `weights` has no columns; else rows hold finite values only."""
    bits = np.empty(STRIP, np.uint32)
    x, q, y = bits.view(np.float32), np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    for g in range(rows.shape[0]):
        for start in range(0, rows.shape[1], STRIP):
            n = _load_wide(rows[g, start : start + STRIP], False, bits)
            _quantize(x[:n], scale[g], true_division, zero_point[g], qmin, qmax, q[:n], y[:n])
            if weights.shape[1] == 0:
                total[g] += _square_sum(x[:n], y[:n])
            else:
                total[g] += _weighted_square_sum(x[:n], y[:n], weights[g, start : start + STRIP])


@_compiled(types.void(_WIDE, types.int32[:, ::1]))
def _extremes_wide(rows: Any, ends: Any) -> None:
    """The bits of the least and greatest finite value of each row, as numbers in the order of the values."""
    for g in range(rows.shape[0]):
        lo, hi = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
        row = rows[g].view(np.int32)
        for i in range(row.size):
            key = row[i] ^ ((row[i] >> np.int32(31)) & np.int32(0x7FFFFFFF))
            lo = min(lo, key)
            hi = max(hi, key)
        if hi >= np.int32(0x7F800000) or lo < np.int32(-0x7F800000):
            lo, hi = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
            for i in range(row.size):
                if (row[i] & np.int32(0x7FFFFFFF)) < np.int32(0x7F800000):
                    key = row[i] ^ ((row[i] >> np.int32(31)) & np.int32(0x7FFFFFFF))
                    lo = min(lo, key)
                    hi = max(hi, key)
        ends[0, g], ends[1, g] = lo, hi


@_compiled(types.void(_HALF, types.boolean, types.int32[:, ::1]))
def _extremes_half(rows: Any, half: Any, ends: Any) -> None:
    infinity = np.int16(0x7C00) if half else np.int16(0x7F80)
    for g in range(rows.shape[0]):
        lo, hi = np.int16(0x7FFF), np.int16(-0x8000)
        row = rows[g].view(np.int16)
        for i in range(row.size):
            key = row[i] ^ ((row[i] >> np.int16(15)) & np.int16(0x7FFF))
            lo = min(lo, key)
            hi = max(hi, key)
        if hi >= infinity or lo < -infinity:
            lo, hi = np.int16(0x7FFF), np.int16(-0x8000)
            for i in range(row.size):
                if (row[i] & np.int16(0x7FFF)) < infinity:
                    key = row[i] ^ ((row[i] >> np.int16(15)) & np.int16(0x7FFF))
                    lo = min(lo, key)
                    hi = max(hi, key)
        ends[0, g], ends[1, g] = lo, hi


@_compiled(types.void(_WIDE_ROW, _U8))
def _tally_wide(row: Any, table: Any) -> None:
    """Add each value to its bucket: 1 in the upper 24 bits, and its own lower bits in the lower 40."""
    low = np.uint64((1 << LOW_BITS) - 1)
    for i in range(row.size):
        value = np.uint64(row[i])
        table[value >> np.uint64(LOW_BITS)] += _ONE | (value & low)


@_compiled(types.void(_HALF_ROW, _U4))
def _tally_half(row: Any, table: Any) -> None:
    """Count each of the 65,536 values that 16 bits can hold."""
    for i in range(row.size):
        table[row[i]] += np.uint32(1)


def measure(
    rows: AnyArray, params: QuantParams, bins: Bins | None, error_bins: Bins | None, together: int = 1
) -> Measured:
    """What `measure_reference` says of integers rounded half to even, from one pass over `[R, N]`.

    A scale serves equally many rows that follow each other: all, or one, or some. Without `bins` nothing but codes is
    counted. Where all share one scale the histogram of dequantized values follows from the counts of their codes.
    """
    codes = params.qmax - params.qmin + 1
    sizes = (codes, *((0, 0, 0) if bins is None or error_bins is None else (bins.count, bins.count, error_bins.count)))
    counts = tuple(np.zeros(size + 2 * (i > 0), np.int64) for i, size in enumerate(sizes))
    sums = np.zeros((len(rows) // together, 8))
    edges, error_edges = (np.zeros(1) if each is None else each.edges for each in (bins, error_bins))
    levels = len(params.scale) == 1
    wide = rows.dtype == np.float32
    ready = np.ascontiguousarray
    (_measure_wide if wide else _measure_half)(
        ready(rows).view(np.uint32 if wide else np.uint16), rows.dtype == np.float16, together, *_arguments(params),
        edges, error_edges, levels, counts, sums,
    )  # fmt: skip
    x2, e2, e1, y2, xy, clipped, n, e_max = sums.T
    dequantized = counts[2][1:-1]
    if levels and bins is not None:
        stand_for = (np.arange(codes) + (params.qmin - params.zero_point[0])).astype(np.float32) * params.scale[0]
        dequantized = bins.counts(stand_for, counts[0])
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
        original=counts[1][1:-1],
        dequantized=dequantized,
        errors=counts[3][1:-1],
        row_x2=x2.copy(),
        row_e2=e2.copy(),
    )


def squared_error(rows: Floats, params: QuantParams, weights: Doubles | None = None) -> Doubles:
    """Σe² of each group of `[G, N]`, e in float32 as the reference has it; NaN and infinite values are left out. Each
    value counts once, or `weights` times, `[G, N]`.
    """
    total = np.zeros(len(rows))
    often = np.zeros((len(rows), 0))
    if weights is not None:
        known = np.isfinite(rows)
        rows, often = np.where(known, rows, np.float32(0)), np.ascontiguousarray(np.where(known, weights, 0.0))
    _squared_error(np.ascontiguousarray(rows).view(np.uint32), often, *_arguments(params), total)
    return total


def extremes(rows: AnyArray) -> tuple[Floats, Floats]:
    """The least and greatest finite value of each row of `[R, N]`: `[R]`, `[R]`; +∞ and −∞ for a row without any."""
    ends = np.empty((2, len(rows)), np.int32)
    ready = np.ascontiguousarray(rows)
    if rows.dtype == np.float32:
        _extremes_wide(ready.view(np.uint32), ends)
        lo, hi = (ends ^ ((ends >> 31) & 0x7FFFFFFF)).view(np.float32)
        return np.where(ends[0] > ends[1], np.float32(np.inf), lo), np.where(ends[0] > ends[1], -np.float32(np.inf), hi)
    _extremes_half(ready.view(np.uint16), rows.dtype == np.float16, ends)
    bits = (ends ^ ((ends >> 15) & 0x7FFF)).astype(np.uint16)
    lo, hi = widened(bits.view(rows.dtype))
    return np.where(ends[0] > ends[1], np.float32(np.inf), lo), np.where(ends[0] > ends[1], -np.float32(np.inf), hi)


def tally(values: AnyArray, table: AnyArray) -> None:
    """Count values `[N]` by their upper bits into `table`, see `sketch`."""
    if values.dtype == np.float32:
        _tally_wide(np.ascontiguousarray(values).view(np.uint32), table)
    else:
        _tally_half(np.ascontiguousarray(values).view(np.uint16), table)


def _arguments(params: QuantParams) -> tuple[Any, ...]:
    ready = np.ascontiguousarray
    return (ready(params.scale), ready(params.zero_point), params.qmin, params.qmax, params.division == "true")
