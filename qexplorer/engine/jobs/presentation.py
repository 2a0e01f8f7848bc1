"""What a result looks like, as a value: the window, the command line and reports draw the same one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qexplorer.engine.runs.curve_points import CurvePoint, EpochPoint, SamplesPoint
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import RunResult
from qexplorer.presentation import Bar, Curve, Curves, FrontPoint, Ranking, Table

if TYPE_CHECKING:
    from qexplorer.engine.jobs import Job

MOST = 6
"""So many figures of layers can be chosen among, the most telling ones."""
LOSS, TOP1 = "Training loss", "Top-1 (%)"
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Figure:
    """A figure that layers may have: its name for a choice of few, what it means, its unit, into which `times` turns
    it; `column` heads it in a table. One without a name, or a column, is not drawn, or listed. It is not drawn either
    where the figure `unless` is.
    """

    name: str
    title: str
    unit: str
    of: Callable[[LayerFigures], float | None]
    column: str = ""
    low_is_worst: bool = False
    times: float = 1.0
    interval: Callable[[LayerFigures], Interval] = lambda _: None
    unless: str = ""


FIGURES = (
    Figure("Output", "Error of the model's output with this layer alone quantized", "%",
           lambda layer: layer.output_error, times=100),
    Figure("Output SQNR", "SQNR of the layer's output", "dB", lambda layer: layer.output_sqnr_db, "output dB",
           low_is_worst=True, unless="Output"),
    Figure("Local", "SQNR of the layer's own output with float inputs", "dB", lambda layer: layer.local_sqnr_db,
           "local dB", low_is_worst=True),
    Figure("Cumulative", "SQNR of the layer's output with all before it quantized", "dB",
           lambda layer: layer.cumulative_sqnr_db, "cumulative dB", low_is_worst=True),
    Figure("Top-1", "Top-1 with this layer alone quantized", "%", lambda layer: layer.top1, "top-1", low_is_worst=True,
           times=100, interval=lambda layer: layer.top1_ci95),
    Figure("Flips", "Changed predictions with this layer alone quantized", "images", lambda layer: layer.flips,
           "flips"),
    Figure("Rest", "Top-1 with all but this layer quantized", "%", lambda layer: layer.rest_top1, "top-1 of the rest",
           times=100, interval=lambda layer: layer.rest_top1_ci95),
    Figure("Differs", "Outputs whose code is not that of the simulation", "%",
           lambda layer: None if layer.equal is None else 1 - layer.equal, times=100),
    Figure("", "", "", lambda layer: layer.equal, "equal"),
    Figure("", "", "", lambda layer: layer.largest_lsb, "most LSBs"),
    Figure("Shift", "Share of that error that is a shift of channels' means", "%", lambda layer: layer.mean_shift,
           "mean shift", times=100),
    Figure("Weights", "SQNR of the layer's weights", "dB", lambda layer: layer.weight_sqnr_db, "weights dB",
           low_is_worst=True),
    Figure("Bits", "Bits of a weight, scales included", "bits", lambda layer: layer.bits, "bits"),
)  # fmt: skip


@dataclass(frozen=True)
class FollowUp:
    """What a result lends to the next job: of a bar by its key, or of a point of the front by its place.

    `make` gives that job, from the key or place and the job that is set now, or None where there is none. It raises
    `UserError` where it does not fit. `name` serves for finding the button, `said` tells what the job has then.
    """

    name: str
    title: str
    help: str
    make: "Callable[[Any, Job], Job | None]"
    said: str


@dataclass(frozen=True)
class Presentation:
    """A result without its rows: rankings of layers by the row that they are of ("": the whole run), curves, a front
    with the place of the chosen point; a table of the layers and lines for the command line; remarks, sentences on what
    else was found.

    `title` stands in place of the job's and the row's, `what` is a bar called.
    """

    title: str = ""
    what: str = "Layer"
    rankings: Mapping[str, tuple[Ranking, ...]] = field(default_factory=dict[str, tuple[Ranking, ...]])
    curves: Curves = field(default_factory=Curves)
    front: tuple[FrontPoint, ...] = ()
    chosen: int = 0
    table: Table | None = None
    lines: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    follow_up: FollowUp | None = None

    @property
    def rows(self) -> list[str]:
        """The rows that have figures of layers of their own."""
        return [row for row in self.rankings if row]

    def rankings_of(self, row: str) -> tuple[Ranking, ...]:
        """The figures of the layers of a row, or of the whole run."""
        return self.rankings.get(row if self.rows else "", ())


def presentation_of(result: RunResult, table: str = "") -> Presentation:
    """The figures of layers and the curves that a result has, and a `table` of the layers, whose names have that title,
    for jobs that are about those.
    """
    rows = list(dict.fromkeys(layer.row for layer in result.layers if layer.row)) or [""]
    rankings = {row: _rankings([layer for layer in result.layers if layer.row == row]) for row in rows}
    listed = table_of(result.layers, table) if table and result.layers else None
    return Presentation(rankings=rankings, curves=curves_of(result.history), table=listed)


def table_of(layers: Sequence[LayerFigures], title: str) -> Table:
    """The layers with all figures that any of them has."""
    known = [each for each in FIGURES if each.column and any(each.of(layer) is not None for layer in layers)]
    rows = (tuple(_text(each.of(layer)) for each in known) for layer in layers)
    return Table(
        (title, *(each.column for each in known)),
        tuple((layer.name, *row) for layer, row in zip(layers, rows, strict=True)),
    )


def curves_of(points: Sequence[CurvePoint]) -> Curves:
    """Curves of the points of a run, which may be under way; none where there are no points."""
    epochs = [point for point in points if isinstance(point, EpochPoint)]
    samples = [point for point in points if isinstance(point, SamplesPoint)]
    return _over_epochs(epochs) if epochs else _over_samples(samples) if samples else Curves()


def _rankings(layers: Sequence[LayerFigures]) -> tuple[Ranking, ...]:
    found: dict[str, Ranking] = {}
    for each in FIGURES:
        bars = tuple(bar for layer in layers if (bar := _bar(layer, each)) is not None)
        if each.name and bars and each.unless not in found:
            found[each.name] = Ranking(each.name, each.title, each.unit, bars, each.low_is_worst)
    return tuple(found.values())[:MOST]


def _bar(layer: LayerFigures, figure: Figure) -> Bar | None:
    value = figure.of(layer)
    if value is None or not math.isfinite(value):
        return None
    known = [(each.title, each.of(layer)) for each in FIGURES if each.name]
    lines = [layer.name, layer.spec, *(f"{title}: {_text(own)}" for title, own in known if own is not None)]
    low, high = figure.interval(layer) or (None, None)
    times = figure.times
    return Bar(layer.name, layer.name, value * times, "\n".join(filter(None, lines)),
               None if low is None else low * times, None if high is None else high * times)  # fmt: skip


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _over_epochs(points: Sequence[EpochPoint]) -> Curves:
    xs = [p.epoch + 1 for p in points]
    curves = [
        Curve(LOSS, xs, [p.loss for p in points], LOSS, "line"),
        Curve("Validation", xs, [100 * p.validation_top1 for p in points], TOP1, "line"),
        Curve("Training", xs, [100 * p.train_top1 for p in points], TOP1, "dashed"),
    ]
    for kept in (p for p in points if p.best):
        at, top1 = kept.epoch + 1, 100 * kept.validation_top1
        curves.append(Curve(f"Epoch {at} is kept", [at], [top1], TOP1, "points"))
    for name, scale in points[0].scales.items():
        ys = [p.scales.get(name, math.nan) / (scale or 1.0) for p in points]
        curves.append(Curve(name, xs, ys, "Scale, relative to the first epoch", "line"))
    return Curves("Epoch", tuple(curves))


def _over_samples(points: Sequence[SamplesPoint]) -> Curves:
    xs = [p.samples for p in points]
    curves = [Curve("Top-1", xs, [100 * p.top1 for p in points], TOP1, "line")]
    changes = [100 * p.range_change for p in points if p.range_change is not None]
    if len(changes) == len(points):
        curves.append(Curve("Median range against the last", xs, changes, "Change of ranges (%)", "line"))
    return Curves("Calibration samples", tuple(curves))
