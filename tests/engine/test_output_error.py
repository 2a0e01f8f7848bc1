"""What is said of each layer's output: SQNR, and the share of its error that is a shift of means."""

import numpy as np
import pytest
import torch
from torch import nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.layers import quantize_input
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.engine.simulation.repair_step import LayerTask
from qexplorer.engine.simulation.simulate import Plan, Simulated, simulate
from qexplorer.engine.simulation.walk import Visit
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize
from qexplorer.quant.recipe import Recipe


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5)).eval()


def made(repairs: str, *, batches: int = 2) -> tuple[Simulated, np.ndarray]:
    x = np.random.default_rng(0).normal(0.7, 1, (batches * 16, 2, 8, 8)).astype(np.float32)
    prepared = prepare(net(), torch.tensor(x[:2]))
    plan = Plan(Recipe.parse("int3", "", ""), parse_repairs(repairs), np.split(x, batches), always=True)
    return finish(simulate(prepared, plan)), x


def test_the_share_of_a_shift_is_that_of_the_closed_form():
    found, x = made("fold")
    float_layer, layer = (m.layers[next(iter(m.layers))] for m in (found.float_model, found.model))
    with torch.no_grad():
        y = float_layer(torch.tensor(x)).double()
        error = y - layer(torch.tensor(x))
    by_channel = error.movedim(1, 0).flatten(1)
    share = float(by_channel.mean(dim=1).square().sum() * by_channel.shape[1] / by_channel.square().sum())
    assert found.layers[0].mean_shift == pytest.approx(share, rel=1e-4)
    power = 10 * torch.log10(y.square().sum() / error.square().sum())
    assert found.layers[0].output_sqnr_db == pytest.approx(float(power), abs=1e-3)


def test_bias_correction_leaves_no_shift():
    before, after = made("fold")[0], made("fold,bias_correction")[0]
    assert max(layer.mean_shift for layer in before.layers) > 0.05
    assert max(layer.mean_shift for layer in after.layers) < 1e-9


@pytest.mark.parametrize("spec", ["mxfp8_e4m3", "int8 group:16"])
def test_blocks_of_what_a_convolution_reads_are_of_its_channels(spec):
    x = np.random.default_rng(2).normal(size=(2, 32, 3, 3)).astype(np.float32)
    x *= np.geomspace(1e-3, 1e3, 32, dtype=np.float32)[:, None, None]
    prepared = prepare(nn.Sequential(nn.Conv2d(32, 4, 1)).eval(), torch.tensor(x))
    found = finish(simulate(prepared, Plan(Recipe.parse("float", spec, ""), (), [x])))
    _, read, _ = quantize(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), QuantSpec.parse(spec))
    layer = next(iter(found.float_model.layers.values()))
    with torch.no_grad():
        wanted = layer(torch.tensor(read.transpose(0, 3, 1, 2).copy()))
        assert torch.allclose(found.model.module(torch.tensor(x)), wanted, rtol=1e-5, atol=1e-5)


def test_repairs_see_what_the_layer_reads():
    x = torch.tensor(np.random.default_rng(3).normal(size=(2, 40, 5, 3)).astype(np.float32))
    layer, fake = nn.Conv2d(40, 4, 1), FakeQuantize(QuantSpec.parse("mxfp4"))
    quantize_input(layer, fake)
    read: list[torch.Tensor] = []
    layer.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    layer(x)
    weight = layer.weight.detach()
    quantizer = FakeQuantize(QuantSpec.parse("int4"))
    task = LayerTask("conv", layer, layer, weight, quantizer, Visit("conv", [x], [x]), fake)
    assert torch.equal(task.inputs[0], read[0])


def test_looking_changes_nothing_that_is_made():
    x = np.random.default_rng(1).normal(size=(160, 2, 8, 8)).astype(np.float32)
    prepared = prepare(net(), torch.tensor(x[:2]))
    plan = Plan(Recipe.parse("int4 channel:0", "uint8 affine", ""), parse_repairs("fold"), np.split(x, 10))
    plain, looked = (
        finish(simulate(prepared, plan)),
        finish(simulate(prepared, Plan(plan.recipe, plan.repairs, plan.batches, always=True))),
    )
    example = torch.tensor(x[:5])
    with torch.no_grad():
        assert torch.equal(plain.model.module(example), looked.model.module(example))
    assert plain.layers[0].mean_shift is None
    assert all(layer.output_sqnr_db > 0 for layer in looked.layers)
