"""What layers read in simulation: its ranges, calibrated or dynamic, and layers that are called oddly."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from small_nets import batches, input_of, inputs_of, output, randn, settled, simulated
from torch import Tensor, nn

from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.calibrate import calibrate, watcher
from qexplorer.engine.simulation.layers import (
    quantize_input,
    quantized_input,
    weight_quantizer,
)
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize
from qexplorer.quant.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def test_inputs_are_quantized_as_torch_does_with_the_range_of_what_was_seen(traced: Prepared) -> None:
    data = batches()
    found = simulated(traced, "float", "uint8 affine")
    for name in traced.layers:
        seen = torch.cat(inputs_of(traced, name, data))
        low, high = min(float(seen.min()), 0.0), max(float(seen.max()), 0.0)
        fake = input_of(found.model, name)
        assert fake is not None
        params: Any = fake.params
        assert float(params.scale[0]) == pytest.approx((high - low) / 255, rel=1e-6)
        x = 1.5 * seen
        wanted = torch.fake_quantize_per_tensor_affine(x, float(params.scale[0]), int(params.zero_point[0]), 0, 255)
        assert torch.equal(fake(x), wanted)
        layer: Any = found.model.layers[name]
        plain: Any = traced.layers[name]
        with torch.no_grad():
            assert torch.equal(layer(x), plain(wanted))


@pytest.mark.parametrize(
    "text", ["uint8 affine", "int8 mse", "uint8 affine percentile:99", "fp8_e4m3fn", "uint4 channel:1"]
)
def test_the_order_and_the_size_of_batches_do_not_matter(traced: Prepared, text: str) -> None:
    data = batches(n=4)
    ways = [data, data[::-1], [np.concatenate(data)], [data[0][:1], data[0][1:], *data[1:]], [data[0][:0], *data]]
    spec = {"mix": QuantSpec.parse(text)}
    scales = [finish(calibrate(traced, spec, way))["mix"].params for way in ways]
    for params in scales[1:]:
        assert params is not None
        assert scales[0] is not None
        tolerance = 0 if "mse" not in text and "percentile" not in text else 1e-6  # sums in another order
        np.testing.assert_allclose(params.scale, scales[0].scale, rtol=tolerance)
        np.testing.assert_array_equal(params.zero_point, scales[0].zero_point)


def test_calibration_does_not_grow_with_the_samples() -> None:
    seen = watcher(QuantSpec.parse("uint8 affine mse"))
    block = randn(1000, 40)
    tracemalloc.start()
    try:
        held: list[int] = []
        for _ in range(6):
            seen.see(block)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[1] < 10_000
    assert held[-1] < 4_000_000


@pytest.mark.parametrize("text", ["int8 channel", "int8 channel:1"])
def test_channels_of_activations_have_scales_of_their_own(traced: Prepared, text: str) -> None:
    found = simulated(traced, "float", text)
    fake = input_of(found.model, "mix")
    assert fake is not None
    assert fake.params is not None
    seen = torch.cat(inputs_of(traced, "mix", batches()))
    wanted = seen.abs().amax(dim=(0, 2, 3)) / 127
    np.testing.assert_allclose(fake.params.scale, wanted.numpy(), rtol=1e-6)
    linear = input_of(found.model, "hidden")
    assert linear is not None
    assert linear.params is not None
    assert len(linear.params.scale) == 96
    assert {layer.spec for layer in found.layers} == {f"float / {text}"}


@pytest.mark.parametrize("text", ["int8 group:4", "mxfp4"])
def test_groups_of_what_a_convolution_reads_never_hold_values_of_two_places(traced: Prepared, text: str) -> None:
    found = simulated(traced, "float", text)
    fake, layer = input_of(found.model, "mix"), found.model.layers["mix"]
    assert fake is not None
    x = inputs_of(traced, "mix", batches())[0]
    whole = quantized_input(layer, x, fake)
    for h, w in ((0, 0), (3, 2)):
        assert torch.equal(whole[:, :, h, w], quantized_input(layer, x[:, :, h : h + 1, w : w + 1], fake)[:, :, 0, 0])
    assert {layer.spec for layer in found.layers} == {f"float / {text}"}


@pytest.mark.parametrize(
    ("text", "why"), [("int8 channel:0", "counts the samples"), ("int8 channel:3", "is not there")]
)
def test_activations_that_cannot_be_divided_so_are_refused_by_layer(traced: Prepared, text: str, why: str) -> None:
    with pytest.raises(UserError, match=f"What .* reads, .* does not fit its spec: .*{why}") as caught:
        simulated(traced, "int8", text)
    assert caught.value.field == "activation_spec"


@pytest.mark.parametrize("text", ["int8 group:1024", "mxfp8_e4m3", "int8 block:1x16", "q8_0", "fp16"])
def test_groups_of_activations_are_found_for_each_input_whatever_its_size(traced: Prepared, text: str) -> None:
    found = simulated(traced, "float", text)
    for n in (1, 5):
        x = randn(n, 96, seed=n)
        fake = input_of(found.model, "hidden")
        assert fake is not None
        np.testing.assert_array_equal(fake(x).numpy(), quantize(x.numpy(), QuantSpec.parse(text))[1])
        output(found.model, randn(n, 2, 8, 8))


def test_dynamic_ranges_are_those_of_each_token() -> None:
    model = prepare(settled(nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))), randn(2, 5, 12))
    recipe = Recipe.parse("int8 channel:0", f"int8 group:{1 << 20}", "")
    found = finish(simulate(model, Plan(recipe, dynamic=True)))
    x = randn(4, 5, 12) * torch.tensor([0.01, 1.0, 100.0, 1.0]).reshape(4, 1, 1)
    fake = input_of(found.model, "0")
    assert fake is not None
    assert fake.params is None
    q = fake(x)
    scale = x.abs().amax(dim=-1, keepdim=True) / 127
    assert torch.equal(q, (x * (1 / scale)).round() * scale)
    alone = torch.cat([output(found.model, x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(output(found.model, x), alone)


def test_dynamic_ranges_need_no_samples_and_static_ones_do(traced: Prepared) -> None:
    recipe = Recipe.parse("int8", "uint8 affine", "")
    for data in ([], [np.zeros((0, 2, 8, 8), np.float32)]):
        found = finish(simulate(traced, Plan(recipe, batches=data, dynamic=True)))
        assert output(found.model, randn(2, 2, 8, 8)).isfinite().all()
        with pytest.raises(UserError, match="Add calibration samples") as caught:
            finish(simulate(traced, Plan(recipe, batches=data)))
        assert caught.value.field == "calibration"


class Odd(nn.Module):
    """A layer that is called twice, one that nothing calls, and one called with its input by name."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.unused, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(x)
        x = self.again(3 * x) if x.abs().sum() >= 0 else x
        return self.head(input=x)


