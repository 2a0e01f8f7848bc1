"""Whole models in simulation: each layer against the NumPy reference, overrides, sizes and figures."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_nets import batches, input_of, inputs_of, output, randn, same_bits, simulated, weight_of

from qexplorer.engine.models.state_dict import theoretical_bytes
from qexplorer.engine.simulation.layers import (
    layer_bits,
    ratio_db,
)
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.simulate import LOOK_BATCHES
from qexplorer.errors import UserError
from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize
from qexplorer.quant.recipe import LayerSpec, Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = ("int8", "int4 channel:0 mse", "int4 group:32", "uint4 affine channel:0", "nf4 group:64",
         "fp8_e4m3fn channel:0", "mxfp4", "q4_0", "int3 affine_float group:16 hqq", "fp16",
         "int4 channel:1", "int4 channel:0 stochastic:3")  # fmt: skip


@pytest.mark.parametrize("text", SPECS)
def test_the_weights_of_every_layer_are_those_of_the_reference(traced: Prepared, text: str) -> None:
    found, spec = simulated(traced, text), QuantSpec.parse(text)
    for figure in found.layers:
        before = weight_of(traced, figure.name)
        _, wanted, _ = quantize(before.numpy(), spec)
        after = weight_of(found.model, figure.name)
        np.testing.assert_array_equal(after.numpy(), wanted)
        noise, signal = float((before - after).double().square().sum()), float(before.double().square().sum())
        assert figure.weight_sqnr_db == pytest.approx(10 * np.log10(signal / noise), abs=1e-6)
        assert figure.spec == text
    assert [figure.name for figure in found.layers] == ["stem", "deep", "mix", "hidden", "head"]


def test_the_model_that_was_given_is_left_as_it_is(traced: Prepared) -> None:
    before = {name: tensor.clone() for name, tensor in traced.module.state_dict().items()}
    simulated(traced, "int2", "uint4 affine", steps="cle,gptq,bias_correction")
    assert all(torch.equal(tensor, before[name]) for name, tensor in traced.module.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in traced.layers.values())


def test_traced_or_not_the_same_layers_get_the_same_weights(traced: Prepared, hooked: Prepared) -> None:
    """But for those whose norm was folded."""
    a, b = simulated(traced, "int4 channel:0", "uint8 affine"), simulated(hooked, "int4 channel:0", "uint8 affine")
    assert list(a.model.layers) == list(b.model.layers)
    for name in ("mix", "hidden", "head"):
        assert torch.equal(weight_of(a.model, name), weight_of(b.model, name))
    x = randn(4, 2, 8, 8, seed=9)
    torch.testing.assert_close(output(a.float_model, x), output(b.float_model, x), rtol=1e-4, atol=1e-4)


def test_a_spec_that_does_not_fit_a_layer_names_it_and_the_way_out(traced: Prepared) -> None:
    with pytest.raises(
        UserError, match=r"weights of hidden \[70, 96\] do not fit int4 channel:2: Axis 2.*Overrides"
    ) as caught:
        simulated(traced, "int4 channel:2")
    assert caught.value.field == "weight_spec"
    simulated(traced, "int4 channel:2", overrides="h*=int4")


def test_overrides_decide_for_the_layers_they_name(traced: Prepared) -> None:
    found = simulated(
        traced, "int4 channel:0", "uint8 affine", "h*=nf4 group:16; head=float; deep=int8 / float; mix=float / int8"
    )
    specs = {figure.name: figure.spec for figure in found.layers}
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
    figures = {figure.name: figure for figure in found.layers}
    assert (figures["head"].weight_sqnr_db, figures["head"].bits) == (math.inf, 32)
    assert figures["deep"].bits == 8 + 32 / 72


def test_one_layer_alone_may_be_quantized(traced: Prepared) -> None:
    found = simulated(traced, "int4", "uint8 affine", only="mix")
    changed = [n for n in traced.layers if not torch.equal(weight_of(found.model, n), weight_of(traced, n))]
    assert changed == ["mix"]
    assert [n for n in traced.layers if input_of(found.model, n) is not None] == ["mix"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("x*=int8", "No layer is called “x.”.*Layers are stem, deep, mix …"),
        ("stem", "“stem” is not a rule.*Write LAYER=SPEC"),
        ("stem=", "“stem=” is not a rule"),
        ("stem=int9", "There is no format “int9”"),
        ("stem=int8 / affine", "There is no format “affine”"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(traced: Prepared, overrides: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        simulated(traced, "int8", "", overrides)
    assert caught.value.field == "overrides"


def test_the_last_override_that_matches_decides_and_all_are_kept_as_text() -> None:
    recipe = Recipe.parse("int8", "uint8 affine", "a.*=int4; a.b=float ; a.c = int2 / float")
    assert recipe.of("a.b") == LayerSpec()
    assert recipe.of("a.c").text == "int2"
    assert recipe.of("a.d").text == "int4 / uint8 affine"
    assert recipe.of("b").text == "int8 / uint8 affine"
    assert recipe.texts == {
        "every": "int8 / uint8 affine", "a.*": "int4 / uint8 affine", "a.b": "float", "a.c": "int2"
    }  # fmt: skip
    assert Recipe.parse("int8", "uint8 affine", "a[0]=int4").of("a[0]").text == "int4 / uint8 affine"
    for field, texts in {"weight_spec": ("int9", ""), "activation_spec": ("", "int9")}.items():
        with pytest.raises(UserError) as caught:
            Recipe.parse(*texts, "")
        assert caught.value.field == field


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
        found = simulated(traced, weights_as, activations)
        assert found.bytes_theoretical == rest + -(-bits // 8) + more
        assert found.average_bits == pytest.approx(bits / total)
    dynamic = simulated(traced, "int4 channel:0", "uint8 affine", dynamic=True)
    assert dynamic.bytes_theoretical == rest + -(-(4 * total + 32 * channels) // 8)
    by_channel = simulated(traced, "float", "uint8 affine channel:1")
    assert by_channel.bytes_theoretical == rest + 4 * total + (2 + 8 + 8 + 96 + 70) * 40 // 8


def test_average_bits_count_every_layer_by_its_weights(traced: Prepared) -> None:
    found = simulated(traced, "int4", "", "hidden=int2; head=float")
    sizes = {name: weight_of(traced, name).numel() for name in traced.layers}
    widths = {"stem": 4, "deep": 4, "mix": 4, "hidden": 2, "head": 32}
    bits = sum(widths[n] * sizes[n] + (32 if n != "head" else 0) for n in sizes)
    assert found.average_bits == pytest.approx(bits / sum(sizes.values()))
    assert sum(layer_bits(weight_of(traced, f.name), QuantSpec.parse("int4")) for f in found.layers) > bits / 10


def test_figures_say_how_far_outputs_are_from_those_of_the_float_model(traced: Prepared) -> None:
    data = batches()[:LOOK_BATCHES]
    found = simulated(traced, "int4 channel:0", "uint8 affine", always=True)
    for figure in found.layers:
        name = figure.name
        floats, own = (inputs_of(m, name, data, before_hooks=True) for m in (found.float_model, found.model))
        one: Any = found.float_model.layers[name]
        two: Any = found.model.layers[name]
        with torch.no_grad():
            wanted, given = torch.cat([one(x) for x in floats]), torch.cat([two(x) for x in own])
        noise = float((wanted - given).double().square().sum())
        db = 10 * np.log10(float(wanted.double().square().sum()) / noise)
        assert figure.output_sqnr_db == pytest.approx(db, abs=0.01)
    assert same_bits(found, simulated(traced, "int4 channel:0", "uint8 affine"))


def test_a_layer_of_float_weights_says_what_its_quantized_input_does(traced: Prepared) -> None:
    found = simulated(traced, "float", "uint4 affine", always=True)
    for figure in found.layers:
        assert figure.weight_sqnr_db == math.inf
        assert 5 < figure.output_sqnr_db < 40
        assert figure.bits == 32


@pytest.mark.parametrize(
    ("signal", "noise", "level"),
    [(1.0, 0.1, 10.0), (0.0, 0.0, 0.0), (1.0, 0.0, np.inf), (0.0, 1.0, -np.inf), (1.0, np.inf, -np.inf),
     (np.inf, np.nan, -np.inf), (np.inf, 1.0, np.inf)],
)  # fmt: skip
def test_the_level_of_noise_beside_a_signal(signal: float, noise: float, level: float) -> None:
    assert ratio_db(signal, noise) == level
