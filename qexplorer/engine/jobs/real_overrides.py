"""Overrides and repairs where kernels are real: those of simulations, as far as there are kernels for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qexplorer.engine.backends import BACKEND
from qexplorer.engine.jobs.job_context import JobContext
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.repair_step import Repair
from qexplorer.errors import UserError
from qexplorer.progress import Steps
from qexplorer.quant.layer_kinds import LINEAR
from qexplorer.quant.recipe import FLOAT, LayerSpec, Recipe, Rule
from qexplorer.quant.spec import QuantSpec
from qexplorer.text import first_few

if TYPE_CHECKING:
    from torch import nn

    from qexplorer.engine.simulation.calibrate import Batches

READS = "uint8 affine"
"""What an int8 kernel reads; the range is found by the preset's observers."""
OFFERED = tuple(map(QuantSpec.parse, BACKEND.weights))
REMEDY = (
    f"Real int8 offers {', '.join((FLOAT, *BACKEND.weights))}; what a layer reads is {READS}. "
    "A SIMULATED run, PTQ static with the preset “none”, takes every format."
)
REAL_HELP = "Single layers: PATTERN=float, =int8 or =int8 channel:0, with semicolons; LAYER* stands for many"
BETWEEN = "What an int8 layer hands them was rounded to 8 bits."


def real_recipe(overrides: str) -> Recipe:
    """The overrides alone. Raises `UserError` naming the layer for what no int8 kernel can do."""
    recipe = Recipe.parse("", READS, overrides)
    for rule in recipe.rules:
        if _is_real(rule, recipe):
            continue
        spec, usual = rule.spec, rule.spec.activations == recipe.every.activations
        parts = (spec.weights,) if usual and spec.weights else (spec.weights, spec.activations)
        asked = " / ".join(part.short if part else FLOAT for part in parts)
        raise UserError(f"“{rule.subject}” cannot be “{asked}” in int8 kernels.", REMEDY, field="overrides")
    return recipe


def real_part(overrides: str) -> tuple[str, tuple[str, ...]]:
    """The overrides that int8 kernels can do, and what the others are for."""
    recipe = Recipe.parse("", READS, overrides)
    real = tuple(rule for rule in recipe.rules if _is_real(rule, recipe))
    return Recipe(recipe.every, real).overrides, tuple(rule.subject for rule in recipe.rules if rule not in real)


def rules_note(others: Sequence[str]) -> str:
    """A sentence on the rules that the int8 kernels did not get; empty where there are none."""
    return f"In int8 like the others, since no kernel has their specs: {first_few(others, 3)}." if others else ""


def _is_real(rule: Rule, recipe: Recipe) -> bool:
    """Whether int8 kernels can do what a rule asks for."""
    spec = rule.spec
    own = spec.weights.for_kind(LINEAR) if spec.weights else None  # the axis of convolutions as well
    return spec == LayerSpec() or (spec.activations == recipe.every.activations and own in OFFERED)


def real_weights(overrides: str, context: JobContext) -> dict[str, QuantSpec | None]:
    """The weights of each layer that the overrides name, as `Backend.quantize` takes them.

    Layers are called as in simulations. Raises `UserError` as `real_recipe` does, for a name that no layer has, and
    where no layer is left for the kernels.
    """
    from qexplorer.engine.simulation.layers import kinds_of
    from qexplorer.engine.simulation.prepared import TRANSPOSED, prepare

    recipe = real_recipe(overrides)
    if not recipe.rules:
        return {}
    layers = prepare(context.module, context.example, fold=False).layers
    names = [name for name, layer in layers.items() if not isinstance(layer, TRANSPOSED)]  # which have torch's weights
    recipe = recipe.for_layers(kinds_of({name: layers[name] for name in names}))
    specs = {name: recipe.of(name) for name in names}
    if all(spec == LayerSpec() for spec in specs.values()):
        raise UserError("Every layer stays float: nothing is left for int8 kernels.", "Name fewer layers in Overrides.",
                        field="overrides")  # fmt: skip
    return {name: spec.weights for name, spec in specs.items() if spec != recipe.every}


def float_note(kept: list[str], between: str = BETWEEN) -> str:
    """Sentences on what stayed float32; empty where nothing did."""
    return " ".join(filter(None, (f"Stayed float32: {first_few(kept, 3)}.", between))) if kept else ""


def transformed(text: str, context: JobContext, batches: "Batches") -> "Steps[nn.Module]":
    """The float model after those of the repairs `text` that only change the float model, which computes the same then,
    batch norm folded; itself where there are none.
    """
    from qexplorer.engine.simulation.prepared import prepare

    steps = [step for step in parse_repairs(text) if _transforms_model(step)]
    if not steps:
        return context.module
    prepared = prepare(context.module, context.example)
    for step in steps:
        yield from step.transform_model(prepared, Recipe(LayerSpec()), batches)
    return prepared.module


def repair_note(text: str) -> str:
    """A sentence on the other repairs `text`; empty where there are none. Kernels have batch norm folded anyway."""
    others = [step.text for step in parse_repairs(text) if not _transforms_model(step) and step.name != "fold"]
    return f"Repairs that int8 kernels do not get: {', '.join(others)}." if others else ""


def _transforms_model(step: Repair) -> bool:
    return type(step).transform_model is not Repair.transform_model
