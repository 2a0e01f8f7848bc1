"""Every format, or every observer, on one tensor: what each costs and how near it comes, as generators.

Of a large tensor there are first estimates between bounds that hold, see `glance`, and where none can be had no figure;
then `refined` makes them exact, one after the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.analysis import analyze
from qexplorer.quant.arrays import AnyArray, Counts
from qexplorer.quant.bins import Bins, even_bins
from qexplorer.quant.bounds import Bounds
from qexplorer.quant.formats import formats
from qexplorer.quant.glance import DRAWS, Glance
from qexplorer.quant.look import Look, look_at
from qexplorer.quant.observers import observers
from qexplorer.quant.runs import SHORTEST
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values
from qexplorer.quant.theory import lloyd_max, optimal_uniform, rate_distortion_sqnr_db

LIMIT = 1 << 16
"""Tensors of more values are estimated first."""
BINS = 200
BITS = range(1, 9)
"""Where the lines of theory are worked out."""


@dataclass(frozen=True)
class FormatPoint:
    """One format on the tensor. `on_front`: none needs as few bits and has a higher SQNR, nor the other way round, as
    far as is known.

    `coverage` is `exact`, or `sketch` or `sampled` with the `bounds` of the SQNR, or `pending`: then it is NaN.
    """

    spec: QuantSpec
    bits_per_weight: float
    sqnr_db: float
    on_front: bool = False
    coverage: str = "exact"
    bounds: tuple[float, float] | None = None


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
    """The formats by their bits per weight; of equal ones the best first, once all are `exact`. `coverage` is that of
    the least known; `n` values were looked at for it.
    """

    points: tuple[FormatPoint, ...]
    refused: tuple[Refused, ...]
    curves: tuple[Curve, ...]
    coverage: str
    n: int


@dataclass(frozen=True)
class ObserverPoint:
    """One observer on the tensor. `lo`, `hi`: the least and greatest value that its grid can represent.

    `coverage` is `exact`, or `sketch` or `sampled` with `bounds` of the figures, or `pending`; a figure that is not
    known is NaN.
    """

    spec: QuantSpec
    lo: float
    hi: float
    mse: float
    sqnr_db: float
    clipped_fraction: float
    coverage: str = "exact"
    bounds: Bounds = field(default_factory=dict[str, tuple[float, float]])


@dataclass(frozen=True)
class ObserverSurvey:
    """The observers and a histogram of the values. Once all are `exact` the highest SQNR comes first; until then they
    stand in an order of their own, so that no row moves while figures come in.
    """

    points: tuple[ObserverPoint, ...]
    refused: tuple[Refused, ...]
    bins: Bins
    counts: Counts
    coverage: str
    n: int


Survey: TypeAlias = FormatSurvey | ObserverSurvey


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


def survey_formats(tensor: AnyArray | Values | Glance, spec: QuantSpec, *, limit: int = LIMIT) -> Steps[FormatSurvey]:
    """Analyze a tensor in every format, with the spec's other choices where they fit: exactly up to `limit` values.

    Raises `UserError` where no format can have the tensor.
    """
    yield Progress("Comparing formats")
    glance = _glance(tensor)
    looks, refused = yield from _looks(glance, format_specs(spec), "Comparing formats", "format", limit)
    points = [
        FormatPoint(look.spec, look.bits_per_weight, look.figures.get("sqnr_db", math.nan), coverage=look.coverage,
                    bounds=look.bounds.get("sqnr_db"))
        for look in looks
    ]  # fmt: skip
    points.sort(key=lambda point: point.bits_per_weight)
    curves = yield from _theory()
    return _formats(FormatSurvey(tuple(points), refused, curves, "", 0), glance.values.n)


def survey_observers(
    tensor: AnyArray | Values | Glance, spec: QuantSpec, *, limit: int = LIMIT
) -> Steps[ObserverSurvey]:
    """Analyze a tensor with every observer that the spec can have: exactly up to `limit` values.

    Raises `UserError` where none can have the tensor.
    """
    yield Progress("Comparing observers")
    glance = _glance(tensor)
    specs, unfit = observer_specs(spec)
    looks, refused = yield from _looks(glance, specs, "Comparing observers", "observer", limit)
    whole = yield from glance.sketch()
    low, high = (float(whole.values[0]), float(whole.values[-1])) if whole.n else (0.0, 0.0)
    bins = even_bins(low, high, BINS)
    counts = bins.counts(whole.values, whole.counts)
    points = tuple(_observer_point(look) for look in looks)
    return _observers(ObserverSurvey(points, (*unfit, *refused), bins, counts, "", 0), glance.values.n)


def refined(survey: Survey, tensor: Glance) -> Steps[Survey]:
    """The survey with one more figure exact: what is pending first, what is learned from the values last."""
    at = min(
        (i for i, point in enumerate(survey.points) if point.coverage != "exact"),
        key=lambda i: (survey.points[i].spec.format.learns, survey.points[i].coverage != "pending", i),
    )
    point, n = survey.points[at], tensor.values.n
    try:
        analysis = yield from analyze(tensor.values, point.spec, bins=2)
    except UserError as error:
        field_name = "format" if isinstance(survey, FormatSurvey) else "observer"
        refused = Refused(str(getattr(point.spec, field_name).title), str(error))
        left = replace(survey, points=survey.points[:at] + survey.points[at + 1 :], refused=(*survey.refused, refused))
        return _formats(left, n) if isinstance(left, FormatSurvey) else _observers(left, n)
    look = Look.of(analysis)
    if isinstance(survey, FormatSurvey):
        exact = FormatPoint(point.spec, look.bits_per_weight, look.figures["sqnr_db"])
        return _formats(replace(survey, points=(*survey.points[:at], exact, *survey.points[at + 1 :])), n)
    points = (*survey.points[:at], _observer_point(look), *survey.points[at + 1 :])
    return _observers(replace(survey, points=points), n)


def _glance(tensor: AnyArray | Values | Glance) -> Glance:
    if isinstance(tensor, Glance):
        return tensor
    return Glance(tensor if isinstance(tensor, Values) else Values.of(tensor))


def _observer_point(look: Look) -> ObserverPoint:
    known = (look.figures.get(name, math.nan) for name in ("mse", "sqnr_db", "clipped_fraction"))
    return ObserverPoint(look.spec, look.lo, look.hi, *known, coverage=look.coverage, bounds=look.bounds)


def _looks(glance: Glance, specs: Sequence[QuantSpec], phase: str, field: str, limit: int,
           ) -> Steps[tuple[list[Look], tuple[Refused, ...]]]:  # fmt: skip
    done: list[Look] = []
    refused: list[Refused] = []
    reason = UserError("")
    for i, spec in enumerate(specs):
        start, stop = i / len(specs), (i + 1) / len(specs)
        title = str(getattr(spec, field).title)
        yield Progress(phase, i, len(specs), start)
        try:
            if glance.values.n > limit:
                look = yield from within(look_at(glance, spec), start, stop)
            else:
                look = Look.of((yield from within(analyze(glance.values, spec, bins=2), start, stop)))
        except UserError as error:
            reason = error
            refused.append(Refused(title, str(error)))
            continue
        if look.coverage != "pending" and math.isnan(look.figures["sqnr_db"]):
            reason = UserError("The tensor holds no finite value.", "Choose another tensor.", field="tensor")
            refused.append(Refused(title, str(reason)))
        else:
            done.append(look)
    if specs and not done:
        raise reason
    return done, tuple(refused)


def _formats(survey: FormatSurvey, n: int) -> FormatSurvey:
    """The survey with its front and its coverage."""
    return replace(survey, points=_with_front(survey.points), **_coverage(survey.points, n))


def _observers(survey: ObserverSurvey, n: int) -> ObserverSurvey:
    """The survey with its coverage, and in its order."""
    coverage = _coverage(survey.points, n)
    points = survey.points
    if coverage["coverage"] == "exact":
        points = tuple(sorted(points, key=lambda point: -point.sqnr_db))
    return replace(survey, points=points, **coverage)


def _with_front(points: Sequence[FormatPoint]) -> tuple[FormatPoint, ...]:
    """The points, those on the Pareto front marked; of equal ones the first, and of unknown ones none. Once all are
    exact they stand by bits, then the best first.
    """
    best = -math.inf
    marked: dict[int, FormatPoint] = {}
    known = [i for i, point in enumerate(points) if not math.isnan(point.sqnr_db)]
    for i in sorted(known, key=lambda i: (points[i].bits_per_weight, -points[i].sqnr_db)):
        marked[i] = replace(points[i], on_front=points[i].sqnr_db > best)
        best = max(best, points[i].sqnr_db)
    if all(point.coverage == "exact" for point in points):
        return tuple(marked.values())
    return tuple(marked.get(i, point) for i, point in enumerate(points))


def _coverage(points: Sequence[FormatPoint | ObserverPoint], n: int) -> dict[str, Any]:
    """As little as is known of any point."""
    known = {point.coverage for point in points}
    least = next((each for each in ("sampled", "sketch", "pending") if each in known), "exact")
    return {"coverage": least, "n": min(n, DRAWS * SHORTEST) if least == "sampled" else n}


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
