"""Whole models in simulation: each layer against the NumPy reference, ranges, sizes, resuming, and recipes."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.history import History
from qexplorer.engine.journal import Journal
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.calibrate import calibrate, watcher
from qexplorer.engine.simulation.layers import (
    QuantizeInput,
    as_matrix,
    json_db,
    layer_bits,
    quantize_input,
    ratio_db,
    weight_quantizer,
)
from qexplorer.engine.simulation.one_at_a_time import output_errors
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.recipe import LayerSpec, Recipe
from qexplorer.engine.simulation.simulate import LOOK_BATCHES, Plan, Simulated, simulate
from qexplorer.engine.simulation.walk import walk
from qexplorer.engine.state_dict import theoretical_bytes
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize

Batches = list[NDArray[np.float32]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads take longer for small nets where something else runs beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batches(n: int = 3, size: int = 6) -> Batches:
    return [randn(size, 2, 8, 8, seed=20 + i).numpy() for i in range(n)]


class Net(nn.Module):
    """conv · norm · relu · depthwise · norm, a skip, a 1 × 1 convolution and two linear layers."""

    def __init__(self, *, branches: bool = False) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.deep, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.mix, self.relu = nn.Conv2d(8, 6, 1), nn.ReLU(inplace=True)
        self.hidden, self.head, self.branches = nn.Linear(6 * 16, 70), nn.Linear(70, 4), branches

    def forward(self, x: Tensor) -> Tensor:
        if self.branches and x.abs().sum() < 0:
            return x
        x = self.relu(self.norm(self.stem(x)))
        x = x + self.norm2(self.deep(x))
        x = torch.max_pool2d(self.mix(x), 2).flatten(1)
        return self.head(self.relu(self.hidden(x)))


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            parameter.copy_(randn(*parameter.shape, seed=seed + i) * 0.3)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                own: Any = module
                own.running_mean.copy_(0.3 * randn(module.num_features, seed=seed))
                own.running_var.copy_(randn(module.num_features, seed=seed + 1).abs() + 0.3)
    return net.eval()


@pytest.fixture(scope="module")
def traced() -> Prepared:
    found = prepare(settled(Net()), randn(2, 2, 8, 8))
    assert found.traced
    assert found.folded == 2
    return found


@pytest.fixture(scope="module")
def hooked() -> Prepared:
    found = prepare(settled(Net(branches=True)), randn(2, 2, 8, 8))
    assert not found.traced
    return found


def made(
    model: Prepared, weights: str, activations: str = "", overrides: str = "", steps: str = "", **more: Any
) -> Simulated:
    plan = Plan(Recipe.parse(weights, activations, overrides), parse_repairs(steps), batches())
    return finish(simulate(model, replace(plan, **more)))


def weight_of(model: Prepared, name: str) -> Tensor:
    layer: Any = model.layers[name]
    return layer.weight.detach()


def input_of(model: Prepared, name: str) -> FakeQuantize | None:
    hooks = [h for h in model.layers[name]._forward_pre_hooks.values() if isinstance(h, QuantizeInput)]
    return hooks[0].quantizer if hooks else None


def run(model: Prepared, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.module(x.clone())


def inputs_of(model: Prepared, name: str, data: Batches) -> list[Tensor]:
    seen: list[Tensor] = []
    handle = model.layers[name].register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    for batch in data:
        run(model, torch.tensor(batch))
    handle.remove()
    return seen


# weights


SPECS = ("int8", "int4 channel:0 mse", "int4 group:32", "uint4 affine channel:0", "nf4 group:64",
         "fp8_e4m3fn channel:0", "mxfp4", "q4_0", "int3 affine_float group:16 hqq", "fp16",
         "int4 channel:1", "int4 channel:0 stochastic:3")  # fmt: skip


@pytest.mark.parametrize("text", SPECS)
def test_the_weights_of_every_layer_are_those_of_the_reference(traced: Prepared, text: str) -> None:
    found, spec = made(traced, text), QuantSpec.parse(text)
    for figure in found.layers:
        before = weight_of(traced, figure["name"])
        _, wanted, _ = quantize(as_matrix(before, spec).numpy(), spec)
        after = weight_of(found.model, figure["name"])
        np.testing.assert_array_equal(after.flatten(1).numpy(), wanted.reshape(len(before), -1))
        noise, signal = float((before - after).double().square().sum()), float(before.double().square().sum())
        assert figure["weight_sqnr_db"] == pytest.approx(10 * np.log10(signal / noise), abs=1e-6)
        assert figure["spec"] == text
    assert [figure["name"] for figure in found.layers] == ["stem", "deep", "mix", "hidden", "head"]


def test_the_model_that_was_given_is_left_as_it_is(traced: Prepared) -> None:
    before = {name: tensor.clone() for name, tensor in traced.module.state_dict().items()}
    made(traced, "int2", "uint4 affine", steps="cle,gptq,bias_correction")
    assert all(torch.equal(tensor, before[name]) for name, tensor in traced.module.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in traced.layers.values())


def test_traced_or_not_the_same_layers_get_the_same_weights(traced: Prepared, hooked: Prepared) -> None:
    """But for those whose norm was folded."""
    a, b = made(traced, "int4 channel:0", "uint8 affine"), made(hooked, "int4 channel:0", "uint8 affine")
    assert list(a.model.layers) == list(b.model.layers)
    for name in ("mix", "hidden", "head"):
        assert torch.equal(weight_of(a.model, name), weight_of(b.model, name))
    x = randn(4, 2, 8, 8, seed=9)
    torch.testing.assert_close(run(a.float_model, x), run(b.float_model, x), rtol=1e-4, atol=1e-4)


def test_a_spec_that_does_not_fit_a_layer_names_it_and_the_way_out(traced: Prepared) -> None:
    with pytest.raises(
        UserError, match=r"weights of hidden \[70, 96\] do not fit int4 channel:2: Axis 2.*Overrides"
    ) as caught:
        made(traced, "int4 channel:2")
    assert caught.value.field == "weight_spec"
    made(traced, "int4 channel:2", overrides="h*=int4")


# activations


def test_inputs_are_quantized_as_torch_does_with_the_range_of_what_was_seen(traced: Prepared) -> None:
    data = batches()
    found = made(traced, "float", "uint8 affine")
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
    data = batches(4)
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


def test_channels_of_activations_have_scales_of_their_own(traced: Prepared) -> None:
    found = made(traced, "float", "int8 channel:1")
    fake = input_of(found.model, "mix")
    assert fake is not None
    assert fake.params is not None
    seen = torch.cat(inputs_of(traced, "mix", batches()))
    wanted = seen.abs().amax(dim=(0, 2, 3)) / 127
    np.testing.assert_allclose(fake.params.scale, wanted.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "why"), [("int8 channel:0", "counts the samples"), ("int8 channel:3", "is not there")]
)
def test_activations_that_cannot_be_divided_so_are_refused_by_layer(traced: Prepared, text: str, why: str) -> None:
    with pytest.raises(UserError, match=f"What .* reads, .* does not fit its spec: .*{why}") as caught:
        made(traced, "int8", text)
    assert caught.value.field == "activation_spec"


@pytest.mark.parametrize("text", ["int8 group:1024", "mxfp8_e4m3", "int8 block:1x16", "q8_0", "fp16"])
def test_groups_of_activations_are_found_for_each_input_whatever_its_size(traced: Prepared, text: str) -> None:
    found = made(traced, "float", text)
    for n in (1, 5):
        x = randn(n, 96, seed=n)
        fake = input_of(found.model, "hidden")
        assert fake is not None
        np.testing.assert_array_equal(fake(x).numpy(), quantize(x.numpy(), QuantSpec.parse(text))[1])
        run(found.model, randn(n, 2, 8, 8))


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
    alone = torch.cat([run(found.model, x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(run(found.model, x), alone)


def test_dynamic_ranges_need_no_samples_and_static_ones_do(traced: Prepared) -> None:
    recipe = Recipe.parse("int8", "uint8 affine", "")
    for data in ([], [np.zeros((0, 2, 8, 8), np.float32)]):
        found = finish(simulate(traced, Plan(recipe, batches=data, dynamic=True)))
        assert run(found.model, randn(2, 2, 8, 8)).isfinite().all()
        with pytest.raises(UserError, match="Take calibration samples") as caught:
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
    assert [figure["name"] for figure in found.layers] == ["again", "head", "unused"]
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


# which layers


def test_overrides_decide_for_the_layers_they_name(traced: Prepared) -> None:
    found = made(
        traced, "int4 channel:0", "uint8 affine", "h*=nf4 group:16; head=float; deep=int8 / float; mix=float / int8"
    )
    specs = {figure["name"]: figure["spec"] for figure in found.layers}
    assert specs == {
        "stem": "int4 channel:0 / uint8 affine",
        "deep": "int8",
        "mix": "float / int8",
        "hidden": "nf4 group:16 / uint8 affine",
        "head": "float",
    }
    for name, spec in specs.items():
        weights, _, activations = spec.partition(" / ")
        assert Recipe.parse(weights, activations, "").every.text == spec
        assert (input_of(found.model, name) is None) == ("/" not in spec)
        assert torch.equal(weight_of(found.model, name), weight_of(traced, name)) == spec.startswith("float")
    figures = {figure["name"]: figure for figure in found.layers}
    assert (figures["head"]["weight_sqnr_db"], figures["head"]["bits"]) == ("inf", 32)
    assert figures["deep"]["bits"] == 8 + 32 / 72


def test_one_layer_alone_may_be_quantized(traced: Prepared) -> None:
    found = made(traced, "int4", "uint8 affine", only="mix")
    changed = [n for n in traced.layers if not torch.equal(weight_of(found.model, n), weight_of(traced, n))]
    assert changed == ["mix"]
    assert [n for n in traced.layers if input_of(found.model, n) is not None] == ["mix"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("x*=int8", "No layer is called “x.”.*Layers are stem, deep, mix …"),
        ("stem", "“stem” is no override.*Write LAYER=SPEC"),
        ("stem=", "“stem=” is no override"),
        ("stem=int9", "There is no format “int9”"),
        ("stem=int8 / affine", "There is no format “affine”"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(traced: Prepared, overrides: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        made(traced, "int8", "", overrides)
    assert caught.value.field == "overrides"


def test_the_last_override_that_matches_decides_and_all_are_kept_as_text() -> None:
    recipe = Recipe.parse("int8", "uint8 affine", "a.*=int4; a.b=float ; a.c = int2 / float")
    assert recipe.of("a.b") == LayerSpec()
    assert recipe.of("a.c").text == "int2"
    assert recipe.of("a.d").text == "int4 / uint8 affine"
    assert recipe.of("b").text == "int8 / uint8 affine"
    assert recipe.to_json() == {
        "every": "int8 / uint8 affine", "a.*": "int4 / uint8 affine", "a.b": "float", "a.c": "int2"
    }  # fmt: skip
    assert Recipe.parse("int8", "uint8 affine", "a[0]=int4").of("a[0]").text == "int4 / uint8 affine"
    for field, texts in {"weight_spec": ("int9", ""), "activation_spec": ("", "int9")}.items():
        with pytest.raises(UserError) as caught:
            Recipe.parse(*texts, "")
        assert caught.value.field == field


# sizes


def test_the_theoretical_size_is_codes_scales_and_all_that_stays_float(traced: Prepared) -> None:
    weights = {name: weight_of(traced, name) for name in traced.layers}
    total = sum(w.numel() for w in weights.values())
    rest = theoretical_bytes(traced.module.state_dict()) - 4 * total
    assert rest == 4 * (8 + 8 + 6 + 70 + 4)  # the biases
    channels = sum(len(w) for w in weights.values())
    groups = sum(len(w) * -(-w[0].numel() // 32) for w in weights.values())
    static = 5 * (8 + 32) // 8
    for weights_as, activations, bits, more in (
        ("float", "", 32 * total, 0),
        ("int4", "", 4 * total + 5 * 32, 0),
        ("int4 channel:0", "uint8 affine", 4 * total + 32 * channels, static),
        ("int4 group:32", "fp8_e4m3fn", 4 * total + 32 * groups, 5 * 4),
        ("uint4 affine group:32", "int8 group:64", 4 * total + (32 + 4) * groups, 0),
        ("mxfp4", "mxfp8_e4m3", 4 * total + 8 * groups, 0),
        ("fp16", "fp16", 16 * total, 0),
    ):
        found = made(traced, weights_as, activations)
        assert found.bytes_theoretical == rest + -(-bits // 8) + more
        assert found.average_bits == pytest.approx(bits / total)
    dynamic = made(traced, "int4 channel:0", "uint8 affine", dynamic=True)
    assert dynamic.bytes_theoretical == rest + -(-(4 * total + 32 * channels) // 8)
    by_channel = made(traced, "float", "uint8 affine channel:1")
    assert by_channel.bytes_theoretical == rest + 4 * total + (2 + 8 + 8 + 96 + 70) * 40 // 8


def test_average_bits_count_every_layer_by_its_weights(traced: Prepared) -> None:
    found = made(traced, "int4", "", "hidden=int2; head=float")
    sizes = {name: weight_of(traced, name).numel() for name in traced.layers}
    widths = {"stem": 4, "deep": 4, "mix": 4, "hidden": 2, "head": 32}
    bits = sum(widths[n] * sizes[n] + (32 if n != "head" else 0) for n in sizes)
    assert found.average_bits == pytest.approx(bits / sum(sizes.values()))
    assert sum(layer_bits(weight_of(traced, f["name"]), QuantSpec.parse("int4")) for f in found.layers) > bits / 10


# walking through layers


@pytest.mark.parametrize("kind", ["traced", "hooked"])
def test_each_layer_is_visited_with_what_it_reads_in_both_models(kind: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    quantized = made(model, "int4", "uint4 affine").model
    data = batches(2)
    visited: list[str] = []
    for visit in walk(model, quantized, data):
        assert torch.is_grad_enabled()
        visited.append(visit.name)
        for own, inputs in ((model, visit.float_inputs), (quantized, visit.inputs)):
            wanted = inputs_before_hooks(own, visit.name, data)
            assert all(torch.equal(a, b) for a, b in zip(inputs, wanted, strict=True))
    assert visited == list(model.layers)


def inputs_before_hooks(model: Prepared, name: str, data: Batches) -> list[Tensor]:
    seen: list[Tensor] = []
    handle = model.layers[name].register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()), prepend=True)
    for batch in data:
        run(model, torch.tensor(batch))
    handle.remove()
    return seen


@pytest.mark.parametrize("kind", ["traced", "hooked"])
def test_what_is_changed_at_a_layer_later_layers_read(kind: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    other, data = model.copy(), batches(1)
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
        other = made(model, "int2").model
        found = finish(output_errors(model, other, list(model.layers), batches(1)))
        x = torch.tensor(batches(1)[0])
        for name, error in found.items():
            alone = finish(simulate(model, Plan(Recipe.parse("int2", "", ""), only=name))).model
            wanted = run(model, x)
            assert error == pytest.approx(
                float((run(alone, x) - wanted).square().sum() / wanted.square().sum()), rel=1e-5
            )


# doing it again, and going on


STEPS = "cle,gptq,bias_correction"


def same(a: Simulated, b: Simulated) -> bool:
    one, two = a.model.module.state_dict(), b.model.module.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("kind", ["traced", "hooked"])
@pytest.mark.parametrize("steps", ["gptq,bias_correction", "adaround:30"])
def test_the_same_settings_give_the_same_bits(kind: str, steps: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    first, second = (made(model, "int3 channel:0", "uint8 affine", steps=steps) for _ in range(2))
    assert same(first, second)
    assert first.layers == second.layers


@pytest.mark.parametrize("kind", ["traced", "hooked"])
@pytest.mark.parametrize("after", ["Quantizing deep", "Bias correction mix", "Quantizing head"])
def test_it_goes_on_from_the_last_finished_layer(kind: str, after: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    plan = Plan(Recipe.parse("int3 channel:0", "uint8 affine", ""), parse_repairs(STEPS), batches())
    whole = finish(simulate(model, plan, Journal(), "a"))
    journal = Journal()
    steps = simulate(model, plan, journal, "a")
    while not next(steps).phase.startswith(after):
        pass
    steps.close()
    assert torch.is_grad_enabled()
    done = [name for name in model.layers if journal.arrays(f"layer/a/{name}") is not None]
    names = list(model.layers)
    assert done == names[: names.index(after.rpartition(" ")[2])]
    phases: list[str] = []
    resumed = finish(simulate(model, plan, journal, "a"), lambda step: phases.append(step.phase))
    assert same(resumed, whole)
    assert resumed.layers == whole.layers
    mended = {phase.removeprefix("GPTQ ") for phase in phases if phase.startswith("GPTQ")}
    assert mended == set(names) - set(done)
    other = finish(simulate(model, plan, journal, "b"))
    assert same(other, whole)


def test_it_goes_on_from_what_the_run_history_has(traced: Prepared, history: History) -> None:
    run_id = history.start("a", {})
    plan = Plan(Recipe.parse("int3 channel:0", "", ""), parse_repairs("gptq,bias_correction"), batches())
    steps = simulate(traced, plan, history.journal(run_id), "a")
    while next(steps).phase != "Quantizing hidden":
        pass
    steps.close()
    phases: list[str] = []
    again = History(history.path).journal(run_id)
    resumed = finish(simulate(traced, plan, again, "a"), lambda step: phases.append(step.phase))
    whole = finish(simulate(traced, plan))
    assert same(resumed, whole)
    assert resumed.layers == whole.layers
    assert {phase for phase in phases if phase.startswith("GPTQ")} == {"GPTQ hidden", "GPTQ head"}


def test_a_finished_layer_is_not_taken_for_one_of_another_row(traced: Prepared) -> None:
    journal = Journal()
    for key, text in (("w4", "int4"), ("w2", "int2")):
        plan = Plan(Recipe.parse(text, "", ""), parse_repairs("gptq"), batches())
        found = finish(simulate(traced, plan, journal, key))
        assert same(found, finish(simulate(traced, plan)))


def test_the_fraction_never_falls(traced: Prepared) -> None:
    fractions: list[float] = []
    plan = Plan(Recipe.parse("int4 channel:0", "uint8 affine", ""), parse_repairs("cle,adaround:40"), batches())
    finish(simulate(traced, plan), lambda step: fractions.append(step.fraction or 0.0))
    assert fractions == sorted(fractions)
    assert 0.9 < fractions[-1] <= 1


def test_figures_say_how_far_outputs_are_from_those_of_the_float_model(traced: Prepared) -> None:
    data = batches()[:LOOK_BATCHES]
    found = made(traced, "int4 channel:0", "uint8 affine", always=True)
    for figure in found.layers:
        name = figure["name"]
        floats, own = (inputs_before_hooks(m, name, data) for m in (found.float_model, found.model))
        one: Any = found.float_model.layers[name]
        two: Any = found.model.layers[name]
        with torch.no_grad():
            wanted, given = torch.cat([one(x) for x in floats]), torch.cat([two(x) for x in own])
        noise = float((wanted - given).double().square().sum())
        db = 10 * np.log10(float(wanted.double().square().sum()) / noise)
        assert figure["output_sqnr_db"] == pytest.approx(db, abs=0.01)
    assert same(found, made(traced, "int4 channel:0", "uint8 affine"))


def test_a_layer_of_float_weights_says_what_its_quantized_input_does(traced: Prepared) -> None:
    found = made(traced, "float", "uint4 affine", always=True)
    for figure in found.layers:
        assert figure["weight_sqnr_db"] == "inf"
        assert 5 < figure["output_sqnr_db"] < 40
        assert figure["bits"] == 32


@pytest.mark.parametrize(
    ("signal", "noise", "level"),
    [(1.0, 0.1, 10.0), (0.0, 0.0, 0.0), (1.0, 0.0, "inf"), (0.0, 1.0, "-inf"), (1.0, np.inf, "-inf"),
     (np.inf, np.nan, "-inf"), (np.inf, 1.0, "inf")],
)  # fmt: skip
def test_a_level_is_a_number_or_a_word(signal: float, noise: float, level: float | str) -> None:
    assert json_db(ratio_db(signal, noise)) == level


def test_outputs_that_overflow_leave_the_bias_alone() -> None:
    model = prepare(settled(nn.Sequential(nn.Linear(4, 3))), randn(2, 4))
    data = [np.full((2, 4), 3e38, np.float32)]
    plan = Plan(Recipe.parse("int2", "", ""), parse_repairs("bias_correction"), data)
    found: Any = finish(simulate(model, plan, Journal())).model.layers["0"]
    assert found.bias.isfinite().all()
