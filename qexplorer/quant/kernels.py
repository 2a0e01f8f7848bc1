"""Integers rounded half to even, in compiled code: the reference's counts exactly, its sums up to rounding.

Each function runs on one thread, without the GIL, so that a pool may run it over pieces of a tensor. Values are taken
in strips whose buffers stay in the first-level cache. Of memory a value is read once (4 bytes of a float32, 2 of a
float16 or bfloat16, which are widened in the strip) and nothing of the tensor's size is written. A strip is quantized,
then summed (Σx², Σe², Σ|e|, Σy², Σxy and the worst error, in float64), then counted: codes, and where histograms are
wanted originals, dequantized values and errors. An increment of a counter costs as much as all arithmetic on two
values, so few are made: of 16 codes three at once in a table of 4,096; of a tensor with one scale the codes follow from
the histogram of originals and the dequantized values from the codes, so that two increments a value remain.

Every loop but the increments of counters has a plain body, which the compiler turns into vector code. Quantizing is
compiled strictly; only sums may be reordered (`reassoc`), because that is what lets the processor add several values
at once. Extremes are found among the bits taken as whole numbers, whose order is that of the values: a maximum of
floats would not be vectorized. Places of counters are unsigned: for signed ones each access would ask for the sign.

Rows are float32, float16, or uint16 for the bits of bfloat16.

Importing this module loads numba and compiles, or loads what is cached: import it where it is first needed. All kernels
are in this file: a cache knows no change of another one.
"""

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numba import types

from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.bins import Bins
from qexplorer.quant.buckets import LOW_BITS, ZEROS
from qexplorer.quant.compiled import compiled
from qexplorer.quant.metrics import ErrorSums
from qexplorer.quant.params import QuantParams
from qexplorer.quant.piece_sums import PieceSums
from qexplorer.quant.tensor_source import widened

STRIP = 1024
"""Values in one strip: their buffers take 28 KB."""
TUPLES = 4096
"""Few codes are counted in pairs, triples and so on, as long as there are no more of these: fewer increments."""
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


def _inlined(function: Callable[..., Any]) -> Any:
    """Compile into whatever calls it: for a few dozen values a call would cost as much as the work."""
    return nb.njit(nogil=True, inline="always")(function)


@compiled(types.intp(_WIDE_ROW, _U4))
def _load_wide(row: Any, bits: Any) -> int:
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


@compiled(types.intp(_HALF_ROW, types.boolean, _U4))
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


@compiled(types.int64(_F4, _F4, _F4, types.int64, types.int64, _F4, _F4))
def _quantize_each(x: Any, scale: Any, inverse: Any, qmin: int, qmax: int, q: Any, y: Any) -> Any:
    """The same where each value has its own scale and 1/scale, all finite, and the zero point is 0."""
    least, most = np.float32(qmin), np.float32(qmax)
    clamped = np.int32(0)
    for i in range(x.size):
        code = np.rint(x[i] * inverse[i])
        clamped += np.int32((code < least) | (code > most))
        code = max(least, code)
        code = min(most, code)
        q[i] = code
        y[i] = code * scale[i]
    return clamped


@_inlined
def _fill(part: Any, value: Any) -> None:
    for i in range(part.size):
        part[i] = value


@compiled(types.int64(_F4, _I8, types.int64, types.int64, types.int64, _F4, _I4, types.int64, types.int64,
                       types.boolean, types.float32[:, ::1], _F4, _F4))  # fmt: skip
def _quantize_rows(
    x: Any, begins: Any, rows: int, first: int, each: int, scale: Any, zero_point: Any, qmin: int, qmax: int,
    true_division: bool, own: Any, q: Any, y: Any,
) -> Any:  # fmt: skip
    """Quantize a strip whose rows, from the `first` on, begin at `begins`; `each` of them that follow each other share
    a scale. Short rows are done all at once: `own` is room for the scale and 1/scale of every value.
    """
    s = first // each
    if first % each + rows <= each:
        return _quantize(x, scale[s], true_division, zero_point[s], qmin, qmax, q, y)
    plain = not true_division
    for r in range(rows):
        s, begin, to = (first + r) // each, begins[r], begins[r + 1]
        inverse = np.float32(1) / scale[s]
        plain = plain and zero_point[s] == 0 and np.isfinite(inverse)
        _fill(own[0, begin:to], scale[s])
        _fill(own[1, begin:to], inverse)
    if plain:
        return _quantize_each(x, own[0], own[1], qmin, qmax, q, y)
    clamped = np.int64(0)
    for r in range(rows):
        s, begin, to = (first + r) // each, begins[r], begins[r + 1]
        clamped += _quantize(x[begin:to], scale[s], true_division, zero_point[s], qmin, qmax, q[begin:to], y[begin:to])
    return clamped


