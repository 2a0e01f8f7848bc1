"""One tensor as a line of a table: what it is, what specs do to it, and the sums over all of them."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from qexplorer.quant.arrays import Counts
from qexplorer.quant.flags import NO_FLAGS, Flags
from qexplorer.quant.metrics import ErrorSums, Metrics, sqnr_db
from qexplorer.quant.sketch import Sketch
from qexplorer.quant.spec import QuantSpec
from qexplorer.weights.roles import Role

KEPT = "Kept as it is, by the recipe."
BINS = 48
"""Bins of a thumbnail."""


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """What one spec does to one tensor.

    `refusal` says why the spec does not serve this tensor; all figures are NaN then, and it stays as it is stored.
    """

    metrics: Metrics = field(default_factory=Metrics)
    sums: ErrorSums = field(default_factory=lambda: ErrorSums(x2=math.nan, e2=math.nan))
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
    """One tensor: what it is, and its figures under each recipe, which quantizes it by one of `specs`, or keeps it.

    `share` is its part of the checkpoint's bytes, 0 where it is `tied_to` another that is counted already. `trouble`
    is empty, or says why there are no figures at all: what cannot be read, or holds no finite floating-point value.
    `flags` describe the values that have been read.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    n: int
    original_bytes: int
    share: float
    figures: tuple[LayerFigures, ...]
    specs: tuple[QuantSpec | None, ...]
    histogram: Counts
    lo: float
    hi: float
    role: Role
    flags: Flags = NO_FLAGS
    tied_to: str = ""
    trouble: str = ""

    @property
    def counted(self) -> bool:
        """Whether totals are over it."""
        return self.role.weighs and not self.tied_to

    @property
    def first(self) -> bool:
        """Whether something is so odd that it comes before all that is ranked."""
        return self.flags.broken or (self.role.weighs and bool({"zero", "constant"} & set(self.flags.names)))


@dataclass(frozen=True)
class Totals:
    """All weights so far under one recipe: tied ones are counted once, and tensors that are not weights are left out.

    `bytes` is what they take: quantized where the spec can be applied, else as stored. `done` counts the tensors that
    have been read, `quantized` the weights among them to which the spec applies; x2 and e2 are Σx² and Σe² over those.
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
        """The SQNR of all weights together in dB: 10·log₁₀(Σx²/Σe²); NaN while there is no signal."""
        return sqnr_db(self.x2, self.e2) if self.x2 > 0 else math.nan

    def error_share(self, row: LayerRow, figures: LayerFigures) -> float:
        """The tensor's part of Σe²; NaN where it has none of its own, or there is no error to share."""
        own = row.counted and 0 < self.e2 < math.inf
        return figures.sums.e2 / self.e2 if own else math.nan

    def plus(self, row: LayerRow, figures: LayerFigures) -> "Totals":
        """These and one more tensor."""
        if not row.counted:
            return replace(self, done=self.done + 1)
        if math.isnan(figures.sums.e2):
            return replace(self, n=self.n + row.n, bytes=self.bytes + row.original_bytes, done=self.done + 1)
        return Totals(
            n=self.n + row.n,
            bytes=self.bytes + figures.metrics.bytes,
            x2=self.x2 + figures.sums.x2,
            e2=self.e2 + figures.sums.e2,
            done=self.done + 1,
            quantized=self.quantized + 1,
        )


def thumbnail_of(whole: Sketch) -> Thumbnail:
    """The values in even bins between the least and the greatest; those of a bucket are counted at their mean."""
    if not whole.n:
        return EMPTY
    values = whole.values.astype(np.float64)
    lo, hi = float(values[0]), float(values[-1])
    width = hi / BINS - lo / BINS  # neither difference nor quotient leaves float64
    bins = (values / width - lo / width).astype(np.intp) if width > 0 else np.full(values.size, BINS // 2)
    counts = np.bincount(np.clip(bins, 0, BINS - 1), whole.counts, BINS).astype(np.int64)
    return Thumbnail(counts, lo, hi)
