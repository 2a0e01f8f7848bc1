"""The whole model at once: what some specs do to each tensor of a checkpoint, a few pieces in memory at a time."""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.analysis import analyze_sketch, unsketched
from qexplorer.quant.arrays import Counts
from qexplorer.quant.metrics import sqnr_db
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.weights import Checkpoint, TensorInfo

BINS = 48
"""Bins of a thumbnail."""


@dataclass(frozen=True)
class LayerFigures:
    """What one spec does to one tensor: as in `Metrics`, with Σx² and Σe² over its finite values.

    `refusal` says why the spec does not serve this tensor; all figures are NaN then, and it stays as it is stored.
    """

    sqnr_db: float = math.nan
    mse: float = math.nan
    relative_rmse: float = math.nan
    max_abs_error: float = math.nan
    clipped_fraction: float = math.nan
    x2: float = math.nan
    e2: float = math.nan
    bits_per_weight: float = math.nan
    bytes: float = math.nan
    coverage: str = "exact"
    refusal: str = ""


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A histogram of the finite values: `counts` `[48]` of even bins between `lo` and `hi`; both NaN without any."""

    counts: Counts
    lo: float = math.nan
    hi: float = math.nan


EMPTY = Thumbnail(np.zeros(BINS, np.int64))
"""That of a tensor without values."""


@dataclass(frozen=True, eq=False)
class LayerRow:
    """One tensor: what it is, and its figures under each spec.

    `share` is its part of the checkpoint's bytes, 0 where it is `tied_to` another that is counted already. `trouble`
    is empty, or says why there are no figures at all: what cannot be read, or holds no finite floating-point value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    n: int
    original_bytes: int
    share: float
    figures: tuple[LayerFigures, ...]
    histogram: Counts
    lo: float
    hi: float
    tied_to: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Totals:
    """All tensors so far under one spec; tied ones are counted once.

    `bytes` is what they take: quantized where the spec serves, else as stored. `done` tensors were looked at, of them
    `quantized` are; x2 and e2 are Σx² and Σe² over those.
    """

    n: int = 0
    bytes: float = 0
    x2: float = 0.0
    e2: float = 0.0
    done: int = 0
    quantized: int = 0

    @property
    def bits_per_weight(self) -> float:
        """Bits per value over everything; NaN before the first value."""
        return 8 * self.bytes / self.n if self.n else math.nan

    @property
    def sqnr_db(self) -> float:
        """The SQNR of all tensors together in dB: 10·log₁₀(Σx²/Σe²); NaN before the first one is quantized."""
        return sqnr_db(self.x2, self.e2) if self.quantized else math.nan

    def error_share(self, row: LayerRow, figures: LayerFigures) -> float:
        """The tensor's part of Σe²; NaN where it has none of its own, or there is no error to share."""
        own = not row.tied_to and 0 < self.e2 < math.inf
        return figures.e2 / self.e2 if own else math.nan

    def plus(self, row: LayerRow, figures: LayerFigures) -> "Totals":
        """These and one more tensor."""
        if row.tied_to:
            return replace(self, done=self.done + 1)
        if math.isnan(figures.e2):
            return replace(self, n=self.n + row.n, bytes=self.bytes + row.original_bytes, done=self.done + 1)
        return Totals(
            n=self.n + row.n,
            bytes=self.bytes + figures.bytes,
            x2=self.x2 + figures.x2,
            e2=self.e2 + figures.e2,
            done=self.done + 1,
            quantized=self.quantized + 1,
        )


