"""`Rules`: which rule of the recipe holds for the selected tensor, and which one the next edit changes."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, get_args

from PySide6.QtCore import QObject, Signal

from qexplorer.quant import QuantSpec
from qexplorer.quant.recipe import LayerSpec, Recipe, Rule, layer_of
from qexplorer.state.app_state import AppState
from qexplorer.state.preview import Preview
from qexplorer.state.store import Store
from qexplorer.weights import Checkpoint, TensorInfo

Scope = Literal["tensor", "like", "all"]
TENSOR, LIKE, ALL = get_args(Scope)
NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


class Rules(QObject):
    """The scope is the person's choice. Where the selected tensor has a narrower rule, edits go to that one until the
    person chooses otherwise or selects another tensor.
    """

    changed = Signal()

    def __init__(self, store: Store, preview: Preview, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._preview = store, preview
        self._wanted: Scope = ALL
        self._here: Scope | None = None
        self._like: tuple[TensorInfo, tuple[Rule, tuple[TensorInfo, ...]]] | None = None
        store.changed.connect(self._on_changed)
        preview.opened.connect(self._on_opened)

    @property
    def scope(self) -> Scope:
        """What the next edit is for."""
        if self._here is not None:
            return self._here
        held = self.held
        narrower = held is not None and (held.single or self._wanted == ALL)
        return self._wanted if not narrower or held is None else TENSOR if held.single else LIKE

    def choose(self, scope: Scope) -> None:
        """Edit the rule for this tensor, for all like it, or for all."""
        self._wanted = self._here = scope
        self.changed.emit()

    @property
    def held(self) -> Rule | None:
        """The rule that holds for the selected tensor; None: the default."""
        state = self._store.state
        return state.recipe.rule_of(state.tensor, self._preview.kind_of(state.tensor))

    @property
    def edited(self) -> Rule | None:
        """The rule that the next edit changes, as it is or as it would begin; None: the default."""
        return None if self.scope == ALL else self._rule(self._store.state.recipe)

    @property
    def spec(self) -> LayerSpec:
        """The specs that are edited."""
        rule = self.edited
        return self._store.state.recipe.every if rule is None else rule.spec

    @property
    def exists(self) -> bool:
        """Whether the recipe has a rule of its own for what is edited."""
        rule = self.edited
        return rule is not None and any(rule.subject == each.subject for each in self._store.state.recipe.rules)

    @property
    def alike(self) -> tuple[TensorInfo, ...]:
        """The tensors that are like the selected one, itself included."""
        return self._alike[1]

    @property
    def _alike(self) -> tuple[Rule, tuple[TensorInfo, ...]]:
        checkpoint, tensor = self._preview.checkpoint, self._store.state.tensor
        if checkpoint is None or tensor not in checkpoint.by_name:
            return Rule(layer_of(tensor), LayerSpec()), ()
        if self._like is None or self._like[0] is not checkpoint.by_name[tensor]:
            self._like = (checkpoint.by_name[tensor], _like(checkpoint, checkpoint.by_name[tensor]))
        return self._like[1]

    def write(self, weights: QuantSpec | None, *, drag: str = "") -> None:
        """Quantize the weights in scope so from now on, or keep them as they are: one entry to undo."""
        recipe, rule = self._store.state.recipe, self.edited
        if rule is None:
            new = replace(recipe, every=replace(recipe.every, weights=weights))
        else:
            spec = LayerSpec() if weights is None else LayerSpec(weights, self._activations(recipe, rule))
            new = recipe.with_rule(replace(rule, spec=spec))
        self._store.update(recipe=new, drag=drag)

    def adopt(self, weights: QuantSpec, *, drag: str = "") -> None:
        """Quantize the selected tensor so from now on: by the rule in scope, or by a narrower one that holds for it."""
        self._here = None
        self.write(weights, drag=drag)

    def write_all(self, names: Iterable[str], weights: QuantSpec | None) -> None:
        """Give each of these tensors a rule of its own: one entry to undo."""
        recipe = self._store.state.recipe
        for name in names:
            activations = recipe.of(name, self._preview.kind_of(name)).activations
            spec = LayerSpec() if weights is None else LayerSpec(weights, activations)
            recipe = recipe.with_rule(Rule(layer_of(name), spec))
        self._store.update(recipe=recipe)

    def reset(self) -> None:
        """Put the default back to this program's own, or take the rule in scope away."""
        recipe, rule = self._store.state.recipe, self.edited
        if rule is None:
            self._store.update(recipe=replace(recipe, every=LayerSpec(QuantSpec(), recipe.every.activations)))
        else:
            self._store.update(recipe=recipe.without(rule.subject))

    def _activations(self, recipe: Recipe, rule: Rule) -> QuantSpec | None:
        """What the layers read: as before, or as the default has it where they were kept as they are."""
        return recipe.every.activations if rule.spec == LayerSpec() else rule.spec.activations

    def _rule(self, recipe: Recipe) -> Rule:
        tensor = self._store.state.tensor
        own = Rule(layer_of(tensor), LayerSpec()) if self.scope == TENSOR else self._alike[0]
        held = self.held
        if self.scope == LIKE and held is not None and not held.single:
            return held  # whatever its pattern: it is the one that holds for several
        known = next((each for each in recipe.rules if each.subject == own.subject), None)
        return known or replace(own, spec=recipe.of(tensor, self._preview.kind_of(tensor)))

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.tensor != old.tensor:
            self._here = None
        if new.tensor != old.tensor or new.recipe != old.recipe:
            self.changed.emit()

    def _on_opened(self, checkpoint: Any) -> None:
        del checkpoint
        self._here = None
        self.changed.emit()


def _like(checkpoint: Checkpoint, tensor: TensorInfo) -> tuple[Rule, tuple[TensorInfo, ...]]:
    """A rule for those that stand at the same place of each repeated block, and what it is for: a number in the name
    is any number, the first of which there are several.
    """
    layer, kind = layer_of(tensor.name), checkpoint.kind_name(tensor)
    for number in NUMBER.finditer(f"{layer}."):
        before, after = layer[: number.start()], layer[number.end() :]
        rule = Rule(f"{before}*{after}", LayerSpec(), kind)
        near = [t for t in checkpoint.tensors if t.name.startswith(before) and layer_of(t.name).endswith(after)]
        alike = tuple(t for t in near if rule.fits(t.name, checkpoint.kind_name(t)))
        if len(alike) > 1:
            return rule, alike
    return Rule(layer, LayerSpec()), (tensor,)
