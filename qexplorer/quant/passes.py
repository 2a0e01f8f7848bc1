"""The passes over a tensor that quantize and measure it, piece by piece on all cores."""

from dataclasses import dataclass, replace

import numpy as np

from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray, Doubles
from qexplorer.quant.axes import Axes
from qexplorer.quant.error_sums import ends_of, measure, measure_reference, plain
from qexplorer.quant.observers import no_ends
from qexplorer.quant.params import QuantParams
from qexplorer.quant.piece_sums import PieceSums
from qexplorer.quant.pieces import blocks, groups_fit, rows_of, size_of
from qexplorer.quant.pool import each
from qexplorer.quant.ranges import ranges_of
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values
from qexplorer.quant.tiling import Piece


@dataclass
class Seen:
    """All that was measured so far: the pieces together, and Σx² and Σe² of each row of the matrix, `[C]`."""

    total: PieceSums
    x2: Doubles
    e2: Doubles

    @staticmethod
    def nothing(values: Values, spec: QuantSpec, params: QuantParams, axes: Axes | None = None) -> "Seen":
        bins, error_bins = (None, None) if axes is None else (axes.bins, axes.error_bins)
        empty = measure_reference(np.zeros((0, 1), np.float32), spec.format, params.take(0, 0), bins, error_bins)
        channels = spec.granularity.tiling(values.shape).high
        return Seen(empty, np.zeros(channels), np.zeros(channels))

    def add(self, spec: QuantSpec, piece: Piece, more: PieceSums) -> None:
        self.total = self.total + more
        tiling = spec.granularity.tiling(piece.shape)
        for sums, rows in ((self.x2, more.row_x2), (self.e2, more.row_e2)):
            sums[piece.channels.start : piece.channels.stop] += tiling.by_channel(rows)


def _in_channels(rows: AnyArray, spec: QuantSpec, piece: Piece) -> AnyArray:
    """The rows of a piece, cut so that each lies within one channel."""
    parts = spec.granularity.tiling(piece.shape).parts
    return rows.reshape(len(rows) * parts, -1) if parts > 1 else rows


def measure_pieces(values: Values, spec: QuantSpec, params: QuantParams, axes: Axes) -> Steps[Seen]:
    """Quantize and measure all pieces of a matrix."""
    seen = Seen.nothing(values, spec, params, axes)

    def work(piece: Piece) -> Steps[PieceSums]:
        yield Progress("Measuring")
        rows = _in_channels(rows_of(values, spec, piece), spec, piece)
        part = params.take(piece.groups.start, piece.groups.stop, piece.first)
        together = spec.granularity.tiling(piece.shape).together
        return measure(rows, spec.format, part, axes.bins, axes.error_bins, together)

    pieces = blocks(values, spec, searched=not plain(spec.format, params))
    yield from each("Measuring", pieces, work, lambda piece, more: seen.add(spec, piece, more), size_of, values.n)
    return seen


def at_once(values: Values, spec: QuantSpec) -> bool:
    """Whether range and error of a group can be had from one piece without a look at others."""
    kind = spec.scale_dtype
    if not spec.format.scaled:
        return True
    if spec.observer.asks == "values" or spec.format.learns or kind.late or kind.tensor_bits:
        return False
    return groups_fit(values, spec)


def measure_at_once(values: Values, spec: QuantSpec) -> Steps[tuple[QuantParams, Axes, Seen]]:
    """`measure_pieces` with each range found just before its group is measured, while the values lie in the cache."""
    form = spec.format
    none = np.zeros(spec.granularity.tiling(values.shape).groups, np.float32)
    empty = form.choose(none, none, spec.choices)
    axes, seen = Axes.of(spec, empty.take(0, 0), no_ends(0), 0), Seen.nothing(values, spec, empty)
    chosen: list[QuantParams] = []

    def work(piece: Piece) -> Steps[tuple[QuantParams, Axes, PieceSums]]:
        yield Progress("Measuring")
        rows = rows_of(values, spec, piece)
        ends = ends_of(rows)
        params = form.choose(*ranges_of(spec, ends, lambda: None), spec.choices)
        parts, placed = _in_channels(rows, spec, piece), replace(params, first=piece.first)
        measured = measure(parts, form, placed, together=spec.granularity.tiling(piece.shape).together)
        return params, Axes.of(spec, params, ends, 0), measured

    def take(piece: Piece, result: tuple[QuantParams, Axes, PieceSums]) -> None:
        nonlocal axes
        params, more, measured = result
        chosen.append(params)
        axes = axes.widened(more) if len(chosen) > 1 else more
        seen.add(spec, piece, measured)

    yield from each("Measuring", blocks(values, spec, whole=True), work, take, size_of, values.n)
    return chosen[0].join(chosen[1:]) if chosen else empty, axes, seen
