"""Walking through the layers of two models at once, with what each reads in both."""

from typing import Any

import pytest
import torch
from small_nets import Net, batches, inputs_of, output, randn, settled, simulated
from torch import Tensor, nn

from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.one_at_a_time import output_errors
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.engine.simulation.walk import walk
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", ["traced", "hooked"])
def test_each_layer_is_visited_with_what_it_reads_in_both_models(kind: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    quantized = simulated(model, "int4", "uint4 affine").model
    data = batches(n=2)
    visited: list[str] = []
    for visit in walk(model, quantized, data):
        assert torch.is_grad_enabled()
        visited.append(visit.name)
        for own, inputs in ((model, visit.float_inputs), (quantized, visit.inputs)):
            wanted = inputs_of(own, visit.name, data, before_hooks=True)
            assert all(torch.equal(a, b) for a, b in zip(inputs, wanted, strict=True))
    assert visited == list(model.layers)


@pytest.mark.parametrize("kind", ["traced", "hooked"])
def test_what_is_changed_at_a_layer_later_layers_read(kind: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    other, data = model.copy(), batches(n=1)
    for visit in walk(model, other, data):
        same = torch.equal(visit.inputs[0], visit.float_inputs[0])
        assert same == (visit.name == "stem")
        layer: Any = other.layers[visit.name]
        layer.weight = nn.Parameter(layer.weight * 1.1)


def test_a_layer_that_some_batches_do_not_come_to_is_visited_with_the_others() -> None:
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) if x.mean() > 0 else self.two(x)

    model = prepare(settled(Choosy()), torch.ones(2, 4))
    data = [sign * randn(8, 4, seed=i).abs().numpy() for i, sign in enumerate((1, -1, 1))]
    plan = Plan(Recipe.parse("int3", "uint8 affine", ""), parse_repairs("gptq,bias_correction"), data)
    found = finish(simulate(model, plan))
    assert [len(visit.inputs) for visit in walk(model, found.model, data)] == [2, 1]


def test_outputs_with_one_layer_swapped_are_those_of_the_model_with_that_layer(hooked: Prepared) -> None:
    for model in (hooked, prepare(settled(Net()), randn(2, 2, 8, 8))):
        other = simulated(model, "int2").model
        found = finish(output_errors(model, other, list(model.layers), batches(n=1)))
        x = torch.tensor(batches(n=1)[0])
        for name, error in found.items():
            alone = finish(simulate(model, Plan(Recipe.parse("int2", "", ""), only=name))).model
            wanted = output(model, x)
            assert error == pytest.approx(
                float((output(alone, x) - wanted).square().sum() / wanted.square().sum()), rel=1e-5
            )
