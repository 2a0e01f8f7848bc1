"""What a spec does to one tensor: parameters, metrics and histograms; exactly, or at once from a sketch."""

import importlib
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.arrays import AnyArray, Counts, Doubles
from qexplorer.quant.axes import Axes
from qexplorer.quant.bins import Bins, even_bins
from qexplorer.quant.bounds import NO_BOUNDS, Bounds, bounds_of
from qexplorer.quant.error_sums import WORTH_LOADING, measure_reference
from qexplorer.quant.glance import Estimate
from qexplorer.quant.layer_kinds import VECTOR, LayerKind
from qexplorer.quant.matrices import by_channel, kind_of, matrix_of
from qexplorer.quant.metrics import ErrorSums, Metrics, channels_db, summarize
from qexplorer.quant.params import QuantParams
from qexplorer.quant.passes import Seen, at_once, measure_at_once, measure_pieces
from qexplorer.quant.piece_sums import PieceSums
from qexplorer.quant.ranges import ends_of_sketch, extremes_of, params_of, possible_params, range_of_sketch
from qexplorer.quant.sketch import Sketch
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values


@dataclass(frozen=True)
class Analysis:
    """The result. `lo`, `hi`: the least and greatest representable value over all groups; `data_lo`, `data_hi`:
    those of the finite data. Where all values share one scale and there are at most 256 levels, `levels` are those in
    use, `level_widths` their cells and `level_counts` how many values each has. `channel_sqnr_db` has one figure for
    each channel: of the output axis of the layer's kind, or of the axis that the spec divides; none where channels
    were not told apart.

    `spec` is what was asked for, `applied` the same with the axis of the layer's kind.

    `coverage` says what was counted: `exact` every value, `sketch` every value as the mean of its bucket, `sampled`
    some; `coverage_n` of them. `ranged` says whether the range is that of all `values`, or was found from their
    `sketch`, so that the values themselves might have another. `bounds` hold what every value would give: with the
    range that the observer would choose, or only `for_this_range`.
    """

    spec: QuantSpec
    applied: QuantSpec
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

    @property
    def for_this_range(self) -> bool:
        """Whether figures and bounds hold for the range that is shown, but the exact range may be another."""
        return self.ranged == "sketch"


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
    matrix, own = yield from within(matrix_of(values, spec), 0.0, 0.0)
    if values.n >= WORTH_LOADING:
        yield Progress("Loading kernels")
        importlib.import_module("qexplorer.quant.kernels")
    ranged = "values"
    if bins or not at_once(matrix, own):
        ends = yield from within(extremes_of(matrix, own), 0.0, 0.2)
        params, ranged = yield from within(params_of(matrix, own, ends), 0.2, 0.5)
        axes = Axes.of(own, params, ends, bins)
        seen = yield from within(measure_pieces(matrix, own, params, axes), 0.5, 1.0)
    else:
        params, axes, seen = yield from measure_at_once(matrix, own)
    n = values.nbytes if original_bytes is None else original_bytes
    return _analysis(spec, values.shape, params, axes, seen, n, start, kind_of(values), coverage_n=values.n,
                     ranged=ranged)  # fmt: skip


def analyze_sketch(whole: Sketch, shape: tuple[int, ...], spec: QuantSpec, *, bins: int = 400,
                   original_bytes: int | None = None) -> Analysis:  # fmt: skip
    """The same from a sketch, at once. Raises `UserError` for what depends on places, see `unsketched`."""
    start = time.perf_counter()
    spec.granularity.check(shape)
    reason = unsketched(spec)
    if reason:
        raise UserError(reason, "Analyze the tensor itself.")
    ends = ends_of_sketch(whole)
    found = range_of_sketch(whole, spec)
    params, possible = spec.format.choose(*found, spec.choices), possible_params(whole, spec, found)
    axes = Axes.of(spec, params, ends, bins)
    total = measure_reference(whole.values[None], spec.format, params, axes.bins, axes.error_bins, whole.counts[None])
    bounds = bounds_of(whole, spec, possible or (params,))
    n = math.prod(shape)
    coverage = "exact" if whole.exact else "sketch"
    return _analysis(spec, shape, params, axes, Seen(total, np.zeros(0), np.zeros(0)),
                     n * 4 if original_bytes is None else original_bytes, start, VECTOR, coverage=coverage,
                     coverage_n=n, ranged="values" if possible else "sketch", bounds=bounds)  # fmt: skip


def for_all(part: Analysis, shape: tuple[int, ...], original_bytes: int, finite: int, found: Estimate | None,
            ) -> Analysis:  # fmt: skip
    """A tensor of which only a part was analyzed, `sampled`: the picture is that of the part, with counts as many times
    larger. Figures are those that were estimated between bounds; all others are NaN. Sizes, the number of `finite`
    values and, with an estimate, parameters and extremes are those of the whole.
    """
    spec, n = part.applied, math.prod(shape)
    bits = size_bits(spec, n, spec.granularity.tiling(shape).groups)
    times = n / max(part.metrics.n, 1)
    more: dict[str, Any] = {name: np.rint(getattr(part, name) * times).astype(np.int64)
                            for name in ("original", "dequantized", "errors", "level_counts")}  # fmt: skip
    metrics = Metrics(n, n - finite, bits_per_weight=bits / max(n, 1), bytes=-(-bits // 8),
                      original_bytes=original_bytes)  # fmt: skip
    if found is not None:
        metrics, bounds = replace(metrics, **found.metrics), found.bounds
        axes = Axes.of(found.own, found.params, found.ends, 0)
        reach = {name: getattr(axes, name) for name in ("lo", "hi", "data_lo", "data_hi")}
        more |= {"params": found.params, "bounds": bounds, **reach}
    return replace(part, shape=shape, metrics=metrics, sums=ErrorSums(), channel_sqnr_db=np.zeros(0),
                   coverage="sampled", coverage_n=found.sampled if found else part.metrics.n, **more)  # fmt: skip


def unsketched(spec: QuantSpec) -> str:
    """Why a sketch cannot answer for a spec; empty if it can."""
    if not spec.granularity.shared:
        return "A sketch does not know which values share a scale."
    if spec.rounding.by_place:
        return "Chance decides by the place of a value, which a sketch does not know."
    return "The levels are learned from the values." if spec.format.learns else ""


def _analysis(
    spec: QuantSpec, shape: tuple[int, ...], params: QuantParams, axes: Axes, seen: Seen, original_bytes: int,
    start: float, kind: LayerKind, *, coverage: str = "exact", coverage_n: int, ranged: str, bounds: Bounds = NO_BOUNDS,
) -> Analysis:  # fmt: skip
    total, size, applied = seen.total, math.prod(shape), spec.for_kind(kind)
    levels, widths, counts = _levels(spec, params, total)
    metrics = summarize(
        total.sums,
        total.code_counts,
        size=size,
        codes=2**spec.format.code_bits,
        quantized_bits=size_bits(applied, size, applied.granularity.tiling(shape).groups),
        original_bytes=original_bytes,
    )
    return Analysis(
        spec=spec,
        applied=applied,
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
        channel_sqnr_db=channels_db(*(by_channel(sums, applied, shape, kind) for sums in (seen.x2, seen.e2))),
        seconds=time.perf_counter() - start,
        coverage=coverage,
        coverage_n=coverage_n,
        ranged=ranged,
        bounds=bounds,
    )


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


def _levels(spec: QuantSpec, params: QuantParams, total: PieceSums) -> tuple[Doubles, Doubles, Counts]:
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