@compiled(types.void(_F4, _F4, _F8, _F8), fastmath={"reassoc", "nsz"})
def _add_sums(x: Any, y: Any, e: Any, sums: Any) -> None:
    """Errors to `e`; add Σx², Σe², Σ|e|, Σy² and Σxy to `sums[:5]`, and how many x and y are zero to `sums[8:]`."""
    x2 = e2 = e1 = y2 = xy = 0.0
    x_zeros = y_zeros = np.int32(0)
    for i in range(x.size):
        a, b = np.float64(x[i]), np.float64(y[i])
        d = b - a
        e[i] = d
        x2 += a * a
        e2 += d * d
        e1 += np.abs(d)
        y2 += b * b
        xy += a * b
        x_zeros += np.int32(x[i] == 0)
        y_zeros += np.int32(y[i] == 0)
    sums[0] += x2
    sums[1] += e2
    sums[2] += e1
    sums[3] += y2
    sums[4] += xy
    sums[8] += x_zeros
    sums[9] += y_zeros


@compiled(types.int64(_I8))
def _worst(bits: Any) -> Any:
    """The bits of the largest magnitude."""
    worst = np.int64(0)
    for i in range(bits.size):
        worst = max(worst, bits[i] & np.int64(0x7FFFFFFFFFFFFFFF))
    return worst


@compiled(types.uint32(types.float64, _F8, types.int64))
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


