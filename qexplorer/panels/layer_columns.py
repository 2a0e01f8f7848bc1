"""The columns of the table of layers: what a tensor is, and what each spec does to it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyleOptionViewItem

from qexplorer import numbers
from qexplorer.engine.jobs.simulated_job import WEIGHT_SPECS
from qexplorer.inspection.rows import LayerRow
from qexplorer.inspection.scan import Scan
from qexplorer.inspection.scan_table import letter
from qexplorer.quant import QuantSpec
from qexplorer.quant.metrics import METRICS, Metric
from qexplorer.quant.recipe import FLOAT
from qexplorer.text import natural, printable
from qexplorer.widgets.cell_pictures import paint_border, paint_histogram, paint_share
from qexplorer.widgets.filter_field import marks_of
from qexplorer.widgets.lines import NONE, Column, Paint
from qexplorer.widgets.theme import Theme

ERROR_SHARE = "Error share"
WRITTEN = {"dB": numbers.decibels, "%": numbers.percent, "B": numbers.size}
"""How figures of a unit are written."""
ZEROS = "All values are zero, so there is no signal to compare an error with, and no SQNR."
SPEC, WHAT_SPEC = "Spec", "How the recipe quantizes it; F2 changes it, for all selected rows together"
MENU = "A right click chooses columns."


@dataclass(frozen=True, eq=False)
class Layer:
    """A tensor with its figures, as a scan found them."""

    row: LayerRow
    scan: Scan

    @property
    def shown(self) -> str:
        """Its name, made safe for the screen."""
        return printable(self.row.name)

    @cached_property
    def order(self) -> tuple[tuple[int, str], ...]:
        """What its name is sorted by."""
        return natural(self.shown)

    @property
    def dtype(self) -> str:
        """The stored type."""
        return self.row.dtype

    @property
    def n(self) -> int:
        """The number of values."""
        return self.row.n

    @property
    def notes(self) -> list[str]:
        """What it is, and why some or all of its figures are missing."""
        row = self.row
        found = [
            f"Role: {row.role.name}. {row.role.reason}",
            "" if row.role.weighs else "Not a weight: left out of the ranking, the totals and the shares of the error.",
            f"Its values: {row.flags.text}." if row.flags.text else "",
            ZEROS if "zero" in row.flags.names else "",
            f"Tied to {printable(row.tied_to)}: its size and its error are counted there." if row.tied_to else "",
            row.trouble,
        ]
        return list(filter(None, found))

    @property
    def tier(self) -> int:
        """What is odd comes first, then weights, then all else."""
        return 0 if self.row.first else 1 if self.row.role.weighs else 2

    @property
    def marks(self) -> frozenset[str]:
        """What a filter can ask for."""
        return marks_of(self.row.role.name, self.row.flags, weighs=self.row.role.weighs)

    def error_share(self, spec: int) -> float:
        """Its part of Σe² under the spec of that number; NaN where it has none of its own."""
        return self.scan.totals[spec].error_share(self.row, self.row.figures[spec])

    def own(self, value: float) -> float:
        """A figure of all tensors that is counted only where they are not tied to another."""
        return math.nan if self.row.tied_to else value


def columns_of(titles: Sequence[str], current: str, fresh: Scan | None, *, flagged: bool = False,
               ) -> tuple[Column[Layer], ...]:  # fmt: skip
    """The columns for the specs of these titles. The `current` tensor is marked, and greyed out is what another scan
    than the `fresh` one found. Where some are `flagged`, that column never gives way.
    """
    return (
        *_facts(current, flagged),
        *(c for i, t in enumerate(titles) for c in _figures(i, t, len(titles) > 1, fresh)),
    )


def _quiet(layer: Layer) -> str:
    return "" if layer.row.role.weighs else "muted"


def _facts(current: str, flagged: bool) -> tuple[Column[Layer], ...]:
    def tip(layer: Layer) -> str:
        row = layer.row
        ends = "" if math.isnan(row.lo) else f"from {numbers.figure(row.lo)} to {numbers.figure(row.hi)}"
        head = [layer.shown, numbers.tensor(row.shape, row.dtype, row.n), ends]
        return "\n".join(filter(None, [*head, *layer.notes]))

    def paint_bar(painter: QPainter, option: QStyleOptionViewItem, layer: Layer, theme: Theme) -> None:
        paint_share(painter, option, layer.row.share, theme, "original")

    def paint_values(painter: QPainter, option: QStyleOptionViewItem, layer: Layer, theme: Theme) -> None:
        paint_histogram(painter, option, layer.row.histogram, theme)

    def flag_color(layer: Layer) -> str:
        return "clip" if layer.row.flags.broken else "warn" if layer.row.first else "muted"

    columns = (
        Column("Tensor", f"Name in the file\n{MENU}", "features.12.conv.0.1.running_mean", lambda layer: layer.shown,
               lambda layer: layer.order, right=False, tip=tip, bold=lambda layer: layer.row.name == current),
        Column("Flags", f"What is odd about its values: NaN, infinite, all zero …\n{MENU}", "00 NaN, 00 infinite ",
               lambda layer: layer.row.flags.text, lambda layer: -len(layer.row.flags.names), right=False, tip=tip,
               color=flag_color, rank=0 if flagged else 10),
        Column("Role", "What it is in the model, told by its name, type and shape. Totals and the ranking are over "
               f"weights.\n{MENU}", "embedding ", lambda layer: layer.row.role.name,
               lambda layer: layer.row.role.name, right=False, tip=tip, rank=4),
        Column("Shape", f"Shape\n{MENU}", "4096×11008 ", lambda layer: numbers.shape(layer.row.shape),
               lambda layer: layer.row.shape, right=False, tip=tip, rank=6),
        Column("Values", f"Number of values\n{MENU}", "409.6 M ", lambda layer: numbers.many(layer.n),
               lambda layer: layer.n, tip=tip, rank=8),
        Column("Type", f"Stored type\n{MENU}", "bfloat16 ", lambda layer: layer.dtype, lambda layer: layer.dtype,
               right=False, tip=tip, rank=9),
        Column("Size", f"What the tensor takes in the file\n{MENU}", "999.99 MB ",
               lambda layer: numbers.size(layer.row.original_bytes), lambda layer: layer.row.original_bytes, tip=tip,
               rank=7),
        Column("Share", f"Its share of the bytes of the file\n{MENU}", "long bar 100.00 % ",
               lambda layer: _share(layer.own(layer.row.share)), lambda layer: layer.own(layer.row.share), tip=tip,
               paint=paint_bar, rank=5),
        Column("Histogram", f"Its values from the least to the greatest; sorts by how far these are apart\n{MENU}",
               "48 bins of it ", lambda layer: "", lambda layer: layer.row.hi - layer.row.lo, right=False, tip=tip,
               paint=paint_values, rank=2, picture=True),
    )  # fmt: skip
    return tuple(column if column.color else replace(column, color=_quiet) for column in columns)


def _figures(spec: int, title: str, lettered: bool, fresh: Scan | None) -> tuple[Column[Layer], ...]:
    """The columns of one spec."""

    def paint_error(painter: QPainter, option: QStyleOptionViewItem, layer: Layer, theme: Theme) -> None:
        role = "dequantized" if layer.scan is fresh else "edge"
        paint_share(painter, option, layer.error_share(spec), theme, role)

    def column(name: str, meaning: str, sample: str, rank: int, text: Callable[[Layer], str],
               sort: Callable[[Layer], float], paint: Paint[Layer] | None) -> Column[Layer]:  # fmt: skip
        def tip(layer: Layer) -> str:
            stale = [] if layer.scan is fresh else ["For the previous spec: scan again."]
            refusal = layer.row.figures[spec].refusal
            return "\n".join([*stale, *layer.notes, *([refusal] if refusal != layer.row.trouble else []), meaning])

        return Column(f"{letter(spec)} {name}" if lettered else name, f"{meaning}\n{title}\n{MENU}", sample, text,
                      sort, tip=tip, rank=rank, group=name,
                      color=lambda layer: _quiet(layer) if layer.scan is fresh else "edge", paint=paint,
                      tiered=True)  # fmt: skip

    def of(metric: Metric) -> Column[Layer]:
        sample = "999.99 MB  " if metric.unit == "B" else f"A {metric.header} ↑"

        def read(layer: Layer) -> float:
            return metric.read(layer.row.figures[spec].metrics)

        return column(metric.header, metric.help, sample, metric.rank,
                      lambda layer: _written(read(layer), WRITTEN.get(metric.unit, numbers.figure)), read,
                      paint_border if metric is METRICS[0] else None)  # fmt: skip

    first, *others = (of(metric) for metric in METRICS if metric.header)
    rule = Column[Layer](
        f"{letter(spec)} {SPEC}" if lettered else SPEC, f"{WHAT_SPEC}\n{title}\n{MENU}", "int4 group:128 mse ",
        lambda layer: spec_text(layer.row.specs[spec]), lambda layer: spec_text(layer.row.specs[spec]), right=False,
        rank=3, group=SPEC, color=lambda layer: _quiet(layer) if layer.scan is fresh else "edge",
        edit=(lambda layer: spec_text(layer.row.specs[0])) if spec == 0 else None, offers=WEIGHT_SPECS,
    )  # fmt: skip
    share = column(ERROR_SHARE, "Its share of the squared error Σe² of all weights: large tensors and large values "
                   "weigh more.", "long bar 100.00 % ", 1, lambda layer: _share(layer.error_share(spec)),
                   lambda layer: layer.own(layer.row.figures[spec].sums.e2), paint_error)  # fmt: skip
    return (first, share, rule, *others)


def spec_text(spec: QuantSpec | None) -> str:
    """A spec in one line; `float` for what is kept as it is."""
    return spec.short if spec else FLOAT


def _share(share: float) -> str:
    """Shares are compared with each other: how small a small one is, is no matter."""
    return _written(share, lambda x: "<0.01 %" if 0 < x < 1e-4 else f"{x * 100:.2f} %")


def _written(value: float, write: Callable[[float], str]) -> str:
    return NONE if math.isnan(value) else write(value)
