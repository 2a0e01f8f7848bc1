"""Transposed convolutions are layers of simulations: their output channels lie along axis 1."""

from typing import Any

import numpy as np
import pytest
import torch
from small_nets import randn, settled
from torch import nn

from qexplorer.engine.jobs.model_sizes import ModelSizes
from qexplorer.engine.qat.model import qat_model, qat_model_from
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.simulate import Plan, Simulated, simulate
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
BATCHES = [randn(8, 2, 6, 6, seed=seed).numpy() for seed in range(2)]


@pytest.fixture(scope="module")
def model() -> Prepared:
    up = nn.ConvTranspose2d(6, 10, 4, 2, 1, groups=2)
    with torch.no_grad():
        up.weight.mul_(2.0 ** torch.arange(5).reshape(1, 5, 1, 1))
    net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), up, nn.BatchNorm2d(10), nn.ReLU(), nn.Flatten(),
                        nn.Linear(640, 4))  # fmt: skip
    return prepare(settled(net), randn(2, 2, 6, 6))


def made(model: Prepared, weights: str, repairs: str = "fold", activations: str = "float") -> tuple[Simulated, Plan]:
    plan = Plan(Recipe.parse(weights, activations, ""), parse_repairs(repairs), BATCHES)
    return finish(simulate(model, plan)), plan


def weight_of(model: Prepared) -> torch.Tensor:
    layer: Any = model.layers["2"]
    return layer.weight.detach()


def test_each_output_channel_has_a_scale_as_in_torch(model: Prepared) -> None:
    found, _ = made(model, "int4 channel")
    before = weight_of(model)
    scale, zero = before.abs().amax(dim=(0, 2, 3)) / 7, torch.zeros(5, dtype=torch.int32)
    wanted = torch.fake_quantize_per_channel_affine(before, scale, zero, 1, -7, 7)
    assert torch.equal(weight_of(found.model), wanted)
    figures = next(layer for layer in found.layers if layer.name == "2")
    assert (figures.spec, figures.bits) == ("int4 channel:1", 4 + 5 * 32 / before.numel())
    assert "Not quantized" not in model.note


def test_groups_are_those_of_its_inputs(model: Prepared) -> None:
    found, _ = made(model, "int4 group:32")
    rows = weight_of(model).transpose(0, 1).reshape(5, -1)
    parts = [rows[:, i : i + 32] for i in range(0, rows.shape[1], 32)]
    wanted = torch.cat([part.div(part.abs().amax(1, keepdim=True) / 7).round() * part.abs().amax(1, keepdim=True) / 7
                        for part in parts], dim=1)  # fmt: skip
    after = weight_of(found.model).transpose(0, 1).reshape(5, -1)
    np.testing.assert_allclose(after.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
    assert found.average_bits == pytest.approx(ModelSizes.of(model, Recipe.parse("int4 group:32", "", ""), list(
        model.layers)).fixed / sum(layer.weight.numel() for layer in model.layers.values()))  # fmt: skip


@pytest.mark.parametrize("repair", ["mse_clip", "gptq", "adaround:20", "mse_clip,gptq"])
def test_repairs_that_are_not_made_for_it_say_so_and_mend_the_others(model: Prepared, repair: str) -> None:
    found, _ = made(model, "int3 channel", f"fold,{repair}")
    notes = {layer.name: layer.note for layer in found.layers}
    assert "not made for transposed convolutions" in notes["2"]
    assert not notes["0"]
    assert not notes["6"]


@pytest.mark.parametrize("repairs", ["fold,cle", "fold,bias_correction", "fold,cle,bias_correction"])
def test_the_other_repairs_go_with_it(model: Prepared, repairs: str) -> None:
    found, _ = made(model, "int3 channel", repairs, "uint8 affine channel")
    plain, _ = made(model, "int3 channel", "fold", "uint8 affine channel")
    x = torch.tensor(np.concatenate(BATCHES))
    with torch.no_grad():
        wanted = model.module(x)
        error, before = (float((each.model.module(x) - wanted).square().mean()) for each in (found, plain))
    assert error < 1.5 * before
    if "bias" in repairs:
        shift = next(layer.bias_shift for layer in found.layers if layer.name == "2")
        assert shift is not None
        assert shift > 0


@pytest.mark.parametrize("learn", [False, True])
def test_it_trains_with_its_quantization(model: Prepared, learn: bool) -> None:
    found, plan = made(model, "int4 channel", activations="uint8 affine")
    x = torch.tensor(BATCHES[0])
    start = qat_model_from(found, plan, learn=learn)
    with torch.no_grad():
        assert torch.equal(start.module.eval()(x), found.model.module(x))
    fresh = qat_model(model, plan.recipe, learn=learn)
    finish(fresh.observe(BATCHES))
    fresh.module.train()(x).square().mean().backward()
    assert float(fresh.layers["2"].layer.weight.grad.abs().sum()) > 0