@compiled(types.int64(types.int64, types.int64, types.int64, types.int64))
def _cell(place: int, per_step: int, first: int, codes: int) -> int:
    """The code, from the least on, in whose cell a bin lies: `place` counts bins from 1 on."""
    return max(0, min(first + (place - 1) // per_step, codes - 1))


@compiled(types.void(_F4, _F8, _U4, _U1, _I8, types.int64, types.int64, _F4, types.int64, _I8))
def _count(
    values: Any, edges: Any, places: Any, doubtful: Any, counts: Any, per_step: int, first: int, q: Any, qmin: int,
    codes: Any,
) -> None:  # fmt: skip
    """Count values where `np.histogram` does: the last bin takes its right edge. The first and the last of `counts`,
    `[bins + 2]`, take what lies outside.

    A bin follows from a value by arithmetic in float32. Where a value lies so near an edge that rounding may have moved
    it to another bin, the edges themselves are looked at: these are one in a few hundred. `places` and `doubtful` are
    room for a strip; doubts are looked for eight at a time.

    Where `per_step` bins from the first edge on make the cell of one code, the first that of code `first` above the
    least, the codes `q` need no counting of their own: only for doubtful values does a code not follow from the bin,
    and `codes` take the difference.
    """
    bins = counts.size - 2
    begin, stop = edges[0], edges[bins]
    width = (stop - begin) / bins
    per_width = np.float32(1 / width)
    start, most = np.float32(begin - width), np.float32(bins + 1)
    reach = max(np.abs(begin), np.abs(stop)) * np.float64(per_width)
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
                    if per_step:
                        codes[_cell(np.int64(places[i]), per_step, first, codes.size)] -= 1
                        codes[np.int64(q[i]) - qmin] += 1
    for i in range(values.size):
        counts[places[i]] += 1


@compiled(types.void(types.Array(types.float32, 1, "C", readonly=True), _F8, _I8))
def _histogram(values: Any, edges: Any, counts: Any) -> None:
    places, doubtful, codes = np.empty(STRIP, np.uint32), np.empty(STRIP, np.uint8), np.empty(0, np.int64)
    strip = np.empty(STRIP, np.float32)
    for start in range(0, values.size, STRIP):
        n = min(STRIP, values.size - start)
        for i in range(n):
            strip[i] = values[start + i]
        _count(strip[:n], edges, places, doubtful, counts, 0, 0, strip, 0, codes)


@compiled(types.void(_F4, types.int32, _U4, _I8))
def _count_codes(q: Any, qmin: int, places: Any, counts: Any) -> None:
    for i in range(q.size):
        places[i] = np.uint32(np.int32(q[i]) - qmin)
    for i in range(q.size):
        counts[places[i]] += 1


@compiled(types.void(_F4, types.int32, types.uint32, types.int64, _U4, _U4))
def _count_tuples(q: Any, qmin: int, codes: int, length: int, places: Any, table: Any) -> None:
    """Count `length` codes at once, one of each part of the strip: `table` is `[codes^length]`."""
    size = q.size // length
    at = places[:size]
    for k in range(length):
        part = q[k * size : (k + 1) * size]
        if k == 0:
            for i in range(size):
                at[i] = np.uint32(np.int32(part[i]) - qmin)
        else:
            for i in range(size):
                at[i] = at[i] * codes + np.uint32(np.int32(part[i]) - qmin)
    for i in range(size):
        table[at[i]] += np.uint32(1)


@compiled(types.void(_U4, types.int64, _I8))
def _untie(table: Any, length: int, counts: Any) -> None:
    """Add what was counted in tuples."""
    for at in range(table.size):
        rest = at
        for _ in range(length):
            counts[rest % counts.size] += table[at]
            rest //= counts.size


@compiled(types.void(_F8, _F4))
def _to_single(wide: Any, single: Any) -> None:
    for i in range(wide.size):
        single[i] = np.float32(wide[i])


_COUNTS = types.Tuple((_I8,) * 4)


@compiled(types.void(_F4, _F4, _F8, _F4, _I8, _U4, _U1, _F8, _F8, types.int64, _U4, _COUNTS))
def _count_all(
    x: Any, y: Any, e: Any, q: Any, grid: Any, places: Any, doubtful: Any, edges: Any, error_edges: Any, length: int,
    table: Any, counts: Any,
) -> None:  # fmt: skip
    """Count a strip: its codes, and where `edges` has bins its values, what they become and the errors; see
    `measure_rows`. Overwrites `q`.
    """
    codes, lowest, per_step = counts[0].size, np.int32(grid[0]), grid[3]
    if per_step:
        pass
    elif length > 1:
        _count_tuples(q, lowest, np.uint32(codes), length, places, table)
        _count_codes(q[q.size - q.size % length :], lowest, places, counts[0])
    else:
        _count_codes(q, lowest, places, counts[0])
    if edges.size > 1:
        _count(x, edges, places, doubtful, counts[1], per_step, grid[4], q, grid[0], counts[0])
        if not grid[2]:
            _count(y, edges, places, doubtful, counts[2], 0, 0, q, 0, counts[0])
        _to_single(e, q)
        _count(q, error_edges, places, doubtful, counts[3], 0, 0, q, 0, counts[0])


@compiled(types.intp(_WIDE_ROW, _HALF_ROW, types.boolean, types.int64, types.int64, _U4))
def _load(wide: Any, halves: Any, half: bool, at: int, size: int, bits: Any) -> int:
    """The finite ones of `size` values from `at` on, of whichever of both holds the tensor; how many they are."""
    if wide.size:
        return _load_wide(wide[at : at + size], bits)
    return _load_half(halves[at : at + size], half, bits)


@compiled(types.intp(_WIDE_ROW, _HALF_ROW, types.boolean, types.int64, types.int64, types.int64, _U4, _I8))
def _load_rows(wide: Any, halves: Any, half: bool, at: int, rows: int, width: int, bits: Any, begins: Any) -> int:
    """The finite values of rows one after the other; `begins` are where each begins. How many in all."""
    end = _load(wide, halves, half, at, rows * width, bits)
    for r in range(rows + 1):
        begins[r] = r * width
    if end < rows * width:
        for r in range(rows):
            begins[r + 1] = begins[r] + _load(wide, halves, half, at + r * width, width, bits[begins[r] :])
    return end


@compiled(
    types.void(_WIDE_ROW, _HALF_ROW, types.boolean, types.int64, types.int64, types.int64, _F4, _I4, types.boolean, _I8,
               _F8, _F8, _COUNTS, types.float64[:, ::1])
)  # fmt: skip
def _measure_rows(
    wide: Any, halves: Any, half: bool, groups: int, length: int, together: int, scale: Any, zero_point: Any,
    true_division: bool, grid: Any, edges: Any, error_edges: Any, counts: Any, sums: Any,
) -> None:  # fmt: skip
    """All `groups` rows of `length`, whose scales serve equally many rows each. `counts`: codes, originals,
    dequantized, errors, the last three only where `edges` has bins. `sums`: `[R / together, 10]`, see `measure`.

    `grid`: qmin, qmax; whether dequantized values are counted by others; how many bins make the cell of a code,
    where the counts of codes are to follow from those of originals, else 0, and the code of the first cell.

    A strip holds several short rows or a part of a long one. `begins` are where its rows begin in the strip.
    """
    bits, places = np.empty(STRIP, np.uint32), np.empty(STRIP, np.uint32)
    x, q, y = bits.view(np.float32), np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    e, worst, begins = np.empty(STRIP, np.float64), np.empty(1, np.int64), np.empty(STRIP + 1, np.int64)
    doubtful, own = np.empty(STRIP, np.uint8), np.empty((2, STRIP), np.float32)
    tied = np.int64(1)
    while 1 < counts[0].size ** (tied + 1) <= TUPLES:
        tied += 1
    table = np.zeros(counts[0].size ** tied if tied > 1 else 0, np.uint32)
    each = max(1, groups // max(1, scale.size))
    most = max(1, STRIP // max(1, length))
    for first in range(0, groups, most):
        n_rows = min(most, groups - first)
        for start in range(0, length, STRIP):
            width = min(STRIP, length - start)
            at = first * length + start
            end = _load_rows(wide, halves, half, at, n_rows, width, bits, begins)
            sums[first // together, 5] += _quantize_rows(
                x[:end], begins, n_rows, first, each, scale, zero_point, grid[0], grid[1], true_division, own, q, y
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
            _count_all(x[:end], y[:end], e[:end], q[:end], grid, places, doubtful, edges, error_edges, tied, table,
                       counts)  # fmt: skip
    _untie(table, tied, counts[0])


@compiled(types.float64(_F4, _F4), fastmath={"reassoc", "nsz"})
def _square_sum(x: Any, y: Any) -> float:
    """Σe², e in float32."""
    total = 0.0
    for i in range(x.size):
        e = np.float64(y[i] - x[i])
        total += e * e
    return total


@compiled(types.float64(_F4, _F4, _F8), fastmath={"reassoc", "nsz"})
def _weighted_square_sum(x: Any, y: Any, weights: Any) -> float:
    total = 0.0
    for i in range(x.size):
        e = np.float64(y[i] - x[i])
        total += e * e * weights[i]
    return total


@compiled(types.void(_WIDE, types.float64[:, ::1], _F4, _I4, types.int64, types.int64, types.boolean, _F8))
def _squared_error(
    rows: Any, weights: Any, scale: Any, zero_point: Any, qmin: int, qmax: int, true_division: bool, total: Any
) -> None:
    """Each value counts once where `weights` has no columns; else rows hold finite values only."""
    bits = np.empty(STRIP, np.uint32)
    x, q, y = bits.view(np.float32), np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    for g in range(rows.shape[0]):
        for start in range(0, rows.shape[1], STRIP):
            n = _load_wide(rows[g, start : start + STRIP], bits)
            _quantize(x[:n], scale[g], true_division, zero_point[g], qmin, qmax, q[:n], y[:n])
            if weights.shape[1] == 0:
                total[g] += _square_sum(x[:n], y[:n])
            else:
                total[g] += _weighted_square_sum(x[:n], y[:n], weights[g, start : start + STRIP])


@compiled(types.void(_WIDE, types.int32[:, ::1]))
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


@compiled(types.void(_HALF, types.boolean, types.int32[:, ::1]))
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


@compiled(types.void(_WIDE_ROW, _U8))
def _tally_wide(row: Any, table: Any) -> None:
    """Add each value to its bucket: 1 in the upper 24 bits, and its own lower bits in the lower 40.

    Increments of one counter wait for each other, and half of what a ReLU gives are zeros: these take turns among the
    counters behind the buckets.
    """
    low, shift = np.uint64((1 << LOW_BITS) - 1), np.uint64(LOW_BITS)
    zeros, turns = np.uint64(1 << (32 - LOW_BITS)), np.uint64(ZEROS - 1)
    for i in range(row.size):
        value = np.uint64(row[i])
        key = value >> shift if value else zeros + (np.uint64(i) & turns)
        table[key] += _ONE | (value & low)


@compiled(types.void(_HALF_ROW, _U4))
def _tally_half(row: Any, table: Any) -> None:
    """Count each of the 65,536 values that 16 bits can hold."""
    for i in range(row.size):
        table[row[i]] += np.uint32(1)


def measure(
    rows: AnyArray, params: QuantParams, bins: Bins | None, error_bins: Bins | None, together: int = 1
) -> PieceSums:
    """What `measure_reference` says of integers rounded half to even, from one pass over `[R, N]`.

    A scale serves equally many rows that follow each other: all, or one, or some. Without `bins` nothing but codes is
    counted. Where all share one scale the histogram of dequantized values follows from the counts of their codes, and
    these from the histogram of originals, if its bins are aligned with the steps.
    """
    codes = params.qmax - params.qmin + 1
    sizes = (codes, *((0, 0, 0) if bins is None or error_bins is None else (bins.count, bins.count, error_bins.count)))
    counts = tuple(np.zeros(size + 2 * (i > 0), np.int64) for i, size in enumerate(sizes))
    sums = np.zeros((len(rows) // together, 10))
    edges, error_edges = (np.zeros(1) if each is None else each.edges for each in (bins, error_bins))
    alike = len(params.scale) == 1
    per_step, first = _cells(bins, params) if alike and bins is not None else (0, 0)
    grid = np.array([params.qmin, params.qmax, alike, per_step, first], np.int64)
    ready, none = np.ascontiguousarray, np.zeros(0, np.uint16)
    flat = ready(rows).reshape(-1)
    held = (flat.view(np.uint32), none) if rows.dtype == np.float32 else (none.astype(np.uint32), flat.view(np.uint16))
    _measure_rows(
        *held, rows.dtype == np.float16, *rows.shape, together, ready(params.scale), ready(params.zero_point),
        params.division == "true", grid, edges, error_edges, counts, sums,
    )  # fmt: skip
    if per_step and bins is not None:
        if counts[1][0] or counts[1][-1]:  # beyond the bins no cell says which code it is
            return measure(rows, params, Bins(bins.start, bins.width, bins.count), error_bins, together)
        cells = np.clip(first + np.arange(bins.count) // per_step, 0, codes - 1)
        counts[0][:] += np.bincount(cells, counts[1][1:-1], codes).astype(np.int64)
    x2, e2, e1, y2, xy, clipped, n, e_max, x_zeros, y_zeros = sums.T
    dequantized = counts[2][1:-1]
    if alike and bins is not None:
        stand_for = (np.arange(codes) + (params.qmin - params.zero_point[0])).astype(np.float32) * params.scale[0]
        dequantized = bins.counts(stand_for, counts[0])
    return PieceSums(
        sums=ErrorSums(
            n=int(n.sum()),
            e2=float(e2.sum()),
            e1=float(e1.sum()),
            e_max=float(e_max.max(initial=0.0)),
            x2=float(x2.sum()),
            y2=float(y2.sum()),
            xy=float(xy.sum()),
            clipped=float(clipped.sum()),
            x_zeros=float(x_zeros.sum()),
            y_zeros=float(y_zeros.sum()),
        ),
        code_counts=counts[0],
        original=counts[1][1:-1],
        dequantized=dequantized,
        errors=counts[3][1:-1],
        row_x2=x2.copy(),
        row_e2=e2.copy(),
    )


def _cells(bins: Bins, params: QuantParams) -> tuple[int, int]:
    """How many bins make the cell of a code, and which code the first cell is of, from qmin on; 0 where they do not."""
    step = float(params.scale[0])
    if not bins.per_step or step <= 0 or bins.width * bins.per_step != step:
        return 0, 0
    first = bins.start / step + 0.5
    if abs(first - round(first)) > 2.0**-20:
        return 0, 0
    return bins.per_step, round(first) + int(params.zero_point[0]) - params.qmin


def squared_error(rows: Floats, params: QuantParams, weights: Doubles | None = None) -> Doubles:
    """Σe² of each group of `[G, N]`, e in float32 as the reference has it; NaN and infinite values are left out. Each
    value counts once, or `weights` times, `[G, N]`.
    """
    total = np.zeros(len(rows))
    often = np.zeros((len(rows), 0))
    if weights is not None:
        known = np.isfinite(rows)
        rows, often = np.where(known, rows, np.float32(0)), np.ascontiguousarray(np.where(known, weights, 0.0))
    _squared_error(
        np.ascontiguousarray(rows).view(np.uint32), often, np.ascontiguousarray(params.scale),
        np.ascontiguousarray(params.zero_point), params.qmin, params.qmax, params.division == "true", total,
    )  # fmt: skip
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


def histogram(values: Floats, bins: Bins) -> Counts:
    """How many finite values `[N]` lie in each bin, as `Bins.counts` has it."""
    counts = np.zeros(bins.count + 2, np.int64)
    _histogram(np.ascontiguousarray(values), bins.edges, counts)
    return counts[1:-1]


def tally(values: AnyArray, table: AnyArray) -> None:
    """Count values `[N]` by their upper bits into `table`, see `sketch`."""
    if values.dtype == np.float32:
        _tally_wide(np.ascontiguousarray(values).view(np.uint32), table)
    else:
        _tally_half(np.ascontiguousarray(values).view(np.uint16), table)
