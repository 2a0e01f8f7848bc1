"""A float model → its simulated quantized copy: repairs, calibration, and the weights of each layer on their grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.fake_quant.plan import ARRAYS, read_params, written
from qexplorer.engine.models.state_dict import theoretical_bytes
from qexplorer.engine.runs.findings import RepairStep
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.simulation.calibrate import Batches, calibrate
from qexplorer.engine.simulation.layers import (
    applied,
    dequantized,
    input_bits,
    kinds_of,
    layer_bits,
    output_error,
    quantize_input,
    sqnr_db,
    weight_quantizer,
)
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.repair_step import LayerTask, Repair, adapted
from qexplorer.engine.simulation.walk import Visit, walk
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.params import QuantParams
from qexplorer.quant.recipe import LayerSpec, Recipe
from qexplorer.quant.spec import QuantSpec

REPAIR_BATCHES = 8
"""Calibration batches that lie in memory at once where a repair follows the layers' inputs."""
TRANSFORMED, CALIBRATED = 0.1, 0.3
"""Where those parts end, as fractions of the whole."""
LOOK_BATCHES = 2
"""As many where only the figures of each layer are wanted."""
REPAIRED_ON = "Repairs of single layers looked at the first {n} calibration samples."
PARTS = {"weight", "bias"}
"""What of a layer may have changed."""
CHOSEN = 0.9
"""Where the weights of a layer are chosen, as a fraction of what the layer takes."""


@dataclass(frozen=True)
class Simulated:
    """A quantized copy and the float model that it stands for, mended so far as repairs do that.

    `layers` are figures per layer, `repairs` what was done before any was rounded. Sizes are in bytes, with scales,
    zero points, biases and all that stays float; `average_bits` are those of a weight. `inputs` quantize what the
    layers read; `grids` are what their weights are on.
    """

    float_model: Prepared
    model: Prepared
    layers: tuple[LayerFigures, ...] = ()
    repairs: tuple[RepairStep, ...] = ()
    bytes_theoretical: int = 0
    average_bits: float = 32.0
    inputs: dict[str, FakeQuantize] = field(default_factory=dict[str, FakeQuantize])
    grids: dict[str, QuantParams] = field(default_factory=dict[str, QuantParams])


@dataclass(frozen=True)
class Plan:
    """How to quantize: the recipe, the repairs in their order, the calibration batches [n, C, H, W].

    `dynamic` finds the parameters of activations for each input anew. `only` names the one layer to be quantized. What
    layers read and give is looked at where a repair needs it, or `always`: then on a few batches if all are quantized.
    """

    recipe: Recipe
    repairs: Sequence[Repair] = ()
    batches: Batches = ()
    dynamic: bool = False
    only: str = ""
    always: bool = False

    @property
    def seen(self) -> Batches:
        """The batches on which it is looked at what each layer reads; none where nobody needs that."""
        if self.follows_inputs or (self.always and self.only):
            return self.batches[:REPAIR_BATCHES]
        return self.batches[: LOOK_BATCHES if self.always else 0]

    @property
    def follows_inputs(self) -> bool:
        """Whether a repair looks at what each layer reads."""
        return any(type(r).choose is not Repair.choose or type(r).after is not Repair.after for r in self.repairs)

    @property
    def decided_by(self) -> int:
        """How many samples decide something: the ranges of activations, or what a repair does."""
        ranges = self.recipe.reads and not self.dynamic
        changes = any(r.needs_data and type(r).transform_model is not Repair.transform_model for r in self.repairs)
        batches = self.batches if ranges or changes else self.seen if self.follows_inputs else ()
        return sum(map(len, batches))

    @property
    def note(self) -> str:
        """A sentence where repairs look at fewer samples than ranges are taken from; else empty."""
        own = sum(map(len, self.seen))
        return REPAIRED_ON.format(n=own) if self.follows_inputs and own < self.decided_by else ""

    def for_layers(self, layers: Mapping[str, nn.Module]) -> "Plan":
        """The plan for a model with these layers. Raises a `UserError` for a rule that is for none of them."""
        return replace(self, recipe=self.recipe.for_layers(kinds_of(layers)))

    def of(self, layer: str) -> LayerSpec:
        """The specs of a layer, with what the repairs make of them."""
        spec = self.recipe.of(layer) if self.only in ("", layer) else LayerSpec()
        return LayerSpec(adapted(spec.weights, self.repairs), spec.activations)


