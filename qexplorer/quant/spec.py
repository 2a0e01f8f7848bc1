"""How to quantize: one frozen value that validates itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qexplorer.errors import UserError
from qexplorer.quant.formats import Format, formats
from qexplorer.quant.granularity import Granularity, PerTensor, granularities
from qexplorer.quant.layer_kinds import LayerKind
from qexplorer.quant.observers import Observer, observers
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.params import CONVENTIONS, DIVISIONS, SCHEMES, Choices, Convention, Division, Scheme
from qexplorer.quant.rounding import HALF_EVEN, Rounding, roundings
from qexplorer.quant.scale_dtypes import FLOAT32, ScaleDtype, scale_dtypes
from qexplorer.settings import read, require_known, schema, setting
from qexplorer.text import printable

UNSET: Any = None
"""A field that was not chosen: it takes the default of the format."""
DEFAULTS: dict[str, Any] = {
    "format": formats["int8"],
    "scheme": "symmetric",
    "convention": "restricted",
    "granularity": PerTensor(),
    "scale_dtype": FLOAT32,
    "observer": MinMax(),
    "rounding": HALF_EVEN,
    "division": "reciprocal",
}
"""Every field's default, where the format has none of its own."""


@dataclass(frozen=True)
class QuantSpec:
    """A format and everything that decides which of its codes a value gets.

    Fields stand in order of importance: a value that is impossible beside an earlier field is refused with a
    `UserError`; `adopt` changes one field and puts later fields that no longer fit back to their defaults.
    """

    format: Format = setting(
        DEFAULTS["format"], "Format", "Which numbers the codes stand for; `qexplorer formats` lists them all",
        registry=formats, offers=("int8", "uint4", "fp8_e4m3fn", "mxfp4", "nf4", "q4_0", "bf16"),
    )  # fmt: skip
    scheme: Scheme = setting(UNSET, "Scheme", "Whether a zero point shifts the grid", choices=SCHEMES)
    convention: Convention = setting(
        UNSET, "Convention", "What the scale of a symmetric integer covers", choices=CONVENTIONS
    )
    granularity: Granularity = setting(UNSET, "Granularity", "How many values share one scale", registry=granularities)
    scale_dtype: ScaleDtype = setting(UNSET, "Scale type", "How scales are stored", registry=scale_dtypes)
    observer: Observer = setting(UNSET, "Observer", "How the range of values is chosen", registry=observers)
    rounding: Rounding = setting(UNSET, "Rounding", "How a quotient becomes a code", registry=roundings)
    division: Division = setting(UNSET, "Division", "How values are divided by the scale", choices=DIVISIONS)

    def __post_init__(self) -> None:
        for name in DEFAULTS:
            if getattr(self, name) is UNSET:
                object.__setattr__(self, name, self.default(name))
        for each in schema(QuantSpec):
            each.check(getattr(self, each.name))
        for name in DEFAULTS:
            reason = self.refusal(name, getattr(self, name))
            if reason:
                raise UserError(reason, field=name)

    def for_kind(self, kind: LayerKind) -> "QuantSpec":
        """The spec as it is applied to weights of a kind of layer: with the axis of their output channels."""
        by = self.granularity.for_kind(kind)
        return self if by == self.granularity else replace(self, granularity=by)

    @property
    def choices(self) -> Choices:
        """What decides how a scale follows from a range."""
        return Choices(self.scheme, self.convention, self.rounding, self.division, self.scale_dtype)

    def default(self, name: str) -> Any:
        """The value that a field has with this format where it was not chosen."""
        if name == "convention" and self.scheme != "symmetric":
            return DEFAULTS[name]
        return self.format.defaults.get(name, DEFAULTS[name])

    def refusal(self, name: str, value: Any) -> str:
        """Why the field `name` cannot have this value beside the fields before it; empty if it can."""
        unused = self.applies(name)
        if unused:
            title, plain = name.replace("_", " "), value.without_axis if name == "granularity" else value
            return "" if plain == self.default(name) else f"{unused} So {title} “{_text(value)}” does not apply."
        reason = self.format.refusal(name, value)
        if not reason and name == "scale_dtype":
            reason = self._scale_refusal(value)
        if not reason and name == "observer":
            reason = value.refusal(self)
        if not reason and name == "rounding" and not value.to_nearest:
            reason = self.observer.nearest_only
        return reason

    def _scale_refusal(self, kind: ScaleDtype) -> str:
        """Why scales cannot be stored so beside the scheme and the convention."""
        if self.scheme == "affine_float" and not kind.signed:
            return "The float zero point is stored like the scale, and these numbers have no sign."
        if self.convention == "signed_extreme" and not kind.signed:
            return "With the signed extreme a scale may be negative, and these numbers have no sign."
        if kind.late and self.scheme != "symmetric":
            return "Scales that are quantized themselves serve symmetric schemes only."
        return ""

    def applies(self, name: str) -> str:
        """Why the field `name` means nothing for this spec; empty if it does mean something."""
        if name != "format" and name not in self.format.applies:
            return f"{self.format.title} {self.format.kind}."
        if name == "convention" and self.scheme != "symmetric":
            return "Affine quantization has a zero point; conventions differ only for symmetric scales."
        return ""

    def adopt(self, name: str, value: Any) -> "QuantSpec":
        """A copy with one field changed; later fields that no longer fit go back to their defaults, and with another
        format those that were not chosen take the default of that format.
        """
        values = {field: getattr(self, field) for field in DEFAULTS}
        if name == "format":
            values = {field: UNSET if each == self.default(field) else each for field, each in values.items()}
        values[name] = value
        order = list(values)
        for later in order[order.index(name) + 1 :]:
            trial = QuantSpec(**{k: v for k, v in values.items() if order.index(k) < order.index(later)})
            if values[later] is not UNSET and trial.refusal(later, values[later]):
                values[later] = UNSET
        return QuantSpec(**values)

    @property
    def title(self) -> str:
        """The spec in a few words, e.g. `INT4 symmetric per channel`."""
        if "granularity" not in self.format.applies:
            return self.format.title
        if "scheme" not in self.format.applies:
            return f"{self.format.title} per {self.granularity.title.lower()}"
        return f"{self.format.title} {self.scheme.replace('_', ' ')} per {self.granularity.title.lower()}"

    @property
    def short(self) -> str:
        """One line as `parse` reads it: the format, and whatever is not its default; `int4 channel:0 mse`."""
        chosen = (name for name in list(DEFAULTS)[1:] if getattr(self, name) != self.default(name))
        return " ".join([self.format.name, *(_text(getattr(self, name)) for name in chosen)])

    @classmethod
    def parse(cls, text: str) -> "QuantSpec":
        """The spec of a line such as `int4 channel:0 mse`: a format, then values of other fields in any order.

        Raises `UserError` for a word that is no field's value, and where two words are values of the same field.
        """
        first, *words = text.split() or [""]
        fields = {"format": first}
        formats.named(first)
        for word in words:
            name = _field_of(word)
            if name in fields:
                raise UserError(f"“{text}” gives the {name.replace('_', ' ')} twice.", field=name)
            fields[name] = word
        return cls.from_json(fields)

    def to_json(self) -> dict[str, str]:
        """Every field as text, as the command line writes it."""
        return {"format": self.format.name, **{name: _text(getattr(self, name)) for name in list(DEFAULTS)[1:]}}

    @classmethod
    def from_json(cls, fields: Mapping[str, str]) -> "QuantSpec":
        """The spec of `to_json`'s output; fields that are missing have their defaults."""
        known = {each.name: each for each in schema(cls)}
        for name in fields:
            require_known(name, known, "A spec")
        texts = read(dict[str, str], dict(fields), "the spec")
        return cls(**{name: known[name].parse(text) for name, text in texts.items()})


def _field_of(word: str) -> str:
    """The field whose value a word is; no two fields have a value of the same name."""
    name = word.partition(":")[0]
    for each in schema(QuantSpec)[1:]:
        if name in (each.registry.names if each.registry else each.values):
            return each.name
    raise UserError(f"“{printable(word, 80)}” is no part of a spec.", "Write a format first, then scheme, granularity, "
                    "observer …, for example “int4 channel:0 mse”.", field="spec")  # fmt: skip


def _text(value: Any) -> str:
    return str(getattr(value, "text", value))
