"""A model whose layers train with their quantization."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.qat.layer import QatLayer
from qexplorer.engine.simulation.calibrate import Batches, watcher
from qexplorer.engine.simulation.folding import foldable
from qexplorer.engine.simulation.layers import applied, kinds_of
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.simulate import Plan, Simulated, sizes_of
from qexplorer.engine.simulation.watching import watching_inputs
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.quant.params import QuantParams
from qexplorer.quant.recipe import LayerSpec, Recipe, Rule


@dataclass(frozen=True)
class QatModel:
    """`prepared.module` with every layer that the recipe quantizes replaced by a `QatLayer`, by their names.

    `calibrated`: it has its quantizers already, so training begins without looking for them.
    """

    prepared: Prepared
    recipe: Recipe
    layers: dict[str, QatLayer]
    learn: bool
    calibrated: bool = False

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        return self.prepared.module

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return next(self.module.parameters()).device

    def norms(self) -> Iterator[nn.Module]:
        """The batch norms, folded or not."""
        return (m for m in self.module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))

    def scales(self) -> dict[str, float]:
        """The mean scale of each layer's weights."""
        found: dict[str, float] = {}
        for name, layer in self.layers.items():
            if layer.weight_fake is not None and layer.weight_fake.scale is not None:
                found[name] = float(layer.weight_fake.scale.detach().abs().mean())
        return found

    def spec_of(self, name: str) -> LayerSpec:
        """The specs of a layer, with its own axes."""
        return applied(self.recipe.of(name), self.layers[name].layer)

    def observe(self, batches: Batches) -> Steps[None]:
        """Choose the parameters of weights and of inputs anew, from what they are now."""
        for layer in self.layers.values():
            layer.observe_weights()
        specs = {n: s for n in self.layers if (s := self.spec_of(n).activations) is not None}
        watchers = {name: watcher(spec) for name, spec in specs.items()}
        fakes = {name: self.layers[name].input_fake for name in specs}
        for name in specs:
            self.layers[name].input_fake = None  # ranges are those of float inputs
        training = self.module.training
        self.module.eval()
        try:
            with watching_inputs({n: self.layers[n] for n in specs}, lambda name, x: watchers[name].see(x)):
                for i, batch in enumerate(batches if specs else []):
                    yield Progress("Calibrating", i, len(batches))
                    with torch.no_grad():
                        self.module(torch.tensor(batch, device=self.device))
        finally:
            for name, fake in fakes.items():
                self.layers[name].input_fake = fake
            self.module.train(training)
        for name, found in watchers.items():
            yield Progress("Finding ranges")
            self.set_input(name, found.quantizer())

    def set_input(self, name: str, found: FakeQuantize) -> None:
        """Quantize what a layer reads as `found` does."""
        layer = self.layers[name]
        params = found.params
        if layer.input_fake is None:
            learn = self.learn and params is not None
            layer.input_fake = FakeQuantize(found.spec, params, learn_scale=learn).to(self.device)
        elif params is not None:
            layer.input_fake.set_params(params)

    def plain(self) -> Prepared:
        """A float copy whose weights are the quantized values, batch norm folded, inputs as they come."""
        copy = deepcopy(self.module)
        for name in self.layers:
            layer = copy.get_submodule(name)
            assert isinstance(layer, QatLayer)  # noqa: S101  it is a copy
            copy.set_submodule(name, layer.plain())
        return Prepared(copy.eval(), {n: copy.get_submodule(n) for n in self.layers}, self.prepared.traced)

    def sizes(self) -> tuple[int, float]:
        """Bytes in theory, and the average bits of a weight."""
        plain = self.plain()
        specs = {name: self.spec_of(name) for name in self.layers}
        inputs = {n: layer.input_fake for n, layer in self.layers.items() if layer.input_fake is not None}
        return sizes_of(plain, specs, inputs)


def qat_model(
    prepared: Prepared, recipe: Recipe, *, learn: bool, fold: bool = True,
    params: Mapping[str, QuantParams] | None = None,
) -> QatModel:  # fmt: skip
    """A trainable copy; where the model was traced, with `fold` each batch norm after a layer goes into it.

    `params` are those of layers whose weights are quantized already.
    """
    recipe = recipe.for_layers(kinds_of(prepared.layers))
    copy = prepared.copy()
    pairs = foldable(copy.module) if fold and isinstance(copy.module, fx.GraphModule) else []
    after = {str(layer.target): str(norm.target) for layer, norm in pairs}
    layers: dict[str, QatLayer] = {}
    for name, layer in copy.layers.items():
        spec = applied(recipe.of(name), layer)
        if spec.weights is None and spec.activations is None:
            continue
        norm = copy.module.get_submodule(after[name]) if name in after else None
        layers[name] = QatLayer(layer, norm, spec, learn=learn, params=(params or {}).get(name))
        copy.module.set_submodule(name, layers[name])
        if norm is not None:
            copy.module.set_submodule(after[name], nn.Identity())
    for parameter in copy.module.parameters():
        parameter.requires_grad_(True)
    return QatModel(copy, recipe, layers, learn)


def qat_model_from(made: Simulated, plan: Plan, *, learn: bool) -> QatModel:
    """A trainable copy of what `plan` made: it has the same weights and quantizers, and so computes the same.

    Raises `UserError` where a layer's rounding does not keep what it has rounded, so that this cannot be had.
    """
    source = made.float_model.copy()
    plan = plan.for_layers(source.layers)
    recipe = Recipe(LayerSpec(), tuple(Rule(name, plan.of(name)) for name in source.layers))
    for name in source.layers:
        layer: Any = source.layers[name]
        twin: Any = made.model.layers[name]
        layer.weight, layer.bias = twin.weight, twin.bias
    model = replace(qat_model(source, recipe, learn=learn, fold=False, params=made.grids), calibrated=True)
    for name, layer in model.layers.items():
        if name in made.inputs:
            model.set_input(name, made.inputs[name])
        with torch.no_grad():
            if not torch.equal(layer.weight(), layer.layer.weight):
                raise UserError(f"The weights of {name} on their grid are rounded to others by {plan.of(name).text}.",
                                "Take the rounding half_even.", field="weight_spec")  # fmt: skip
    return model
