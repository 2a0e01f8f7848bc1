"""Which spec each layer of a model gets: for all layers alike, and for some of them otherwise."""

import difflib
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from qexplorer.errors import UserError
from qexplorer.quant.spec import QuantSpec

FLOAT = "float"
"""What is written for a layer that stays as it is."""
FLOATS = (FLOAT, "fp32", "float32")
"""What is read so."""


@dataclass(frozen=True)
class LayerSpec:
    """The specs of a layer's weights and of the activations that it reads; None: float."""

    weights: QuantSpec | None = None
    activations: QuantSpec | None = None

    @property
    def text(self) -> str:
        """As `Recipe.parse` reads it: `int4 channel:0 / uint8 affine`, or `float`."""
        if self.weights is None and self.activations is None:
            return FLOAT
        weights = self.weights.short if self.weights else FLOAT
        return weights + (f" / {self.activations.short}" if self.activations else "")


@dataclass(frozen=True)
class Recipe:
    """The spec of all layers, and of those whose names match a pattern; the last match decides."""

    every: LayerSpec
    overrides: tuple[tuple[str, LayerSpec], ...] = ()

    @classmethod
    def parse(cls, weights: str, activations: str, overrides: str) -> "Recipe":
        """From text: `int4 channel:0 mse`, `uint8 affine`, and `PATTERN=WEIGHTS / ACTIVATIONS; …`.

        In an override, activations that are not named are those of all layers; `float` names a layer left as it is.
        """
        every = LayerSpec(_spec(weights, "weight_spec"), _spec(activations, "activation_spec"))
        found: list[tuple[str, LayerSpec]] = []
        for part in filter(None, (p.strip() for p in overrides.split(";"))):
            pattern, equals, text = part.partition("=")
            if not equals or not text.strip():
                raise UserError(f"“{part}” is no override.", "Write LAYER=SPEC, for example “classifier.*=int8”.",
                                field="overrides")  # fmt: skip
            own, slash, read = text.partition("/")
            weight_spec = _spec(own, "overrides")
            if slash:
                layer = LayerSpec(weight_spec, _spec(read, "overrides"))
            else:
                layer = LayerSpec(weight_spec, every.activations) if weight_spec else LayerSpec()
            found.append((pattern.strip(), layer))
        return cls(every, tuple(found))

    def of(self, layer: str) -> LayerSpec:
        """The specs of a layer."""
        for pattern, spec in reversed(self.overrides):
            if _fits(layer, pattern):
                return spec
        return self.every

    def overrides_of(self, layer: str) -> bool:
        """Whether an override names the layer."""
        return any(_fits(layer, pattern) for pattern, _ in self.overrides)

    @property
    def reads(self) -> bool:
        """Whether any layer's activations are quantized."""
        return any(spec.activations is not None for spec in (self.every, *(spec for _, spec in self.overrides)))

    def check(self, layers: Iterable[str]) -> None:
        """Raise a `UserError` for a pattern that no layer has."""
        names = list(layers)
        for pattern, _ in self.overrides:
            if not any(_fits(name, pattern) for name in names):
                near = difflib.get_close_matches(pattern, names)
                remedy = f"Close to it: {', '.join(near)}." if near else f"Layers are {', '.join(names[:3])} …"
                raise UserError(f"No layer is called “{pattern}”.", remedy, field="overrides")

    def to_json(self) -> dict[str, str]:
        """What a run keeps of it."""
        return {"every": self.every.text, **{pattern: spec.text for pattern, spec in self.overrides}}


def _fits(layer: str, pattern: str) -> bool:
    return layer == pattern or fnmatch.fnmatchcase(layer, pattern)


def _spec(text: str, field: str) -> QuantSpec | None:
    if text.strip() in ("", *FLOATS):
        return None
    try:
        return QuantSpec.parse(text)
    except UserError as error:
        raise UserError(error.what, error.remedy, field=field) from error