def simulate(source: Prepared, plan: Plan, journal: Journal | None = None, key: str = "") -> Steps[Simulated]:
    """Quantize a copy of `source`. Layers that the `journal` has under `key` are taken from there.

    Raises `UserError` where a spec does not fit a layer or a repair a spec.
    """
    journal = journal or Journal()
    model, done = source.copy(), list[RepairStep]()
    plan = plan.for_layers(model.layers)
    transforming = [repair.transform_model(model, plan.recipe, plan.batches) for repair in plan.repairs]
    for i, steps in enumerate(transforming):
        done += yield from within(steps, TRANSFORMED * i / len(transforming), TRANSFORMED * (i + 1) / len(transforming))
    specs = {name: applied(plan.of(name), layer) for name, layer in model.layers.items()}
    reads = {name: spec.activations for name, spec in specs.items() if spec.activations is not None}
    steps = calibrate(model, reads, plan.batches, dynamic=plan.dynamic)
    inputs = (yield from within(steps, TRANSFORMED, CALIBRATED)) if reads else {}
    quantized = model.copy()
    for name, fake in inputs.items():
        quantize_input(quantized.layers[name], fake)
    builder = _Builder(model, quantized, plan, specs, inputs, journal, key)
    layers = yield from within(builder.build(), CALIBRATED if reads or done else 0.0, 1.0)
    return Simulated(model, quantized, layers, tuple(done), *sizes_of(quantized, specs, inputs), inputs, builder.grids)


