"""A traced model run in pieces: cut anywhere, branched, with a layer swapped."""

from typing import Any

import pytest
import torch
from small_nets import output, randn, settled
from torch import Tensor, fx, nn

from qexplorer.engine.models import models
from qexplorer.engine.simulation.prepared import Prepared, layer_nodes, prepare
from qexplorer.engine.simulation.stages import Stages
from qexplorer.progress import finish

pytestmark = pytest.mark.usefixtures("one_thread")


class Forked(nn.Module):
    """Branches that meet again, a parameter of its own, a layer called twice, and results that are tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1)
        self.again, self.head, self.shift = nn.Conv2d(4, 4, 1), nn.Linear(4, 3), nn.Parameter(torch.zeros(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = x.chunk(2, 1)
        y = self.left(a).relu_() + self.right(b) + self.shift
        y = self.again(self.again(y).tanh())
        return self.head((y + x).mean((2, 3)))


def whole_run(model: Prepared, x: Tensor) -> Tensor:
    stages = Stages(model)
    with torch.no_grad():
        return stages.finish(model.module, *stages.begin(x))


def trace(net: nn.Module, x: Tensor) -> Prepared:
    found = prepare(net, x)
    assert found.traced
    return found


NETS = {
    "forked": lambda: (settled(Forked()), randn(3, 1, 5, 5, seed=1)),
    "vit": lambda: (finish(models["vit_digits"]().load(None)), randn(2, 1, 32, 32, seed=1)),
}


@pytest.mark.parametrize("name", NETS)
def test_a_run_cut_anywhere_gives_the_same_bits(name: str) -> None:
    net, x = NETS[name]()
    model = trace(net, x)
    wanted = output(model.module, x)
    stages = Stages(model)
    values, at = stages.begin(x)
    with torch.no_grad():
        for cut in range(at, stages.end):
            values, at = stages.run(model.module, values, at, cut), cut
            assert torch.equal(stages.finish(model.module, values, at), wanted)


def test_a_branch_does_not_disturb_the_run_that_it_leaves() -> None:
    net, x = NETS["forked"]()
    model = trace(net, x)
    other = model.copy()
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.add_(0.1)
    stages = Stages(model)
    values, at = stages.begin(x)
    with torch.no_grad():
        for stage in stages.stages:
            values, at = stages.run(model.module, values, at, stage.at), stage.at
            kept = {name: value.clone() for name, value in values.items() if isinstance(value, Tensor)}
            stages.finish(other.module, values, at)
            assert all(torch.equal(values[name], tensor) for name, tensor in kept.items())
        assert torch.equal(stages.finish(model.module, values, at), output(model.module, x))


def test_a_swapped_layer_is_swapped_at_all_its_calls() -> None:
    net, x = NETS["forked"]()
    model = trace(net, x)
    other = model.copy()
    changed: Any = other.layers["again"]
    with torch.no_grad():
        changed.weight.mul_(0.5)
    stages = Stages(model)
    (stage,) = (s for s in stages.stages if s.layer == "again")
    with torch.no_grad():
        values = stages.run(model.module, *stages.begin(x), stage.at)
        found = stages.finish(model.module, values, stage.at, ("again", other.module))
    assert torch.equal(found, output(other.module, x))


def test_a_stage_is_a_layer_s_first_call_and_names_what_it_reads() -> None:
    net, x = NETS["forked"]()
    model = trace(net, x)
    stages = Stages(model)
    assert [stage.layer for stage in stages.stages] == ["stem", "left", "right", "again", "head"]
    assert isinstance(model.module, fx.GraphModule)
    assert [name for _, name, _ in layer_nodes(model.module)] == list(model.layers)
    seen: list[Tensor] = []
    handle = model.layers["right"].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    wanted = output(model.module, x)
    handle.remove()
    (stage,) = (s for s in stages.stages if s.layer == "right")
    with torch.no_grad():
        values = stages.run(model.module, *stages.begin(x), stage.at)
    assert torch.equal(values[stage.source], seen[0])
    with torch.no_grad():
        assert torch.equal(stages.finish(model.module, values, stage.at), wanted)


def test_what_nobody_reads_any_more_is_forgotten() -> None:
    net, x = NETS["vit"]()
    model = trace(net, x)
    stages = Stages(model)
    values, at = stages.begin(x)
    most = 0
    with torch.no_grad():
        for stage in stages.stages:
            values, at = stages.run(model.module, values, at, stage.at), stage.at
            most = max(most, sum(isinstance(value, Tensor) for value in values.values()))
    assert most <= 3  # the residual, and what the layer reads


def test_arguments_with_defaults_keep_them() -> None:
    class Defaults(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor, mask: Tensor | None = None, factor: float = 2.0) -> Tensor:
            y = self.linear(x) * factor
            return y if mask is None else y * mask

    net, x = settled(Defaults()), randn(3, 4, seed=1)
    found = prepare(net, x)
    assert found.traced
    assert torch.equal(output(found.module, x), output(net, x))
    assert torch.equal(whole_run(found, x), output(net, x))


def test_a_layer_may_be_called_with_its_input_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(input=x.abs())

    net, x = settled(Named()), randn(3, 4, seed=1)
    found = prepare(net, x)
    assert found.traced
    assert Stages(found).stages[0].source.name == "abs_1"
    assert torch.equal(output(found.module, x), output(net, x))
