"""`Recipe`: how each tensor of a model is quantized. Rules, of which the first that matches decides, and a default."""

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from qexplorer.errors import UserError
from qexplorer.quant.layer_kinds import DEPTHWISE
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import read
from qexplorer.text import printable

FLOAT = "float"
"""How a layer that stays as it is is written."""
FLOATS = (FLOAT, "fp32", "float32")
"""The words that are read as that."""
FOLD = "fold"
WITH_KIND = re.compile(r"(?P<match>.*?)\s*\((?P<kind>[^()]*)\)")
ORDER = "Write LAYER=SPEC, for example “classifier.*=int8”."


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
class Rule:
    """The specs of all layers whose names fit a pattern, and which are of a kind where one is named.

    A pattern may name a layer or its weights: `features.0` and `features.0.weight` are the same; `*` and `?` stand for
    any characters and for any one.
    """

    match: str
    spec: LayerSpec
    kind: str = ""

    def fits(self, name: str, kind: str = "") -> bool:
        """Whether it is for that layer or tensor, which is of that kind."""
        if self.kind and self.kind not in (kind, kind.removeprefix(DEPTHWISE)):
            return False
        layer = layer_of(name)
        return layer == self._layer or self._pattern.match(layer) is not None

    @cached_property
    def _layer(self) -> str:
        return layer_of(self.match)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(fnmatch.translate(self._layer))

    @cached_property
    def single(self) -> bool:
        """Whether it names one layer."""
        return not self.kind and not set("*?[") & set(self.match)

    @property
    def subject(self) -> str:
        """What it is for, e.g. `features.* (convolution)`."""
        return f"{self.match} ({self.kind})" if self.kind else self.match

    @property
    def text(self) -> str:
        """As `parse_rule` reads it, e.g. `features.* = int4 channel / uint8 affine`."""
        return f"{self.subject} = {self.spec.text}"


@dataclass(frozen=True)
class Recipe:
    """The specs of all layers, those of some of them, and the repairs of a whole model, with commas between them.

    Patterns are tried in their order, and the first that fits decides.
    """

    every: LayerSpec = LayerSpec(QuantSpec())
    rules: tuple[Rule, ...] = ()
    repairs: str = FOLD

    @classmethod
    def parse(cls, weights: str, activations: str, overrides: str, repairs: str = FOLD) -> "Recipe":
        """From the settings of a job: `int4 channel mse`, `uint8 affine`, and `PATTERN=WEIGHTS / ACTIVATIONS; …`, of
        which the last that fits decides.

        In an override, activations that are not named are those of all layers; `float` names a layer left as it is.
        """
        every = LayerSpec(_spec(weights, "weight_spec"), _spec(activations, "activation_spec"))
        parts = filter(None, (part.strip() for part in overrides.split(";")))
        rules = [parse_rule(part, every.activations, "overrides") for part in parts]
        return cls(every, tuple(reversed(rules)), repairs)

    @classmethod
    def of_weights(cls, spec: QuantSpec | None) -> "Recipe":
        """One spec for the weights of all layers, nothing else."""
        return cls(LayerSpec(spec))

    def of(self, name: str, kind: str = "") -> LayerSpec:
        """The specs of a layer or of a tensor, by its name and its kind."""
        rule = self.rule_of(name, kind)
        return self.every if rule is None else rule.spec

    def rule_of(self, name: str, kind: str = "") -> Rule | None:
        """The rule that holds for a layer or a tensor; None: the default."""
        at = self._single.get(layer_of(name), len(self.rules))
        for i in self._others:
            if i > at:
                break
            if self.rules[i].fits(name, kind):
                return self.rules[i]
        return self.rules[at] if at < len(self.rules) else None

    @cached_property
    def _single(self) -> dict[str, int]:
        """The number of the rule for each layer that one names."""
        return {layer_of(rule.match): i for i, rule in reversed([*enumerate(self.rules)]) if rule.single}

    @cached_property
    def _others(self) -> tuple[int, ...]:
        return tuple(i for i, rule in enumerate(self.rules) if not rule.single)

    def with_rule(self, rule: Rule) -> "Recipe":
        """With this rule instead of the one for the same layers; a new one for a single layer comes first, any other
        before the first that is for several.
        """
        known = [i for i, each in enumerate(self.rules) if each.subject == rule.subject]
        if known:
            return replace(self, rules=(*self.rules[: known[0]], rule, *self.rules[known[0] + 1 :]))
        at = 0 if rule.single else next(iter(self._others), len(self.rules))
        return replace(self, rules=(*self.rules[:at], rule, *self.rules[at:]))

    def without(self, subject: str) -> "Recipe":
        """Without the rule for these layers."""
        return replace(self, rules=tuple(rule for rule in self.rules if rule.subject != subject))

    @cached_property
    def weights_only(self) -> "Recipe":
        """What it says of weights."""
        rules = tuple(Rule(rule.match, LayerSpec(rule.spec.weights), rule.kind) for rule in self.rules)
        return Recipe(LayerSpec(self.every.weights), rules)

    @cached_property
    def asks_for_kinds(self) -> bool:
        """Whether some rule is for a kind of layer."""
        return any(rule.kind for rule in self.rules)

    @property
    def specs(self) -> tuple[LayerSpec, ...]:
        """The default, and what each rule has."""
        return (self.every, *(rule.spec for rule in self.rules))

    @property
    def reads(self) -> bool:
        """Whether any layer's activations are quantized."""
        return any(spec.activations is not None for spec in self.specs)

    @property
    def overrides(self) -> str:
        """The rules as `parse` reads them."""
        return "; ".join(f"{rule.subject}={_complete(rule.spec, self.every)}" for rule in reversed(self.rules))

    @property
    def texts(self) -> dict[str, str]:
        """What a run shows of it: the default as `every`, then each rule, the deciding one last."""
        return {"every": self.every.text, **{rule.subject: rule.spec.text for rule in reversed(self.rules)}}

    def for_layers(self, kinds: Mapping[str, str]) -> "Recipe":
        """The same for a model with these layers and their kinds, with kinds replaced by the names of layers.

        Raises a `UserError` for a rule that is for none of them.
        """
        rules: list[Rule] = []
        for rule in self.rules:
            fitting = [name for name, kind in kinds.items() if rule.fits(name, kind)]
            if not fitting:
                raise UserError(f"No layer is called “{rule.subject}”.", _near(rule.match, kinds), field="overrides")
            rules += [Rule(name, rule.spec) for name in fitting] if rule.kind else [rule]
        return Recipe(self.every, tuple(rules), self.repairs)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it; every spec is one line of text."""
        default = {"weights": _line(self.every.weights), "activations": _line(self.every.activations)}
        return {"rules": [_rule_json(rule) for rule in self.rules], "default": {**default, "repairs": self.repairs}}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """The recipe of `to_json`'s output, or of a file. Raises `UserError` for what is not a recipe."""
        document = read(_Document, fields, "the recipe", strict=True)
        every = document.default
        spec = LayerSpec(_spec(every.weights, "weights"), _spec(every.activations, "activations"))
        rules = tuple(each.rule(spec.activations) for each in (*document.rules, *document.rule))
        return cls(spec, rules, every.repairs)