@dataclass(frozen=True)
class _Builder:
    model: Prepared
    quantized: Prepared
    plan: Plan
    specs: dict[str, LayerSpec]
    inputs: dict[str, FakeQuantize]
    journal: Journal
    key: str
    grids: dict[str, QuantParams] = field(default_factory=dict[str, QuantParams])

    def build(self) -> Steps[tuple[LayerFigures, ...]]:
        """Put the weights of every layer on their grid."""
        figures: dict[str, LayerFigures] = {}
        names = list(self.model.layers)
        if self.plan.seen:
            visits = walk(self.model, self.quantized, self.plan.seen)
            for i, visit in enumerate(visits):
                steps = self._layer(visit.name, visit)
                figures[visit.name] = yield from within(steps, i / len(names), (i + 1) / len(names))
                if visit.name == self.plan.only:
                    break
        for name in names:
            if name not in figures:
                start, stop = len(figures) / len(names), (len(figures) + 1) / len(names)
                figures[name] = yield from within(self._layer(name, None), start, stop)
        return tuple(figures[name] for name in names)

    def _layer(self, name: str, visit: Visit | None) -> Steps[LayerFigures]:
        yield Progress(f"Quantizing {name}")
        layer: Any = self.quantized.layers[name]
        spec = self.specs[name]
        weight: Tensor = layer.weight.detach()
        done = LayerSpec(spec.weights, self.plan.of(name).activations)
        figures = LayerFigures(name, shape=tuple(weight.shape), spec=done.text)
        if spec.weights is not None:
            bias_shift, note = yield from self._quantize(name, spec.weights, visit)
            figures = replace(figures, bias_shift=bias_shift, note=note)
        with torch.no_grad():
            if visit:
                output_db, mean_shift = output_error(self.model.layers[name], layer, visit.float_inputs, visit.inputs)
                figures = replace(figures, output_sqnr_db=output_db, mean_shift=mean_shift)
            bits = layer_bits(weight, spec.weights) / weight.numel()
            return replace(figures, weight_sqnr_db=sqnr_db(weight, layer.weight), bits=bits)

    def _quantize(self, name: str, spec: QuantSpec, visit: Visit | None) -> Steps[tuple[float | None, str]]:
        """Give a layer its weights, from the journal if they are there; the shift of its bias, and a note on it."""
        layer: Any = self.quantized.layers[name]
        key, weight = f"layer/{self.key}/{name}", layer.weight.detach()
        said = self.journal.get(f"{key}/notes") or {}
        known = self.plan.follows_inputs and "grid" in said  # earlier versions had no grid
        kept = self.journal.arrays(key) if known else None
        if kept is not None:
            self.grids[name] = _restore(layer, kept, said["grid"])
            return said["notes"].get("bias_shift"), said["notes"].get("note", "")
        task = LayerTask(name, layer, self.model.layers[name], weight, weight_quantizer(name, weight, spec),
                         visit or Visit(name, [], []), self.inputs.get(name))  # fmt: skip
        yield from self._repair(task, walked=visit is not None)
        assert task.quantizer.params is not None  # noqa: S101  they were chosen for the weights
        self.grids[name] = task.quantizer.params
        if visit and self.plan.follows_inputs:
            notes = {"bias_shift": task.bias_shift, "note": task.note}
            self.journal.put(f"{key}/notes", {"notes": notes, "grid": written(self.grids[name])})
            self.journal.put_arrays(key, _kept(layer, self.grids[name]))
        return task.bias_shift, task.note

    def _repair(self, task: LayerTask, *, walked: bool) -> Steps[None]:
        layer: Any = task.layer
        if walked:
            for repair in self.plan.repairs:
                try:
                    yield from within(repair.choose(task), 0.0, CHOSEN)
                except UserError as error:  # a layer that it is not made for is rounded to nearest
                    task.note = f"{repair.title}: {error.what}"
        chosen = dequantized(task.weight, task.quantizer) if task.chosen is None else task.chosen
        layer.weight = nn.Parameter(chosen, requires_grad=False)
        for repair in self.plan.repairs if walked else ():
            yield from within(repair.after(task), CHOSEN, 1.0)


def _kept(layer: Any, grid: QuantParams) -> dict[str, Any]:
    """What a layer has become, with the arrays of its weights' grid."""
    parts = {name: getattr(layer, name) for name in PARTS if getattr(layer, name) is not None}
    arrays = {name: getattr(grid, name) for name in ARRAYS if getattr(grid, name) is not None}
    return {name: tensor.detach().to(torch.float32).cpu().numpy() for name, tensor in parts.items()} | arrays


def _restore(layer: Any, kept: dict[str, Any], plain: dict[str, Any]) -> QuantParams:
    """Make it that again; its weights' grid."""
    like = layer.weight.detach()
    for name in kept.keys() & PARTS:
        setattr(layer, name, nn.Parameter(torch.tensor(kept[name]).to(like), requires_grad=False))
    return read_params(plain, {name: kept[name] for name in kept.keys() - PARTS})


def sizes_of(model: Prepared, specs: dict[str, LayerSpec], inputs: dict[str, FakeQuantize]) -> tuple[int, float]:
    """The bytes of a model of quantized layers, all that stays float included, and the average bits of a weight."""
    weights: list[Any] = [model.layers[name].weight for name in specs]
    bits = sum(layer_bits(w, spec.weights) for w, spec in zip(weights, specs.values(), strict=True))
    stored = sum(w.numel() * w.element_size() for w in weights)
    rest = theoretical_bytes(model.module.state_dict()) - stored
    whole = bits + sum(map(input_bits, inputs.values()))
    return rest + -(-whole // 8), bits / max(sum(w.numel() for w in weights), 1)
