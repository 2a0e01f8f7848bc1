"""Specs that may serve a tensor better than the one it has, each measured before it is offered."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from qexplorer.errors import UserError
from qexplorer.progress import Steps
from qexplorer.quant.analysis import analyze
from qexplorer.quant.formats import Format, formats
from qexplorer.quant.granularity import LastAxis, PerChannel, PerGroup
from qexplorer.quant.matrices import kind_of
from qexplorer.quant.metrics import Metrics
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values

HELPS_DB = 1.0
"""What gains less is not offered."""
DB_PER_BIT = 6.02
"""What one more bit gains by itself, 20·log₁₀2: a remedy that costs bits has to gain as much, and the margin."""
MOST_BITS = 4.0
"""A remedy may cost so many more bits a weight."""
GROUPS = (128, 32)
OTHERS = {4: ("nf4", "fp4_e2m1"), 6: ("fp6_e2m3",), 8: ("fp8_e4m3fn",)}
"""Formats whose levels lie closer about zero, by their bits."""
WIDTHS = (4, 6, 8)


@dataclass(frozen=True)
class Remedy:
    """A change in a few words, and the spec with it. Of a `kind` the best one is enough."""

    title: str
    spec: QuantSpec
    kind: str

    @property
    def searches(self) -> bool:
        """Whether it takes a hundred times as long as rounding."""
        return not self.spec.format.uniform or self.spec.observer.asks == "values"


@dataclass(frozen=True)
class Measured:
    """A remedy with what it was measured to give, and its `gain` in dB beyond what its bits would by themselves."""

    remedy: Remedy
    metrics: Metrics
    gain: float
    helps: bool


class Bench:
    """Measures remedies for one tensor, each once; those that search only where it has at most so many values."""

    def __init__(self, values: Values, now: Metrics, searched: int) -> None:
        self._values, self._now, self._searched = values, now, searched
        self._known: dict[QuantSpec, Measured | None] = {}

    def helpful(self, remedies: Iterable[Remedy]) -> Steps[list[Measured]]:
        """Those that help by the margin, the best first."""
        found: list[Measured] = []
        for remedy in filter(self._tried, remedies):
            measured = yield from self._measured(remedy)
            if measured is not None and measured.helps:
                found.append(measured)
        return sorted(found, key=lambda each: -each.gain)

    def enough(self, remedies: Iterable[Remedy], least_db: float) -> Steps[list[Measured]]:
        """The first that reaches an SQNR, whatever it costs."""
        for remedy in filter(self._tried, remedies):
            measured = yield from self._measured(remedy)
            if measured is not None and measured.metrics.sqnr_db >= least_db:
                return [measured]
        return []

    def _tried(self, remedy: Remedy) -> bool:
        return self._values.n <= self._searched or not remedy.searches

    def _measured(self, remedy: Remedy) -> Steps[Measured | None]:
        """What a remedy gives; `None` where it does not serve the tensor after all."""
        if remedy.spec not in self._known:
            try:
                then = yield from analyze(self._values, remedy.spec, bins=0)
            except UserError:
                self._known[remedy.spec] = None
            else:
                self._known[remedy.spec] = self._compared(remedy, then.metrics)
        return self._known[remedy.spec]

    def _compared(self, remedy: Remedy, then: Metrics) -> Measured:
        more = max(then.bits_per_weight - self._now.bits_per_weight, 0.0)
        gain = then.sqnr_db - self._now.sqnr_db - DB_PER_BIT * more
        return Measured(remedy, then, gain, helps=gain >= HELPS_DB and more <= MOST_BITS and not then.lost)


class Remedies:
    """What can be changed about a spec; nothing where the change is impossible or changes nothing."""

    def __init__(self, spec: QuantSpec, values: Values) -> None:
        self.spec, self.values = spec, values

    def channels(self) -> Iterator[Remedy]:
        if self.spec.granularity.shared and len(self.values.shape) > 1:
            yield from self._with("One scale per channel", granularity=PerChannel())

    def groups(self) -> Iterator[Remedy]:
        by = self.spec.granularity
        for size in GROUPS:
            if not by.within_channels or (isinstance(by, PerGroup | LastAxis) and by.size > size):
                yield from self._with(f"One scale for {size} values", granularity=PerGroup(size))

    def clip(self) -> Iterator[Remedy]:
        yield from self._with("Clip for the least squared error", observer=Mse())

    def keeping(self) -> Iterator[Remedy]:
        """A range that clips nothing."""
        yield from self._with("Cover every value", observer=MinMax())

    def affine(self) -> Iterator[Remedy]:
        if self.spec.scheme == "symmetric" and "scheme" in self.spec.format.applies:
            yield from self._with("Affine, with a zero point", scheme="affine")

    def floating_zero(self) -> Iterator[Remedy]:
        if "scheme" in self.spec.format.applies:
            yield from self._with("Affine, with a float zero point", scheme="affine_float")

    def other_levels(self) -> Iterator[Remedy]:
        """Formats of as many bits that have more levels near zero, with the range that is usual for them."""
        own = self.spec.format
        for name in OTHERS.get(own.code_bits, ()) if own.uniform else ():
            for remedy in self._instead(formats[name]):
                yield replace(remedy, spec=remedy.spec.adopt("observer", MinMax()))

    def wider(self) -> Iterator[Remedy]:
        """The same with more bits, the fewest first."""
        own = self.spec.format
        family = own.name.rstrip("0123456789")
        for bits in WIDTHS:
            if own.uniform and bits > own.code_bits and f"{family}{bits}" in formats:
                yield from self._instead(formats[f"{family}{bits}"])

    def _instead(self, form: Format) -> Iterator[Remedy]:
        yield from self._with(f"{form.title} instead of {self.spec.format.title}", format=form)

    def _with(self, title: str, **change: Any) -> Iterator[Remedy]:
        ((name, value),) = change.items()
        try:
            spec = self.spec.adopt(name, value)
            spec.for_kind(kind_of(self.values)).granularity.check(self.values.shape)
        except UserError:
            return
        if spec != self.spec:
            kind = spec.granularity.name if name == "granularity" else name
            yield Remedy(title, spec, kind)
