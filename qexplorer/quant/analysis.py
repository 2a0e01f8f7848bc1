"""What a spec does to one tensor: parameters, metrics and histograms; exactly, or at once from a sketch."""

import importlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish, within
from qexplorer.quant.arrays import AnyArray, Counts, Doubles
from qexplorer.quant.axes import Axes
from qexplorer.quant.bins import Bins, even_bins
from qexplorer.quant.bounds import NO_BOUNDS, Bounds, bounds_of
from qexplorer.quant.error_sums import WORTH_LOADING, Measured, ends_of, measure, measure_reference, plain
from qexplorer.quant.granularity import Piece
from qexplorer.quant.grid_target import target
from qexplorer.quant.metrics import ErrorSums, Metrics, channels_db, summarize
from qexplorer.quant.observers import Ends, no_ends, zero_if_empty
from qexplorer.quant.params import QuantParams
from qexplorer.quant.pool import each
from qexplorer.quant.quantize import range_steps
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values, narrowed, widened

BLOCK = 1 << 20
"""Values in one step of the work: small enough to cancel within a moment, and to stay in the cache."""
SEARCHED = 1 << 17
"""Values in one step where ranges are searched, or a format is computed in NumPy."""
SKETCHED = 1 << 22
"""Where more values share one scale, an observer that asks all of them is given their sketch."""


