"""Bias correction: mean outputs are put back to those of the float model."""

from typing import Any

import numpy as np
import pytest
import torch
from small_nets import Batches, batches, chain, randn, ready, settled, simulated
from torch import Tensor, nn

from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.engine.simulation.simulate import Plan, Simulated, simulate
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("activations", ["", "uint4 affine"])
def test_mean_outputs_are_put_back_to_those_of_the_float_model(activations: str) -> None:
    model, _ = ready(chain(), 8, 2, 8, 8)
    data = batches(8, 2, 8, 8)
    plain, mended = (simulated(model, "int3", activations, steps=steps, data=data) for steps in ("", "bias_correction"))
    for made, exact in ((plain, False), (mended, True)):
        shifts = mean_errors(made, data)
        assert shifts.keys() == model.layers.keys()
        assert all(float(shift.max()) < 2e-6 for shift in shifts.values()) == exact
    assert mended.layers[0].bias_shift > 0
    assert mended.bytes_theoretical == plain.bytes_theoretical  # every layer had a bias already


def mean_errors(made: Simulated, data: Batches) -> dict[str, Tensor]:
    """How far the mean of each channel's output is from that of the float model, in units of the largest output."""
    sums: dict[str, list[Tensor]] = {}
    for model in (made.float_model, made.model):
        seen: dict[str, list[Tensor]] = {name: [] for name in model.layers}
        handles = [
            layer.register_forward_hook(lambda _, __, y, parts=seen[name]: parts.append(y.double()))
            for name, layer in model.layers.items()
        ]
        with torch.no_grad():
            for batch in data:
                model.module(torch.tensor(batch))
        for handle in handles:
            handle.remove()
        for name, parts in seen.items():
            sums.setdefault(name, []).append(torch.cat(parts).transpose(0, 1).flatten(1))
    return {n: (a.mean(dim=1) - b.mean(dim=1)).abs() / a.abs().max() for n, (a, b) in sums.items()}


def test_a_layer_without_a_bias_gets_one_and_it_counts() -> None:
    model, _ = ready(
        nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Flatten(), nn.Linear(64, 2, bias=False)), 2, 1, 6, 6
    )
    data = batches(8, 1, 6, 6)
    plain, mended = (simulated(model, "int3", steps=steps, data=data) for steps in ("", "bias_correction"))
    assert mended.bytes_theoretical == plain.bytes_theoretical + 4 * (4 + 2)
    assert all(float(shift.max()) < 2e-6 for shift in mean_errors(mended, data).values())


def test_a_bias_that_two_layers_share_is_corrected_for_each() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].bias = net[0].bias
    model, _ = ready(net, 3, 4)
    made = simulated(model, "int3", steps="bias_correction", data=batches(16, 4))
    assert all(float(shift.max()) < 2e-6 for shift in mean_errors(made, batches(16, 4)).values())


def test_outputs_that_overflow_leave_the_bias_alone() -> None:
    model = prepare(settled(nn.Sequential(nn.Linear(4, 3))), randn(2, 4))
    data = [np.full((2, 4), 3e38, np.float32)]
    plan = Plan(Recipe.parse("int2", "", ""), parse_repairs("bias_correction"), data)
    found: Any = finish(simulate(model, plan, Journal())).model.layers["0"]
    assert found.bias.isfinite().all()