@dataclass(frozen=True)
class _Default:
    weights: str = QuantSpec().short
    activations: str = FLOAT
    repairs: str = FOLD


@dataclass(frozen=True)
class _RuleFields:
    match: str = "*"
    kind: str = ""
    weights: str = FLOAT
    activations: str | None = None
    keep: bool = False

    def rule(self, activations: QuantSpec | None) -> Rule:
        if self.keep:
            return Rule(self.match, LayerSpec(), self.kind)
        weights = _spec(self.weights, "weights")
        own = _spec(self.activations, "activations") if self.activations is not None else activations
        return Rule(self.match, LayerSpec(weights, own), self.kind)


@dataclass(frozen=True)
class _Document:
    """A recipe as JSON and TOML have it; a file writes `[[rule]]`."""

    rules: tuple[_RuleFields, ...] = ()
    rule: tuple[_RuleFields, ...] = ()
    default: _Default = _Default()


def parse_rule(text: str, activations: QuantSpec | None = None, field: str = "rule") -> Rule:
    """The rule of a line such as `features.* = int4 channel / uint8 affine`; activations that are not named are
    `activations`, and `float` alone leaves a layer as it is. Raises `UserError`.
    """
    pattern, equals, specs = text.partition("=")
    if not equals or not specs.strip() or not pattern.strip():
        raise UserError(f"“{printable(text, 80)}” is not a rule.", ORDER, field=field)
    own, slash, reads = specs.partition("/")
    weights = _spec(own, field)
    if slash:
        spec = LayerSpec(weights, _spec(reads, field))
    else:
        spec = LayerSpec(weights, activations) if weights else LayerSpec()
    with_kind = WITH_KIND.fullmatch(pattern.strip())
    if with_kind:
        return Rule(with_kind["match"] or "*", spec, with_kind["kind"].strip())
    return Rule(pattern.strip(), spec)


def layer_of(name: str) -> str:
    """The layer whose weights a tensor of that name is; a layer's own name stays."""
    return name.removesuffix(".weight")


def _complete(spec: LayerSpec, every: LayerSpec) -> str:
    """Specs so that `parse_rule` finds the same again, whatever the activations of all layers are."""
    if spec.activations is None and every.activations is not None and spec.weights is not None:
        return f"{spec.text} / {FLOAT}"
    return spec.text


def _rule_json(rule: Rule) -> dict[str, Any]:
    kind = {"kind": rule.kind} if rule.kind else {}
    if rule.spec == LayerSpec():
        return {"match": rule.match, **kind, "keep": True}
    spec = {"weights": _line(rule.spec.weights), "activations": _line(rule.spec.activations)}
    return {"match": rule.match, **kind, **spec}


def _line(spec: QuantSpec | None) -> str:
    return spec.short if spec else FLOAT


def _near(pattern: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(pattern, known)
    return f"Close to it: {', '.join(near)}." if near else f"Layers are {', '.join(known[:3])} …"


def _spec(text: str, field: str) -> QuantSpec | None:
    if text.strip() in ("", *FLOATS):
        return None
    try:
        return QuantSpec.parse(text)
    except UserError as error:
        raise UserError(error.what, error.remedy, field=field) from error
