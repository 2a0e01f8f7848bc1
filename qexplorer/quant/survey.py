"""Every format, or every observer, on one tensor: what each costs and how near it comes, as generators.

A large tensor is thinned out first, see `thin`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.analysis import Analysis, analyze
from qexplorer.quant.arrays import AnyArray, Counts
from qexplorer.quant.bins import Bins, even_bins
from qexplorer.quant.formats import formats
from qexplorer.quant.observers import observers
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.subsample import thin
from qexplorer.quant.tensor_source import Values, narrowed, widened
from qexplorer.quant.theory import lloyd_max, optimal_uniform, rate_distortion_sqnr_db

LIMIT = 1_000_000
"""No more values than this are looked at: many, since clips hang on the outliers."""
FORMATS_LIMIT = 1 << 17
"""For so many formats, each perhaps with a search for its range: SQNR is within a few hundredths of a dB."""
BINS = 200
BITS = range(1, 9)
"""Where the lines of theory are worked out."""


@dataclass(frozen=True)
class FormatPoint:
    """One format on the tensor. `on_front`: none needs as few bits and has a higher SQNR, nor the other way round."""

    spec: QuantSpec
    bits_per_weight: float
    sqnr_db: float
    on_front: bool = False


@dataclass(frozen=True)
class Curve:
    """A line of theory: SQNR in dB at so many bits."""

    name: str
    title: str
    bits: tuple[float, ...]
    sqnr_db: tuple[float, ...]


@dataclass(frozen=True)
class Refused:
    """A format or an observer that does not serve here, and why."""

    title: str
    reason: str


@dataclass(frozen=True)
class FormatSurvey:
    """The formats by their bits per weight. `n` values were looked at: all (`exact`) or some (`sampled`)."""

    points: tuple[FormatPoint, ...]
    refused: tuple[Refused, ...]
    curves: tuple[Curve, ...]
    coverage: str
    n: int


@dataclass(frozen=True)
class ObserverPoint:
    """One observer on the tensor. `lo`, `hi`: the least and greatest value that its grid can represent."""

    spec: QuantSpec
    lo: float
    hi: float
    mse: float
    sqnr_db: float
    clipped_fraction: float


@dataclass(frozen=True)
class ObserverSurvey:
    """The observers, the highest SQNR first, and a histogram of the values that were looked at."""

    points: tuple[ObserverPoint, ...]
    refused: tuple[Refused, ...]
    bins: Bins
    counts: Counts
    coverage: str
    n: int


def format_specs(spec: QuantSpec) -> tuple[QuantSpec, ...]:
    """The spec with every format there is; choices that do not fit a format are its defaults."""
    return tuple(spec.adopt("format", form) for form in formats)


def observer_specs(spec: QuantSpec) -> tuple[tuple[QuantSpec, ...], tuple[Refused, ...]]:
    """The spec with every observer that it can have, its own as it is set, and those that it cannot have."""
    specs: list[QuantSpec] = []
    refused: list[Refused] = []
    for cls in observers:
        observer = spec.observer if isinstance(spec.observer, cls) else cls()
        reason = spec.applies("observer") or spec.refusal("observer", observer)
        if reason:
            refused.append(Refused(cls.title, reason))
        else:
            specs.append(replace(spec, observer=observer))
    return tuple(specs), tuple(refused)


def survey_formats(tensor: AnyArray | Values, spec: QuantSpec, *, limit: int = FORMATS_LIMIT) -> Steps[FormatSurvey]:
    """Analyze a tensor in every format, with the spec's other choices where they fit.

    Raises `UserError` where no format can have the tensor.
    """
    yield Progress("Comparing formats")
    values = tensor if isinstance(tensor, Values) else Values.of(tensor)
    part = thin(values, spec, limit)
    analyses, refused = yield from _analyses(part, format_specs(spec), "Comparing formats", "format")
    points = [FormatPoint(a.spec, a.metrics.bits_per_weight, a.metrics.sqnr_db) for a in analyses]
    curves = yield from _theory()
    return FormatSurvey(_with_front(points), refused, curves, *_coverage(values, part))


def survey_observers(tensor: AnyArray | Values, spec: QuantSpec, *, limit: int = LIMIT) -> Steps[ObserverSurvey]:
    """Analyze a tensor with every observer that the spec can have.

    Raises `UserError` where none can have the tensor.
    """
    yield Progress("Comparing observers")
    values = tensor if isinstance(tensor, Values) else Values.of(tensor)
    part = thin(values, spec, limit)
    specs, unfit = observer_specs(spec)
    analyses, refused = yield from _analyses(part, specs, "Comparing observers", "observer")
    points = [
        ObserverPoint(a.spec, a.lo, a.hi, a.metrics.mse, a.metrics.sqnr_db, a.metrics.clipped_fraction)
        for a in analyses
    ]
    points.sort(key=lambda p: -p.sqnr_db)
    low, high = (analyses[0].data_lo, analyses[0].data_hi) if analyses else (0.0, 0.0)
    bins = even_bins(low, high, BINS)
    counts = bins.counts(widened(narrowed(part.all())).ravel())
    return ObserverSurvey(tuple(points), (*unfit, *refused), bins, counts, *_coverage(values, part))


def _analyses(tensor: Values, specs: Sequence[QuantSpec], phase: str, field: str,
              ) -> Steps[tuple[list[Analysis], tuple[Refused, ...]]]:  # fmt: skip
    done: list[Analysis] = []
    refused: list[Refused] = []
    reason = UserError("")
    for i, spec in enumerate(specs):
        start, stop = i / len(specs), (i + 1) / len(specs)
        title = str(getattr(spec, field).title)
        yield Progress(phase, i, len(specs), start)
        try:
            analysis = yield from within(analyze(tensor, spec, bins=2), start, stop)
        except UserError as error:
            reason = error
            refused.append(Refused(title, str(error)))
            continue
        if math.isnan(analysis.metrics.sqnr_db):
            reason = UserError("The tensor holds no finite value.", "Choose another tensor.", field="tensor")
            refused.append(Refused(title, str(reason)))
        else:
            done.append(analysis)
    if specs and not done:
        raise reason
    return done, tuple(refused)


def _with_front(points: list[FormatPoint]) -> tuple[FormatPoint, ...]:
    """The points by bits, those on the Pareto front marked; of equal ones the first."""
    best = -math.inf
    marked: list[FormatPoint] = []
    for point in sorted(points, key=lambda p: (p.bits_per_weight, -p.sqnr_db)):
        marked.append(replace(point, on_front=point.sqnr_db > best))
        best = max(best, point.sqnr_db)
    return tuple(marked)


def _coverage(values: Values, part: Values) -> tuple[str, int]:
    return "exact" if part.n == values.n else "sampled", part.n


def _theory() -> Steps[tuple[Curve, ...]]:
    for name in CURVES:
        for bits in BITS:
            yield Progress("Theory")
            _best(name, bits)
    return tuple(theory_curve(name) for name in CURVES)


CURVES = {
    "bound": "Bound, 6.02 dB a bit",
    "lloyd_gauss": "Lloyd–Max, Gauss",
    "lloyd_laplace": "Lloyd–Max, Laplace",
    "uniform_gauss": "Uniform, Gauss",
}
"""The lines of theory and how they are called."""


def theory_curve(name: str) -> Curve:
    """SQNR over bits: the rate–distortion bound, Lloyd–Max levels, or the best even steps, one scale for all values."""
    bits = range(34) if name == "bound" else BITS
    figures = [_best(name, b) for b in bits]
    return Curve(name, CURVES[name], tuple(float(b) for b in bits), tuple(figures))


@cache
def _best(name: str, bits: int) -> float:
    """One point of a line of theory, in dB."""
    match name:
        case "bound":
            return rate_distortion_sqnr_db("gauss", bits)
        case "lloyd_gauss":
            return lloyd_max("gauss", bits).sqnr_db
        case "lloyd_laplace":
            return lloyd_max("laplace", bits).sqnr_db
        case _:
            return optimal_uniform("gauss", bits, "mid_rise").sqnr_db