class Scan:
    """Every tensor of a checkpoint under every spec, in the file's order.

    `rows` grow while `steps` run; another thread may read them and the totals meanwhile. Work that was stopped goes on
    where it stopped when `steps` is called again. What a scan `before` of the same checkpoint already knows is not
    measured again.
    """

    def __init__(self, checkpoint: Checkpoint, specs: Sequence[QuantSpec], before: "Scan | None" = None) -> None:
        self.checkpoint = checkpoint
        self.specs = tuple(specs)
        usable = before is not None and before.checkpoint is checkpoint
        self._known = {row.name: row for row in before.rows} if before is not None and usable else {}
        self._known_specs = before.specs if before is not None and usable else ()
        self._lock = threading.Lock()
        self._rows: list[LayerRow] = []
        self._by_name: dict[str, LayerRow] = {}
        self._totals = tuple(Totals() for _ in self.specs)

    @property
    def rows(self) -> tuple[LayerRow, ...]:
        """The tensors that are done."""
        return self.new_rows(0)

    def new_rows(self, since: int) -> tuple[LayerRow, ...]:
        """The tensors that are done, without the first `since` ones."""
        with self._lock:
            return tuple(self._rows[since:])

    @property
    def totals(self) -> tuple[Totals, ...]:
        """The sums over the tensors that are done, for each spec."""
        with self._lock:
            return self._totals

    @property
    def done(self) -> int:
        """How many tensors are done."""
        with self._lock:
            return len(self._rows)

    @property
    def complete(self) -> bool:
        """Whether every tensor is done."""
        return self.done == len(self.checkpoint.tensors)

    def ranking(self, spec: int) -> list[tuple[LayerRow, float, float]]:
        """The tensors that hurt most first: each with its share of Σe² under the spec of that number, and its SQNR."""
        totals, rows = self.totals[spec], self.rows
        ranked = [(row, totals.error_share(row, row.figures[spec]), row.figures[spec].sqnr_db) for row in rows]
        return sorted((each for each in ranked if not math.isnan(each[1])), key=lambda each: -each[1])

    def steps(self) -> Steps[tuple[LayerRow, ...]]:
        """Measure what is not done yet; progress is in bytes of all that has to be read."""
        tensors = self.checkpoint.tensors
        costs = [self._cost(tensor) for tensor in tensors]
        total, at = sum(costs), self.done
        read = sum(costs[:at])
        yield _progress(read, total)
        for tensor, cost in zip(tensors[at:], costs[at:], strict=True):
            row = self._free(tensor)
            if row is None:
                steps = self._row(tensor)
                try:
                    while True:
                        yield _progress(read + cost * (next(steps).fraction or 0.0), total)
                except StopIteration as end:
                    row = end.value
                finally:
                    steps.close()
            self._add(row)
            read += cost
            yield _progress(read, total)
        return self.rows

    def _cost(self, tensor: TensorInfo) -> int:
        """The bytes that have to be read for it."""
        return 0 if tensor.tied_to or _trouble(tensor) or not self._missing(tensor) else tensor.nbytes

    def _missing(self, tensor: TensorInfo) -> tuple[QuantSpec, ...]:
        """The specs that its figures are not known of, each once."""
        known = self._known_specs if tensor.name in self._known else ()
        return tuple(spec for spec in dict.fromkeys(self.specs) if spec not in known)

    def _free(self, tensor: TensorInfo) -> LayerRow | None:
        """Its row, where nothing has to be read for it."""
        first = self._by_name.get(tensor.tied_to) if tensor.tied_to else None
        known = self._known.get(tensor.name)
        if first is not None:
            return replace(first, name=tensor.name, share=0.0, tied_to=tensor.tied_to)
        trouble = _trouble(tensor)
        if trouble:
            return self._describe(tensor, {}, EMPTY, trouble)
        if known is not None and not known.trouble and not self._missing(tensor):
            return self._describe(tensor, self._figures_of(known), Thumbnail(known.histogram, known.lo, known.hi))
        return None

    def _figures_of(self, known: LayerRow) -> dict[QuantSpec, LayerFigures]:
        return dict(zip(self._known_specs, known.figures, strict=True))

    def _row(self, tensor: TensorInfo) -> Steps[LayerRow]:
        """Read and measure a tensor. What goes wrong with it is said in its row."""
        known, specs = self._known.get(tensor.name), self._missing(tensor)
        try:
            picture, measured = yield from _measure(self.checkpoint, tensor, specs)
        except UserError as error:
            return self._describe(tensor, {}, EMPTY, str(error))
        except MemoryError:
            return self._describe(tensor, {}, EMPTY, "There is not enough memory to measure it.")
        figures = {**(self._figures_of(known) if known else {}), **dict(zip(specs, measured, strict=True))}
        trouble = "" if math.isfinite(picture.lo) else "None of its values is finite." if tensor.n else "It is empty."
        return self._describe(tensor, {} if trouble else figures, picture, trouble)

    def _describe(
        self, tensor: TensorInfo, figures: Mapping[QuantSpec, LayerFigures], picture: Thumbnail, trouble: str = ""
    ) -> LayerRow:
        nbytes = self.checkpoint.nbytes
        return LayerRow(
            name=tensor.name,
            shape=tensor.shape,
            dtype=tensor.dtype,
            n=tensor.n,
            original_bytes=tensor.nbytes,
            share=tensor.nbytes / nbytes if nbytes and not tensor.tied_to else 0.0,
            figures=tuple(figures.get(spec, LayerFigures(refusal=trouble)) for spec in self.specs),
            histogram=picture.counts,
            lo=picture.lo,
            hi=picture.hi,
            tied_to=tensor.tied_to,
            trouble=trouble,
        )

    def _add(self, row: LayerRow) -> None:
        with self._lock:
            self._rows.append(row)
            self._by_name[row.name] = row
            self._totals = tuple(
                totals.plus(row, figures) for totals, figures in zip(self._totals, row.figures, strict=True)
            )


