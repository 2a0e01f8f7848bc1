"""Repairs of whole models: that they help, what they change of a spec, their order, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from roundings import nearest
from small_nets import batches, chain, chance, output, ready, simulated
from torch import Tensor, nn

from qexplorer.engine.models import models
from qexplorer.engine.repair import parse_repairs, repairs
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.engine.simulation.repair_step import Repair
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize
from qexplorer.quant.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("steps", ["gptq", "adaround:150"])
@pytest.mark.parametrize("activations", ["", "uint8 affine"])
def test_every_kind_of_layer_is_mended_and_outputs_err_less(steps: str, activations: str) -> None:
    model, x = ready(chain(), 32, 2, 8, 8)
    data = batches(16, 2, 8, 8)
    plain, mended = (simulated(model, "int3 channel:0 mse", activations, steps=r, data=data) for r in ("", steps))
    assert not any(figure.note for figure in mended.layers)
    wanted = output(model, x)
    errors = [float((output(made, x) - wanted).square().mean()) for made in (plain, mended)]
    assert errors[1] < 0.75 * errors[0]
    again = simulated(model, "int3 channel:0 mse", activations, steps=steps, data=data)
    assert torch.equal(output(again, x), output(mended, x))
    for name, layer in mended.model.layers.items():
        own, spec = layer, QuantSpec.parse("int3 channel:0 mse")
        floats: Any = mended.float_model.layers[name]
        _, _, params = quantize(floats.weight.detach().numpy(), spec)
        weight: Any = own.weight
        levels = weight.detach().flatten(1).numpy() / params.scale[:, None]
        assert np.abs(levels - np.rint(levels)).max() < 1e-4
        assert np.abs(levels).max() < 3.001


def test_a_layer_whose_inputs_have_no_inverse_is_rounded_to_nearest_with_a_note() -> None:
    class Overflowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.two(x * 1e30) * 1e-30

    model, _ = ready(Overflowing(), 3, 4)
    made = simulated(model, "int4 channel:0", steps="gptq", data=batches(8, 4))
    notes = {figure.name: figure.note for figure in made.layers}
    assert notes == {"one": "", "two": "GPTQ: The products of the layer's inputs have no inverse."}
    two: Any = made.model.layers["two"]
    original: Any = model.layers["two"]
    assert torch.equal(two.weight, nearest(original.weight.detach(), "int4 channel:0"))


def test_steps_hold_no_mode_of_torch_while_others_run() -> None:
    model, _ = ready(chain(), 8, 2, 8, 8)
    plan = Plan(
        Recipe.parse("int4", "uint8 affine", ""), parse_repairs("cle,gptq,bias_correction"), batches(4, 2, 8, 8)
    )
    steps = simulate(model, plan)
    for _ in steps:
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("text", "weights", "wanted"),
    [
        ("mse_clip", "int4 channel:0", "int4 channel:0 mse"),
        ("mse_clip", "nf4 group:64", "nf4 group:64 mse"),
        ("mse_clip", "fp8_e4m3fn percentile:99", "fp8_e4m3fn mse"),
        ("hqq", "int4 group:32", "int4 affine_float group:32 hqq"),
        ("hqq", "uint3 full_span group:32", "uint3 affine_float group:32 hqq"),
        ("gptq", "int4 group:32", "int4 group:32"),
        ("adaround", "int4 affine", "int4 affine"),
        ("fold", "q4_0", "q4_0"),
    ],
)
def test_a_repair_changes_the_spec_as_said(text: str, weights: str, wanted: str) -> None:
    (step,) = parse_repairs(text)
    assert step.adapt(QuantSpec.parse(weights)) == QuantSpec.parse(wanted)
    assert Plan(Recipe.parse(weights, "", ""), (step,)).of("a").weights == QuantSpec.parse(wanted)


@pytest.mark.parametrize(
    ("text", "weights", "remedy"),
    [
        ("mse_clip", "q4_0", "Leave MSE clipping out."),
        ("mse_clip", "fp16", "Leave MSE clipping out."),
        ("hqq", "nf4 group:64", "Leave HQQ out."),
        ("hqq", "ternary", "Leave HQQ out."),
        ("adaround", "nf4 group:64", "Choose GPTQ, or an integer format."),
        ("adaround", "mxfp4", "Choose GPTQ, or an integer format."),
        ("gptq", "int4 stochastic", "Choose another rounding, or leave GPTQ out."),
    ],
)
def test_a_repair_that_cannot_go_with_a_spec_says_what_to_do(text: str, weights: str, remedy: str) -> None:
    (step,) = parse_repairs(text)
    with pytest.raises(UserError) as caught:
        step.adapt(QuantSpec.parse(weights))
    assert (caught.value.remedy, caught.value.field) == (remedy, "repairs")


def test_repairs_are_taken_in_their_order() -> None:
    steps = parse_repairs(" bias_correction, adaround:50 ,smooth_quant:0.7,,mse_clip,cle,fold")
    assert [step.text for step in steps] == [
        "fold", "cle", "smooth_quant:0.7", "mse_clip", "adaround:50", "bias_correction"
    ]  # fmt: skip
    assert parse_repairs("") == ()


def test_every_repair_is_read_from_its_own_text() -> None:
    for cls in repairs:
        step: Repair = cls()
        assert parse_repairs(step.text) == (step,)
        assert step.title
        assert step.help
    orders = [cls.order for cls in repairs]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("magic", "There is no repair “magic”"),
        ("cle,cle", "named twice"),
        ("adaround:5,adaround:6", "named twice"),
        ("gptq,adaround", "each choose the codes.*Keep one"),
        ("adaround:0", "Iterations must be 1 or more, not 0"),
        ("adaround:x", "Iterations must be a whole number, not “x”"),
        ("smooth_quant:1.5", "Alpha must be 1 or less, not 1.5"),
        ("fold:3", "more settings"),
    ],
)
def test_repairs_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_repairs(text)
    assert caught.value.field == "repairs"


def test_smoothing_and_clipping_go_together_with_what_comes_after() -> None:
    net = finish(models["vit_digits"]().load(None))
    x = torch.rand((8, 1, 32, 32), generator=chance(0))
    model = prepare(net, x)
    plan = Plan(Recipe.parse("int4 channel:0", "uint4 affine", ""), (), [x.numpy()])
    wanted = output(model, x)
    errors = []
    for steps in ("", "smooth_quant:0.5,mse_clip,gptq,bias_correction"):
        made = finish(simulate(model, replace(plan, repairs=parse_repairs(steps))))
        errors.append(float((output(made, x) - wanted).square().mean()))
    assert errors[1] < 0.7 * errors[0]
