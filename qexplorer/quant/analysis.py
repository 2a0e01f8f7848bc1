"""What a spec does to one tensor: parameters, metrics and histograms, as a generator that reports its progress."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.arrays import AnyArray, Counts, Doubles, Floats
from qexplorer.quant.bins import Bins, even_bins, step_bins
from qexplorer.quant.measure import Measured, measure
from qexplorer.quant.metrics import ErrorSums, Metrics, sqnr_db, summarize
from qexplorer.quant.observers import extremes, zero_if_empty
from qexplorer.quant.params import QuantParams
from qexplorer.quant.quantize import range_steps, tensor_reach
from qexplorer.quant.scale_dtypes import SCALE_DTYPES
from qexplorer.quant.spec import QuantSpec

BLOCK = 1 << 20
"""Values in one step of the work: small enough to cancel within a moment."""


@dataclass(frozen=True)
class Analysis:
    """The result. `lo`, `hi`: the least and greatest representable value over all groups; `data_lo`, `data_hi`:
    those of the finite data. Where all values share one scale and there are at most 256 levels, `levels` are those in
    use, `level_widths` their cells and `level_counts` how many values each has. `channel_sqnr_db` has one figure for
    each channel: of axis 0, or of the axis that the spec divides. Everything counts every value: coverage is exact.
    """

    spec: QuantSpec
    shape: tuple[int, ...]
    params: QuantParams
    metrics: Metrics
    sums: ErrorSums
    lo: float
    hi: float
    data_lo: float
    data_hi: float
    bins: Bins
    original: Counts
    dequantized: Counts
    error_bins: Bins
    errors: Counts
    levels: Doubles
    level_widths: Doubles
    level_counts: Counts
    channel_sqnr_db: Doubles
    seconds: float
    coverage: str = "exact"


def analyze(tensor: AnyArray, spec: QuantSpec, *, bins: int = 400, original_bytes: int | None = None,
            ) -> Steps[Analysis]:  # fmt: skip
    """Quantize a tensor and measure it, in two passes over its values: the range, then the errors.

    Arithmetic is in float32 and sums are in float64; float64 values are rounded to float32 first. Raises `UserError`
    for what is no floating-point tensor, and where it has no such axis. `original_bytes` is its size as stored.
    """
    start = time.perf_counter()
    _check(tensor, spec)
    rows = spec.granularity.rows(tensor)
    params = yield from _params(spec, rows)
    lows, highs = extremes(rows)
    seen = highs >= lows
    data_lo, data_hi = (float(lows.min()), float(highs.max())) if seen.any() else (0.0, 0.0)
    value_bins = _value_bins(spec, params, *_shown(spec, params, *zero_if_empty(lows, highs), data_lo, data_hi), bins)
    error_bins = even_bins(*_error_reach(spec, params, data_lo, data_hi), bins // 2 * 2 + 1)
    groups_n = len(rows)
    parts = spec.granularity.parts(tensor.shape) if rows.size else 1
    rows, each = rows.reshape(groups_n * parts, -1) if parts > 1 else rows, params.repeat(parts)
    total: Measured | None = None
    done = 0
    for groups, block in _blocks(rows):
        part = measure(block, spec.format, each.take(groups.start, groups.stop, done), value_bins, error_bins)
        total = part if total is None else total.join(part, groups, len(rows))
        done += block.size
        yield Progress("Measuring", done, rows.size, 0.4 + 0.6 * done / rows.size)
    if total is None:
        total = measure(rows, spec.format, each, value_bins, error_bins)
    codes = 2**spec.format.code_bits
    levels, widths, counts = _levels(spec, params, total)
    low, high = _reach(spec, params)
    metrics = summarize(
        total.sums,
        total.code_counts,
        size=tensor.size,
        codes=codes,
        quantized_bits=size_bits(spec, tensor.size, groups_n),
        original_bytes=tensor.nbytes if original_bytes is None else original_bytes,
    )
    return Analysis(
        spec=spec,
        shape=tensor.shape,
        params=params,
        metrics=metrics,
        sums=total.sums,
        lo=low,
        hi=high,
        data_lo=data_lo,
        data_hi=data_hi,
        bins=value_bins,
        original=total.original,
        dequantized=total.dequantized,
        error_bins=error_bins,
        errors=total.errors,
        levels=levels,
        level_widths=widths,
        level_counts=counts,
        channel_sqnr_db=_channel_sqnr(total, spec, tensor.shape),
        seconds=time.perf_counter() - start,
    )


def _check(tensor: AnyArray, spec: QuantSpec) -> None:
    if tensor.dtype.kind != "f":
        raise UserError(f"The tensor holds {tensor.dtype}, not floating-point weights.", "Choose another tensor.",
                        field="tensor")  # fmt: skip
    largest = float(np.finfo(np.float32).max)
    if tensor.itemsize > 4 and np.any(np.isfinite(tensor) & (np.abs(tensor) > largest)):
        raise UserError(f"The tensor holds {tensor.dtype} values that float32 cannot.", "Convert them first.",
                        field="tensor")  # fmt: skip
    reason = spec.granularity.refusal(tensor.shape)
    if reason:
        raise UserError(reason, "Choose another granularity.", field="granularity")


def _blocks(rows: Floats) -> Iterator[tuple[range, Floats]]:
    """Cut `[G, N]` into blocks of about `BLOCK` values: whole groups, or parts of one long group."""
    groups, length = rows.shape
    if not rows.size:
        return
    if length > BLOCK:
        for g in range(groups):
            for at in range(0, length, BLOCK):
                yield range(g, g + 1), rows[g : g + 1, at : at + BLOCK]
        return
    step = max(1, BLOCK // length)
    for g in range(0, groups, step):
        yield range(g, min(g + step, groups)), rows[g : g + step]


def _channel_sqnr(total: Measured, spec: QuantSpec, shape: tuple[int, ...]) -> Doubles:
    """SQNR of each channel in dB."""
    x2, e2 = (spec.granularity.by_channel(sums, shape) for sums in (total.group_x2, total.group_e2))
    return np.array([sqnr_db(float(x), float(e)) for x, e in zip(x2, e2, strict=True)])


def _params(spec: QuantSpec, rows: Floats) -> Steps[QuantParams]:
    """The parameters of each group, from the observer's range of all of its values."""
    lows: list[Floats] = []
    highs: list[Floats] = []
    together = max(1, BLOCK // max(rows.shape[1], 1))
    reach = tensor_reach(spec, rows)
    for at in range(0, len(rows), together) if spec.format.scaled and rows.size else ():
        start, stop = (0.4 * min(at + more, len(rows)) / len(rows) for more in (0, together))
        lo, hi = yield from within(range_steps(spec, rows[at : at + together], reach), start, stop)
        lows.append(lo)
        highs.append(hi)
    empty = np.zeros(len(rows), np.float32)
    lo, hi = (np.concatenate(ends) if ends else empty for ends in (lows, highs))
    return (yield from within(spec.format.fit(rows, lo, hi, spec.choices), 0.4 if lows else 0.0, 0.4))


def size_bits(spec: QuantSpec, n: int, groups: int) -> int:
    """The size of `n` values in bits: codes, scales and, where affine, one zero point a group, which takes the bits
    of a code or, where it is a float, those of a scale.
    """
    form = spec.format
    if form.scaled and "scale_dtype" in form.applies:
        dtype = SCALE_DTYPES[spec.scale_dtype]
        zero = {"symmetric": 0, "affine": form.code_bits, "affine_float": dtype.bits}[spec.scheme]
        return form.size_bits(n, groups) + dtype.total_bits(groups) + groups * zero
    return form.size_bits(n, groups)


def _shown(spec: QuantSpec, params: QuantParams, lows: Floats, highs: Floats, lo: float, hi: float,
           ) -> tuple[float, float]:  # fmt: skip
    """The value axis: from `lo` to `hi`, and what they become. Quantization is monotone, so the extremes of each group
    become the extremes of its dequantized values.
    """
    room = 0.0 if lo < hi else max(abs(lo), 1.0) / 2
    become = spec.format.dequantize(spec.format.quantize(np.stack([lows, highs], axis=1), params), params)
    become = become[np.isfinite(become)].astype(np.float64)
    return float(become.min(initial=lo - room)), float(become.max(initial=hi + room))


def _value_bins(spec: QuantSpec, params: QuantParams, lo: float, hi: float, count: int) -> Bins:
    step = abs(float(params.scale[0])) if len(params.scale) == 1 else 0.0
    if spec.format.uniform and 0 < step <= hi - lo:
        return step_bins(lo, hi, step, 0.0 if params.offset is None else float(params.offset[0]), count)
    return even_bins(lo, hi, count)


def _error_reach(spec: QuantSpec, params: QuantParams, lo: float, hi: float) -> tuple[float, float]:
    """An error axis that shows rounding (±S/2) well and the onset of clipping: at most four half steps wide."""
    half = spec.format.half_step(params, max(-lo, hi))
    least, most = _reach(spec, params)
    overshoot = max(hi - most, least - lo, 0.0)
    reach = max(min(half + overshoot, 4 * half) * 1.1, 1e-30)
    return -reach, reach


def _reach(spec: QuantSpec, params: QuantParams) -> tuple[float, float]:
    """The least and greatest representable value over all groups."""
    least, most = spec.format.reach(params)
    return float(least.min(initial=0.0)), float(most.max(initial=0.0))


def _levels(spec: QuantSpec, params: QuantParams, total: Measured) -> tuple[Doubles, Doubles, Counts]:
    """The levels in use, ascending, how wide the cell of each is, and how many values each has."""
    if len(params.scale) != 1 or total.code_counts.size > 256 or not spec.format.scaled:
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    codes = np.arange(params.qmin, params.qmax + 1, dtype=np.int32)
    values = spec.format.dequantize(codes[None], params)[0].astype(np.float64)
    levels, where = np.unique(values[np.isfinite(values)], return_inverse=True)
    counts = np.bincount(where, weights=total.code_counts[np.isfinite(values)]).astype(np.int64)
    gaps = np.diff(levels) if len(levels) > 1 else np.ones(1)
    widths = (np.append(gaps, gaps[-1:]) + np.insert(gaps, 0, gaps[:1]))[: len(levels)] / 2
    used = counts > 0
    return levels[used], widths[used], counts[used]