def _progress(read: float, total: int) -> Progress:
    return Progress("Scanning", round(read), total, read / total if total else None)


def _trouble(tensor: TensorInfo) -> str:
    """Why the header alone says that a tensor cannot be quantized; empty if it does not."""
    if tensor.unsupported:
        return f"{tensor.unsupported}."
    if not tensor.dtype.startswith(("float", "bfloat")):
        return f"It holds {tensor.dtype}, not floating-point weights."
    return ""


def _measure(
    checkpoint: Checkpoint, tensor: TensorInfo, specs: Sequence[QuantSpec]
) -> Steps[tuple[Thumbnail, tuple[LayerFigures, ...]]]:
    """Read a tensor and measure it under each spec. Raises `UserError` where it cannot be read."""
    part = 1 / (len(specs) + 1)
    values = yield from within(checkpoint.values_steps(tensor), 0.0, 0.0)
    whole = yield from within(sketch(values), 0.0, part)
    figures: list[LayerFigures] = []
    for i, spec in enumerate(specs, 1):
        try:
            if whole.exact and not unsketched(spec):
                figures.append(
                    _figures(analyze_sketch(whole, tensor.shape, spec, bins=0, original_bytes=tensor.nbytes))
                )
                continue
            steps = analyze(values, spec, bins=0, original_bytes=tensor.nbytes)
            figures.append(_figures((yield from within(steps, i * part, (i + 1) * part))))
        except UserError as error:
            figures.append(LayerFigures(refusal=str(error)))
    return _thumbnail(whole), tuple(figures)


def _figures(analysis: Analysis) -> LayerFigures:
    metrics, sums = analysis.metrics, analysis.sums
    return LayerFigures(
        sqnr_db=metrics.sqnr_db,
        mse=metrics.mse,
        relative_rmse=metrics.relative_rmse,
        max_abs_error=metrics.max_abs_error,
        clipped_fraction=metrics.clipped_fraction,
        x2=sums.x2,
        e2=sums.e2,
        bits_per_weight=metrics.bits_per_weight,
        bytes=metrics.bytes,
        coverage=analysis.coverage,
    )


def _thumbnail(whole: Sketch) -> Thumbnail:
    """The values in even bins between the least and the greatest; those of a bucket are counted at their mean."""
    if not whole.n:
        return EMPTY
    values = whole.values.astype(np.float64)
    lo, hi = float(values[0]), float(values[-1])
    width = hi / BINS - lo / BINS  # neither difference nor quotient leaves float64
    bins = (values / width - lo / width).astype(np.intp) if width > 0 else np.full(values.size, BINS // 2)
    counts = np.bincount(np.clip(bins, 0, BINS - 1), whole.counts, BINS).astype(np.int64)
    return Thumbnail(counts, lo, hi)