@pytest.mark.parametrize("activations", ["uint8 affine", "int8 channel:1"])
def test_layers_called_twice_never_or_by_name(activations: str) -> None:
    model = prepare(settled(Odd()), randn(3, 4))
    assert not model.traced
    data = [randn(10, 4, seed=i).numpy() for i in range(2)]
    plan = Plan(Recipe.parse("int4", activations, ""), parse_repairs("gptq,bias_correction"), data)
    found = finish(simulate(model, plan))
    assert [figure.name for figure in found.layers] == ["again", "head", "unused"]
    assert input_of(found.model, "unused") is None
    fake = input_of(found.model, "again")
    assert fake is not None
    assert fake.params is not None
    seen = torch.cat(inputs_of(found.float_model, "again", data))
    assert len(seen) == 40  # both calls
    largest = float(seen.abs().max())
    assert float(fake.params.scale.max()) == pytest.approx(largest / 127, rel=1e-5) or activations == "uint8 affine"
    with torch.no_grad():
        layer: Any = found.model.layers["head"]
        x = randn(3, 4)
        assert torch.equal(layer(input=x), layer(x))


def test_a_quantizer_goes_where_its_layer_goes() -> None:
    layer = nn.Linear(4, 2)
    quantize_input(layer, weight_quantizer("x", randn(9, 4), QuantSpec.parse("uint8 affine")))
    assert layer.to("meta")(torch.empty(3, 4, device="meta")).device.type == "meta"
