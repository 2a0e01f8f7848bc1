"""The ranges of a tensor's groups, and the parameters that follow from them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from qexplorer.progress import Progress, Steps, finish, within
from qexplorer.quant.arrays import Doubles
from qexplorer.quant.error_sums import ends_of, measure
from qexplorer.quant.grid_target import target
from qexplorer.quant.many_values import ManyValues
from qexplorer.quant.observers import Ends, no_ends, zero_if_empty
from qexplorer.quant.params import QuantParams
from qexplorer.quant.pieces import blocks, rows_of, size_of
from qexplorer.quant.pool import each
from qexplorer.quant.quantize import range_steps, reach_of, settles
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values, widened
from qexplorer.quant.tiling import Piece

SKETCHED = 1 << 22
"""Where more values share one scale they are not looked at together any more: an observer counts them in passes of its
own or, where it cannot, is given their sketch.
"""


def extremes_of(values: Values, spec: QuantSpec) -> Steps[Ends]:
    """The least and greatest finite value of each group; +∞ and −∞ for none."""
    groups = spec.granularity.tiling(values.shape).groups
    lows, highs = np.full(groups, np.inf, np.float32), np.full(groups, -np.inf, np.float32)

    def find(piece: Piece) -> Steps[Ends]:
        yield Progress("Finding the range")
        return ends_of(rows_of(values, spec, piece))

    def take(piece: Piece, ends: Ends) -> None:
        part = slice(piece.groups.start, piece.groups.stop)
        lows[part], highs[part] = np.minimum(lows[part], ends[0]), np.maximum(highs[part], ends[1])

    pieces = blocks(values, spec)
    yield from each("Finding the range", pieces, find, take, size_of, values.n)
    return lows, highs


def ranges_of(spec: QuantSpec, ends: Ends, stats: Callable[[], Any]) -> Ends:
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
            return finish(observer.search(stats(), target(spec, reach_of(spec, ends))))


def params_of(values: Values, spec: QuantSpec, ends: Ends) -> Steps[tuple[QuantParams, str]]:
    """The parameters of each group, and what their ranges were found from."""
    form, groups = spec.format, len(ends[0])
    lo, hi, ranged = np.zeros(groups, np.float32), np.zeros(groups, np.float32), "values"
    if not form.scaled or spec.observer.asks != "values":
        lo, hi = ranges_of(spec, ends, lambda: None)
    elif groups == 1 and values.n > SKETCHED:
        stats, ranged = yield from within(_stats_of_many(values, spec, ends), 0.0, 0.5)
        search = spec.observer.search(stats, target(spec, reach_of(spec, ends)))
        lo, hi = yield from within(search, 0.5, 1.0)
    else:
        reach = reach_of(spec, ends)
        pilot = (yield from _pilot(values, spec)) if spec.observer.piloted else None

        def find(piece: Piece) -> Steps[Ends]:
            return (yield from range_steps(spec, widened(rows_of(values, spec, piece)), reach, pilot))

        def take(piece: Piece, found: Ends) -> None:
            part = slice(piece.groups.start, piece.groups.stop)
            lo[part], hi[part] = found

        pieces = blocks(values, spec, whole=True, searched=True)
        yield from each("Finding the range", pieces, find, take, size_of, values.n)
        if settles(spec):
            lo, hi = yield from _settled(values, spec, (lo, hi), zero_if_empty(*ends))
    if not form.learns:
        return form.choose(lo, hi, spec.choices), ranged
    learned: list[QuantParams] = []

    def fit(piece: Piece) -> Steps[QuantParams]:
        part = slice(piece.groups.start, piece.groups.stop)
        return (yield from form.fit(widened(rows_of(values, spec, piece)), lo[part], hi[part], spec.choices))

    pieces = blocks(values, spec, whole=True, searched=True)
    yield from each("Learning levels", pieces, fit, lambda _, params: learned.append(params), size_of, values.n)
    return (learned[0].join(learned[1:]) if learned else form.choose(lo, hi, spec.choices)), ranged


def _pilot(values: Values, spec: QuantSpec) -> Steps[Doubles | None]:
    """What single groups depend on, summed over all; none where all are looked at together."""
    pieces = list(blocks(values, spec, whole=True, searched=True))
    sums: list[Doubles] = []

    def work(piece: Piece) -> Steps[Doubles]:
        yield Progress("Finding the range")
        stats = spec.observer.update(None, widened(rows_of(values, spec, piece)))
        return spec.observer.pilot(stats, target(spec))

    if len(pieces) > 1:
        yield from each("Finding the range", pieces, work, lambda _, more: sums.append(more), size_of, values.n)
    return np.sum(sums, axis=0) if sums else None


def _settled(values: Values, spec: QuantSpec, found: Ends, plain: Ends) -> Steps[Ends]:
    """Of two ranges for each group those that err less in sum."""
    errors = [0.0, 0.0]
    params = [spec.format.choose(*ends, spec.choices) for ends in (found, plain)]

    def work(piece: Piece) -> Steps[list[float]]:
        yield Progress("Finding the range")
        rows = rows_of(values, spec, piece)
        return [measure(rows, spec.format, p.take(piece.groups.start, piece.groups.stop)).sums.e2 for p in params]

    def take(piece: Piece, more: list[float]) -> None:
        del piece
        errors[:] = np.add(errors, more)

    yield from each("Finding the range", blocks(values, spec, whole=True), work, take, size_of, values.n)
    return found if errors[0] <= errors[1] else plain


def _stats_of_many(values: Values, spec: QuantSpec, ends: Ends) -> Steps[tuple[Any, str]]:
    """What the observer knows of one group of very many values, and what from."""
    halves = values.dtype.itemsize == 2  # their sketch holds every value as it is
    passes = None if halves else spec.observer.by_passes(ManyValues(values, spec, ends))
    if passes is not None:
        return (yield from passes), "values"
    whole = yield from sketch(values)
    return spec.observer.of_sample(whole.sample), "values" if whole.exact else "sketch"


def params_of_sketch(whole: Sketch, spec: QuantSpec) -> QuantParams:
    """The parameters of one group with the values of a sketch."""
    return spec.format.choose(*range_of_sketch(whole, spec), spec.choices)


def range_of_sketch(whole: Sketch, spec: QuantSpec) -> Ends:
    """The range of one group with the values of a sketch."""
    return ranges_of(spec, ends_of_sketch(whole), lambda: spec.observer.of_sample(whole.sample))


def possible_params(whole: Sketch, spec: QuantSpec, found: Ends) -> tuple[QuantParams, ...]:
    """All parameters that the values can have where their sketch has a range; none where that is unknown, because the
    observer might choose any other range.
    """
    nearby = (found,) if whole.exact or not spec.format.scaled else spec.observer.nearby(*found)
    return tuple(spec.format.choose(*ends, spec.choices) for ends in nearby)


def ends_of_sketch(whole: Sketch) -> Ends:
    """The least and greatest finite value, as those of one group."""
    return (whole.values[:1], whole.values[-1:]) if whole.counts.size else no_ends(1)