@dataclass(frozen=True)
class Analysis:
    """The result. `lo`, `hi`: the least and greatest representable value over all groups; `data_lo`, `data_hi`:
    those of the finite data. Where all values share one scale and there are at most 256 levels, `levels` are those in
    use, `level_widths` their cells and `level_counts` how many values each has. `channel_sqnr_db` has one figure for
    each channel: of axis 0, or of the axis that the spec divides; none where channels were not told apart.

    `coverage` says what was counted: `exact` every value, `sketch` every value as the mean of its bucket, `sampled`
    some; `coverage_n` of them. `bounds` hold the true figures of a sketch. `ranged` says whether the range was found
    from all `values` or from their `sketch`.
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
    coverage_n: int = 0
    ranged: str = "values"
    bounds: Bounds = field(default_factory=dict[str, tuple[float, float]])


def analyze(tensor: AnyArray | Values, spec: QuantSpec, *, bins: int = 400, original_bytes: int | None = None,
            ) -> Steps[Analysis]:  # fmt: skip
    """Quantize a tensor and measure it, piece by piece on all cores: first the range, then the errors.

    Without `bins` nothing but codes is counted, and where each group has a range of its own the values are read only
    once. Arithmetic is in float32 and sums are in float64; float64 values are rounded to float32 first. Raises
    `UserError` for what is no floating-point tensor, and where it has no such axis. `original_bytes` is its size as
    stored.
    """
    start = time.perf_counter()
    values = tensor if isinstance(tensor, Values) else Values.of(tensor)
    _check(values.shape, spec)
    if values.n >= WORTH_LOADING:
        yield Progress("Loading kernels")
        importlib.import_module("qexplorer.quant.kernels")
    ranged = "values"
    if bins or not _at_once(values, spec):
        ends = yield from within(_extremes(values, spec), 0.0, 0.2)
        params, ranged = yield from within(_params(values, spec, ends), 0.2, 0.5)
        axes = Axes.of(spec, params, ends, bins)
        seen = yield from within(_measure(values, spec, params, axes), 0.5, 1.0)
    else:
        params, axes, seen = yield from _measure_at_once(values, spec)
    n = values.nbytes if original_bytes is None else original_bytes
    return _analysis(spec, values.shape, params, axes, seen, n, start, coverage_n=values.n, ranged=ranged)


def analyze_sketch(whole: Sketch, shape: tuple[int, ...], spec: QuantSpec, *, bins: int = 400,
                   original_bytes: int | None = None) -> Analysis:  # fmt: skip
    """The same from a sketch, at once. Raises `UserError` for what depends on places, see `unsketched`."""
    start = time.perf_counter()
    _check(shape, spec)
    reason = unsketched(spec)
    if reason:
        raise UserError(reason, "Analyze the tensor itself.")
    ends = _ends_of(whole)
    params = params_of_sketch(whole, spec)
    axes = Axes.of(spec, params, ends, bins)
    total = measure_reference(whole.values[None], spec.format, params, axes.bins, axes.error_bins, whole.counts[None])
    kind = ("exact", "values") if whole.exact else ("sketch", "sketch")
    n = math.prod(shape)
    return _analysis(spec, shape, params, axes, _Seen(total, np.zeros(0), np.zeros(0)),
                     n * 4 if original_bytes is None else original_bytes, start, coverage=kind[0], coverage_n=n,
                     ranged=kind[1], bounds=bounds_of(whole, spec, params, total))  # fmt: skip


def params_of_sketch(whole: Sketch, spec: QuantSpec) -> QuantParams:
    """The parameters of one group with the values of a sketch."""
    lo, hi = _ranges(spec, _ends_of(whole), lambda: spec.observer.of_sample(whole.sample))
    return spec.format.choose(lo, hi, spec.choices)


def _ends_of(whole: Sketch) -> Ends:
    return (whole.values[:1], whole.values[-1:]) if whole.counts.size else no_ends(1)


def for_all(
    part: Analysis, shape: tuple[int, ...], original_bytes: int, ends: tuple[float, float] | None = None
) -> Analysis:
    """What a part of a tensor says of all of it, `sampled`: counts as many times larger, sizes those of the whole.

    `ends` are the least and greatest finite value of all, where they are known.
    """
    data_lo, data_hi = ends or (part.data_lo, part.data_hi)
    spec, n = part.spec, math.prod(shape)
    bits = size_bits(spec, n, spec.granularity.groups(shape))
    times = n / max(part.metrics.n, 1)
    more = {name: np.rint(getattr(part, name) * times).astype(np.int64)
            for name in ("original", "dequantized", "errors", "level_counts")}  # fmt: skip
    metrics = replace(
        part.metrics,
        n=n,
        nonfinite=round(part.metrics.nonfinite * times),
        bits_per_weight=bits / max(n, 1),
        bytes=-(-bits // 8),
        original_bytes=original_bytes,
    )
    return replace(part, shape=shape, metrics=metrics, data_lo=data_lo, data_hi=data_hi,
                   channel_sqnr_db=np.zeros(0), coverage="sampled", coverage_n=part.metrics.n, **more)  # fmt: skip


def unsketched(spec: QuantSpec) -> str:
    """Why a sketch cannot answer for a spec; empty if it can."""
    if spec.granularity.name != "tensor":
        return "A sketch does not know which values share a scale."
    if spec.rounding.by_place:
        return "Chance decides by the place of a value, which a sketch does not know."
    return "The levels are learned from the values." if spec.format.learns else ""


def _analysis(
    spec: QuantSpec, shape: tuple[int, ...], params: QuantParams, axes: Axes, seen: "_Seen", original_bytes: int,
    start: float, *, coverage: str = "exact", coverage_n: int, ranged: str, bounds: Bounds = NO_BOUNDS,
) -> Analysis:  # fmt: skip
    total, size = seen.total, math.prod(shape)
    levels, widths, counts = _levels(spec, params, total)
    metrics = summarize(
        total.sums,
        total.code_counts,
        size=size,
        codes=2**spec.format.code_bits,
        quantized_bits=size_bits(spec, size, spec.granularity.groups(shape)),
        original_bytes=original_bytes,
    )
    return Analysis(
        spec=spec,
        shape=shape,
        params=params,
        metrics=metrics,
        sums=total.sums,
        lo=axes.lo,
        hi=axes.hi,
        data_lo=axes.data_lo,
        data_hi=axes.data_hi,
        bins=axes.bins or even_bins(axes.data_lo, axes.data_hi, 1),
        original=total.original,
        dequantized=total.dequantized,
        error_bins=axes.error_bins or even_bins(0.0, 0.0, 1),
        errors=total.errors,
        levels=levels,
        level_widths=widths,
        level_counts=counts,
        channel_sqnr_db=channels_db(seen.x2, seen.e2),
        seconds=time.perf_counter() - start,
        coverage=coverage,
        coverage_n=coverage_n,
        ranged=ranged,
        bounds=bounds,
    )


@dataclass
class _Seen:
    """All that was measured so far: the pieces together, and Σx² and Σe² of each channel, `[C]`."""

    total: Measured
    x2: Doubles
    e2: Doubles

    @staticmethod
    def nothing(values: Values, spec: QuantSpec, params: QuantParams, axes: Axes | None = None) -> "_Seen":
        bins, error_bins = (None, None) if axes is None else (axes.bins, axes.error_bins)
        empty = measure_reference(np.zeros((0, 1), np.float32), spec.format, params.take(0, 0), bins, error_bins)
        channels = spec.granularity.channels(values.shape)
        return _Seen(empty, np.zeros(channels), np.zeros(channels))

    def add(self, spec: QuantSpec, piece: Piece, more: Measured) -> None:
        self.total = self.total + more
        for sums, rows in ((self.x2, more.row_x2), (self.e2, more.row_e2)):
            sums[piece.channels.start : piece.channels.stop] += spec.granularity.by_channel(rows, piece.shape)


def _check(shape: tuple[int, ...], spec: QuantSpec) -> None:
    reason = spec.granularity.refusal(shape)
    if reason:
        raise UserError(reason, "Choose another granularity.", field="granularity")


def _rows(values: Values, spec: QuantSpec, piece: Piece) -> AnyArray:
    """The rows of a piece in the stored type, `[R, N]`."""
    raw = narrowed(values.read(piece.start, piece.stop))
    return spec.granularity.lay(raw.reshape(piece.shape))


def _in_channels(rows: AnyArray, spec: QuantSpec, piece: Piece) -> AnyArray:
    """The same, cut so that each row lies within one channel."""
    parts = spec.granularity.parts(piece.shape)
    return rows.reshape(len(rows) * parts, -1) if parts > 1 else rows


def _size(piece: Piece) -> int:
    return piece.stop - piece.start


def _extremes(values: Values, spec: QuantSpec) -> Steps[Ends]:
    """The least and greatest finite value of each group; +∞ and −∞ for none."""
    groups = spec.granularity.groups(values.shape)
    lows, highs = np.full(groups, np.inf, np.float32), np.full(groups, -np.inf, np.float32)

    def find(piece: Piece) -> Steps[Ends]:
        yield Progress("Finding the range")
        return ends_of(_rows(values, spec, piece))

    def take(piece: Piece, ends: Ends) -> None:
        part = slice(piece.groups.start, piece.groups.stop)
        lows[part], highs[part] = np.minimum(lows[part], ends[0]), np.maximum(highs[part], ends[1])

    pieces = spec.granularity.pieces(values.shape, BLOCK)
    yield from each("Finding the range", pieces, find, take, _size, values.n)
    return lows, highs


def _ranges(spec: QuantSpec, ends: Ends, stats: Callable[[], Any]) -> Ends:
    """The range of each group at once; `stats` are asked for where the extremes are not enough."""
    observer, groups = spec.observer, len(ends[0])
    match observer.asks if spec.format.scaled else "":
        case "":
            return np.zeros(groups, np.float32), np.zeros(groups, np.float32)
        case "extremes":
            return observer.range(ends, target(spec))
        case "nothing":
            return observer.range(observer.update(None, np.zeros((groups, 0), np.float32)), target(spec))
        case _:
            return finish(observer.search(stats(), target(spec, _reach_of(spec, ends))))


def _reach_of(spec: QuantSpec, ends: Ends) -> float | None:
    """The largest finite magnitude, where the scale of a group depends on it."""
    if not spec.scale_dtype.tensor_bits or not len(ends[0]):
        return None
    lo, hi = zero_if_empty(*ends)
    return float(max(-lo.min(), hi.max(), 0.0))


def _params(values: Values, spec: QuantSpec, ends: Ends) -> Steps[tuple[QuantParams, str]]:
    """The parameters of each group, and what their ranges were found from."""
    form, groups = spec.format, len(ends[0])
    lo, hi, ranged = np.zeros(groups, np.float32), np.zeros(groups, np.float32), "values"
    if not form.scaled or spec.observer.asks != "values":
        lo, hi = _ranges(spec, ends, lambda: None)
    elif groups == 1 and values.n > SKETCHED:
        whole = yield from within(sketch(values), 0.0, 0.5)
        stats, ranged = spec.observer.of_sample(whole.sample), "values" if whole.exact else "sketch"
        search = spec.observer.search(stats, target(spec, _reach_of(spec, ends)))
        lo, hi = yield from within(search, 0.5, 1.0)
    else:
        reach = _reach_of(spec, ends)

        def find(piece: Piece) -> Steps[Ends]:
            return (yield from range_steps(spec, widened(_rows(values, spec, piece)), reach))

        def take(piece: Piece, found: Ends) -> None:
            part = slice(piece.groups.start, piece.groups.stop)
            lo[part], hi[part] = found

        pieces = spec.granularity.whole_groups(values.shape, SEARCHED)
        yield from each("Finding the range", pieces, find, take, _size, values.n)
    if not form.learns:
        return form.choose(lo, hi, spec.choices), ranged
    learned: list[QuantParams] = []

    def fit(piece: Piece) -> Steps[QuantParams]:
        part = slice(piece.groups.start, piece.groups.stop)
        return (yield from form.fit(widened(_rows(values, spec, piece)), lo[part], hi[part], spec.choices))

    pieces = spec.granularity.whole_groups(values.shape, SEARCHED)
    yield from each("Learning levels", pieces, fit, lambda _, params: learned.append(params), _size, values.n)
    return (learned[0].join(learned[1:]) if learned else form.choose(lo, hi, spec.choices)), ranged


def _measure(values: Values, spec: QuantSpec, params: QuantParams, axes: Axes) -> Steps[_Seen]:
    """Quantize and measure all pieces."""
    seen = _Seen.nothing(values, spec, params, axes)
    by, most = spec.granularity, BLOCK if plain(spec.format, params) else SEARCHED

    def work(piece: Piece) -> Steps[Measured]:
        yield Progress("Measuring")
        rows = _in_channels(_rows(values, spec, piece), spec, piece)
        part = params.take(piece.groups.start, piece.groups.stop, piece.first)
        return measure(rows, spec.format, part, axes.bins, axes.error_bins, by.together(piece.shape))

    cut = by.pieces
    if params.rounding.by_place and not by.in_order(values.shape):
        cut = by.whole_groups  # chance goes by the place of a value among the rows
    yield from each("Measuring", cut(values.shape, most), work, lambda piece, more: seen.add(spec, piece, more), _size,
                    values.n)  # fmt: skip
    return seen


def _at_once(values: Values, spec: QuantSpec) -> bool:
    """Whether range and error of a group can be had from one piece without a look at others."""
    kind = spec.scale_dtype
    if not spec.format.scaled:
        return True
    if spec.observer.asks == "values" or spec.format.learns or kind.late or kind.tensor_bits:
        return False
    return max(map(_size, spec.granularity.whole_groups(values.shape, BLOCK)), default=0) <= 2 * BLOCK


def _measure_at_once(values: Values, spec: QuantSpec) -> Steps[tuple[QuantParams, Axes, _Seen]]:
    """The same with the range of each group found just before it is measured, while its values lie in the cache."""
    by, form = spec.granularity, spec.format
    none = np.zeros(by.groups(values.shape), np.float32)
    empty = form.choose(none, none, spec.choices)
    axes, seen = Axes.of(spec, empty.take(0, 0), no_ends(0), 0), _Seen.nothing(values, spec, empty)
    chosen: list[QuantParams] = []

    def work(piece: Piece) -> Steps[tuple[QuantParams, Axes, Measured]]:
        yield Progress("Measuring")
        rows = _rows(values, spec, piece)
        ends = ends_of(rows)
        params = form.choose(*_ranges(spec, ends, lambda: None), spec.choices)
        parts, placed = _in_channels(rows, spec, piece), replace(params, first=piece.first)
        measured = measure(parts, form, placed, together=by.together(piece.shape))
        return params, Axes.of(spec, params, ends, 0), measured

    def take(piece: Piece, result: tuple[QuantParams, Axes, Measured]) -> None:
        nonlocal axes
        params, more, measured = result
        chosen.append(params)
        axes = axes.widened(more) if len(chosen) > 1 else more
        seen.add(spec, piece, measured)

    yield from each("Measuring", by.whole_groups(values.shape, BLOCK), work, take, _size, values.n)
    return chosen[0].join(chosen[1:]) if chosen else empty, axes, seen


def size_bits(spec: QuantSpec, n: int, groups: int) -> int:
    """The size of `n` values in bits: codes, scales and, where affine, one zero point a group, which takes the bits
    of a code or, where it is a float, those of a scale.
    """
    form = spec.format
    if form.scaled and "scale_dtype" in form.applies:
        dtype = spec.scale_dtype
        zero = {"symmetric": 0, "affine": form.code_bits, "affine_float": dtype.bits}[spec.scheme]
        return form.size_bits(n, groups) + dtype.total_bits(groups) + groups * zero
    return form.size_bits(n, groups)


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
