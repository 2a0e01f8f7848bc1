"""How to quantize: one frozen value that validates itself."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

from qexplorer.errors import UserError
from qexplorer.quant.formats import Format, formats, parse_format
from qexplorer.quant.granularity import Granularity, PerTensor, granularities
from qexplorer.quant.observers import Observer, observers
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.params import Convention, Division, Rounding, Scheme


@dataclass(frozen=True)
class QuantSpec:
    """A format and everything that decides which of its codes a value gets.

    Fields stand in order of importance: a value that is impossible beside an earlier field is refused with a
    `UserError`; `adopt` changes one field and puts later fields that no longer fit back to their defaults.
    """

    format: Format = field(default=formats["int8"])
    scheme: Scheme = "symmetric"
    convention: Convention = "restricted"
    granularity: Granularity = field(default=PerTensor())
    observer: Observer = field(default=MinMax())
    rounding: Rounding = "half_even"
    division: Division = "reciprocal"

    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "scheme": get_args(Scheme),
        "convention": get_args(Convention),
        "rounding": get_args(Rounding),
        "division": get_args(Division),
    }

    def __post_init__(self) -> None:
        for name, choices in self.CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UserError(f"There is no {name} “{value}”.", f"Known: {', '.join(choices)}.", field=name)
        for each in dataclasses.fields(self):
            reason = self.refusal(each.name, getattr(self, each.name))
            if reason:
                raise UserError(reason, field=each.name)

    def refusal(self, name: str, value: Any) -> str:
        """Why the field `name` cannot have this value beside the fields before it; empty if it can."""
        unused = self.applies(name)
        if unused and value != DEFAULTS[name]:
            return f"{unused} So {name} “{_text(value)}” does not apply."
        if name == "observer" and self.granularity != PerTensor() and value.per_tensor_only:
            return str(value.per_tensor_only)
        if name == "observer" and not self.format.uniform and value.even_steps_only:
            return str(value.even_steps_only)
        return ""

    def applies(self, name: str) -> str:
        """Why the field `name` means nothing for this spec; empty if it does mean something."""
        if name != "format" and name not in self.format.applies:
            return f"{self.format.name.upper()} {self.format.kind}."
        if name == "convention" and self.scheme == "affine":
            return "Affine quantization has a zero point; conventions differ only for symmetric scales."
        return ""

    def adopt(self, name: str, value: Any) -> "QuantSpec":
        """A copy with one field changed; later fields that no longer fit go back to their defaults."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values[name] = value
        order = list(values)
        for later in order[order.index(name) + 1 :]:
            trial = QuantSpec(**{k: v for k, v in values.items() if order.index(k) < order.index(later)})
            if trial.refusal(later, values[later]):
                values[later] = DEFAULTS[later]
        return QuantSpec(**values)

    @property
    def title(self) -> str:
        """The spec in a few words, e.g. `INT4 symmetric per channel`."""
        if not self.format.scaled:
            return self.format.name.upper()
        if "scheme" not in self.format.applies:
            return f"{self.format.name.upper()} per {self.granularity.title.lower()}"
        return f"{self.format.name.upper()} {self.scheme} per {self.granularity.title.lower()}"

    def to_json(self) -> dict[str, str]:
        """Every field as text, as the command line writes it."""
        return {
            "format": self.format.name,
            "scheme": self.scheme,
            "convention": self.convention,
            "granularity": self.granularity.text,
            "observer": self.observer.text,
            "rounding": self.rounding,
            "division": self.division,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, str]) -> "QuantSpec":
        """The spec of `to_json`'s output; fields that are missing have their defaults."""
        parsers = {"format": parse_format, "granularity": granularities.parse, "observer": observers.parse}
        unknown = set(fields) - set(DEFAULTS)
        if unknown:
            raise UserError(f"A spec has no field “{min(unknown)}”.", f"Known: {', '.join(DEFAULTS)}.")
        return cls(**{k: parsers[k](v) if k in parsers else v for k, v in fields.items()})  # pyright: ignore[reportArgumentType]


def _text(value: Any) -> str:
    return str(getattr(value, "text", value))


DEFAULTS: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(QuantSpec)}
