"""What a survey shows of one spec on a tensor: exact figures, or at once those between bounds, or none yet."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from qexplorer.errors import UserError
from qexplorer.progress import Steps
from qexplorer.quant.analysis import Analysis, analyze_sketch, size_bits, unsketched
from qexplorer.quant.axes import reach_of_grid
from qexplorer.quant.bounds import Bounds
from qexplorer.quant.glance import Glance
from qexplorer.quant.matrices import kind_of
from qexplorer.quant.spec import QuantSpec

FIGURES = ("mse", "sqnr_db", "clipped_fraction")


@dataclass(frozen=True)
class Look:
    """The least and greatest representable value `lo`, `hi`, and `figures` of `Metrics` as far as they are known: all,
    where `coverage` is `exact`; those with `bounds`, where it is `sketch` or `sampled`; none where it is `pending`.
    """

    spec: QuantSpec
    bits_per_weight: float
    coverage: str = "pending"
    lo: float = math.nan
    hi: float = math.nan
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    bounds: Bounds = field(default_factory=dict[str, tuple[float, float]])

    @staticmethod
    def of(analysis: Analysis) -> "Look":
        """An analysis, whose bounds hold."""
        figures = {name: float(getattr(analysis.metrics, name)) for name in FIGURES}
        return Look(analysis.spec, analysis.metrics.bits_per_weight, analysis.coverage, analysis.lo, analysis.hi,
                    figures, {name: analysis.bounds[name] for name in figures if name in analysis.bounds})  # fmt: skip


def look_at(glance: Glance, spec: QuantSpec) -> Steps[Look]:
    """What can be said at once. Raises `UserError` where the spec cannot have the tensor, or the tensor no figure."""
    shape, n = glance.values.shape, glance.values.n
    applied = spec.for_kind(kind_of(glance.values))
    applied.granularity.check(shape)
    if not unsketched(spec) and (not spec.format.scaled or spec.observer.asks != "values"):
        return Look.of(analyze_sketch((yield from glance.sketch()), shape, spec, bins=0))
    bits = size_bits(applied, n, applied.granularity.tiling(shape).groups) / n
    if not (yield from glance.finite(spec)):
        raise UserError("The tensor holds no finite value.", "Choose another tensor.", field="tensor")
    found = yield from glance.estimate(spec)
    if found is None:
        return Look(spec, bits)
    lo, hi = reach_of_grid(found.own, found.params)
    if not math.isfinite(found.bounds["sqnr_db"][1]):
        return Look(spec, bits, lo=lo, hi=hi)
    known = {name: found.metrics[name] for name in FIGURES if name in found.metrics}
    return Look(
        spec, bits, "sampled", lo, hi, known, {name: found.bounds[name] for name in known if name in found.bounds}
    )
