"""Single layers of real int8 models: kept in float32, or with weights as asked for."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from overridden import PRESETS, VIT
from torch import nn

from qexplorer.engine.backends import BACKEND, ENGINES, Quantized
from qexplorer.engine.jobs import jobs
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec

CHANCE = torch.Generator().manual_seed(0)


IMAGES = torch.randn(32, 1, 8, 8, generator=CHANCE) * torch.linspace(0.1, 3, 32)[:, None, None, None]


BATCHES = [IMAGES.numpy()]


USUAL = {"pytorch_default": "int8 full_span", "x86": "int8 full_span channel:0"}


pytestmark = [
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning"),  # torch's own, on quantized tensors
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
]


class Net(nn.Module):
    """Layers that are fused in every way, and some that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.Conv2d(8, 12, 1)
        self.cut = nn.LeakyReLU()
        self.hidden = nn.Linear(12, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.norm(self.deep(x)) + x)
        x = self.cut(self.mix(x)).mean((2, 3))
        return self.head(torch.relu(self.hidden(x)))


LAYERS = ["stem.0", "deep", "mix", "hidden", "head"]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Net()
        module.train()(IMAGES + 0.5)  # statistics of batch norm that are not 0 and 1
    return module.eval()


@pytest.fixture
def engine() -> Iterator[None]:
    """What a test does to torch's engine ends with it."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "x86" if "x86" in torch.backends.quantized.supported_engines else before
    yield
    torch.backends.quantized.engine = before


def quantized(module: nn.Module, preset: str = "x86", **weights: str) -> Quantized:
    """Layers by name, with `__` for a dot."""
    own = {name.replace("__", "."): None if w == "float" else QuantSpec.parse(w) for name, w in weights.items()}
    return finish(BACKEND().quantize(module, preset, BATCHES, own))


def specs_of(made: Quantized) -> dict[str, str]:
    return {layer.name: layer.spec for layer in made.layers}


def simulated(module: nn.Module, overrides: str) -> tuple[Prepared, Prepared]:
    """The float model and its simulated copy whose weights are quantized."""
    made = finish(simulate(prepare(module, IMAGES), Plan(Recipe.parse("int8 channel:0", "", overrides))))
    return made.float_model, made.model


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kernels", ENGINES)
def test_each_engine_keeps_each_layer_in_float(net: nn.Module, kernels: str, preset: str) -> None:
    if kernels not in torch.backends.quantized.supported_engines:
        pytest.skip(f"no {kernels} here")
    torch.backends.quantized.engine = kernels
    prepared = prepare(net, IMAGES)
    assert list(prepared.layers) == LAYERS
    for name in LAYERS:
        made = finish(BACKEND().quantize(net, preset, BATCHES, {name: None}))
        assert specs_of(made) == {**dict.fromkeys(LAYERS, USUAL[preset]), name: "float"}
        assert made.spec.layers == {name: "float"}
        layer: Any = made.module.get_submodule(name)
        layer = layer[0] if isinstance(layer, nn.Sequential) else layer  # with its ReLU
        assert type(layer) in (nn.Conv2d, nn.Linear)
        assert torch.allclose(layer.weight, prepared.layers[name].weight, rtol=1e-6)
        assert torch.allclose(made.module(IMAGES), net(IMAGES), atol=0.03)
    assert specs_of(quantized(net, preset)) == dict.fromkeys(LAYERS, USUAL[preset])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kernels", ENGINES)
@pytest.mark.parametrize("spec", BACKEND.weights)
def test_weights_are_those_of_the_simulation_to_the_bit(net: nn.Module, kernels: str, preset: str, spec: str) -> None:
    if kernels not in torch.backends.quantized.supported_engines:
        pytest.skip(f"no {kernels} here")
    torch.backends.quantized.engine = kernels
    made = quantized(net, preset, stem__0=spec, deep=spec, head=spec)
    _, twin = simulated(net, f"stem.0={spec}; deep={spec}; head={spec}")
    asked = QuantSpec.parse(spec).short
    assert {name: specs_of(made)[name] for name in ("stem.0", "deep", "mix", "head")} == {
        "stem.0": asked, "deep": asked, "mix": USUAL[preset], "head": asked
    }  # fmt: skip
    for name in ("stem.0", "deep", "head"):
        weight = made.module.get_submodule(name).weight()  # pyright: ignore[reportCallIssue]
        scheme = torch.per_channel_affine if "channel" in spec else torch.per_tensor_affine
        assert weight.qscheme() == scheme
        assert torch.equal(weight.dequantize(), twin.layers[name].weight)
    assert torch.allclose(made.module(IMAGES), net(IMAGES), atol=0.03)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("preset", PRESETS)
def test_the_specs_that_the_presets_are_said_to_have_are_theirs(net: nn.Module, preset: str) -> None:
    made = quantized(net, preset)
    _, twin = simulated(net, f"*={USUAL[preset]}")
    for name in LAYERS:
        weight = made.module.get_submodule(name).weight()  # pyright: ignore[reportCallIssue]
        assert torch.equal(weight.dequantize(), twin.layers[name].weight)


@pytest.mark.usefixtures("engine")
def test_a_layer_that_is_kept_computes_in_float_what_8_bits_hand_it(net: nn.Module) -> None:
    made = quantized(net, deep="float")
    seen: list[torch.Tensor] = []
    layer: Any = made.module.get_submodule("deep")
    layer.register_forward_hook(lambda _, args, y: seen.extend((args[0], y)))
    made.module(IMAGES)
    x, y = seen
    assert (x.dtype, y.dtype) == (torch.float32, torch.float32)
    assert len(x.unique()) <= 256
    kept: Any = prepare(net, IMAGES).layers["deep"]
    assert torch.allclose(y, kept(x), atol=1e-6)


@pytest.mark.usefixtures("engine")
def test_the_output_comes_closer_where_layers_are_kept(net: nn.Module) -> None:
    def error(*names: str) -> float:
        with torch.no_grad():
            y = finish(BACKEND().quantize(net, "pytorch_default", BATCHES, dict.fromkeys(names))).module(IMAGES)
            return float((y - net(IMAGES)).square().mean())

    quantized, kept = error(), error(*LAYERS)
    assert quantized > error("head")
    assert quantized > kept > 0  # sums have kernels of their own


@pytest.mark.usefixtures("engine")
def test_a_layer_that_is_not_traced_by_itself_is_refused_unless_it_is_float_anyway() -> None:
    class Own(nn.Linear):
        """Computes as a Linear, and is traced through."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = Own(8, 8)
            self.coder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.coder(self.own(x[:, 0])).mean(1))

    module = Attending().eval()
    found = specs_of(quantized(module, coder__linear1="float"))
    assert found == {"coder.linear1": "float", "coder.linear2": "float", "head": USUAL["x86"]}
    for weights in ({"coder__linear1": "int8"}, {"own": "int8"}, {"own": "float"}):
        with pytest.raises(UserError, match=r"not a layer of its own.*SIMULATED") as caught:
            quantized(module, **weights)
        assert caught.value.field == "overrides"


def padded(conv: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 1), conv, nn.ReLU(), nn.Flatten()).eval()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_padding_by_its_name_becomes_numbers_where_its_sides_are_equal(padding: str) -> None:
    module = padded(nn.Conv2d(4, 4, 3, padding=padding))
    made = quantized(module)
    assert specs_of(made) == dict.fromkeys(("0", "1"), USUAL["x86"])
    assert torch.allclose(made.module(IMAGES), module(IMAGES), atol=0.15)
    assert module[1].padding == padding  # pyright: ignore[reportIndexIssue]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("conv", "how"),
    [
        (nn.Conv2d(4, 4, 4, padding="same"), "“same” by unequal sides"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "by “circular”"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="replicate"), "by “replicate”"),
    ],
)
def test_a_padding_that_no_kernel_has_is_refused_naming_the_layer(conv: nn.Module, how: str) -> None:
    module = padded(conv)
    with pytest.raises(UserError, match=f"^1 pads {how}.*“1=float” in Overrides.*SIMULATED"):
        quantized(module)
    made = finish(BACKEND().quantize(module, "x86", BATCHES, {"1": None}))
    assert specs_of(made) == {"0": USUAL["x86"], "1": "float"}
    assert torch.allclose(made.module(IMAGES), module(IMAGES), atol=0.15)


@pytest.mark.usefixtures("engine")
def test_a_model_that_is_not_converted_is_refused_and_told_of_simulation() -> None:
    class Named(nn.Module):
        """Calls its layer in a way that the library does not know."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(input=x.flatten(1))

    with pytest.raises(UserError, match=r"cannot be converted to int8 kernels.*preset “none”"):
        quantized(Named().eval())


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [
        ("head=int4", "“head” cannot be “int4”"),
        ("blocks.*=nf4 group:64", "“blocks.*” cannot be “nf4 group:64”"),
        ("a=float; head=int8 channel:1", "“head” cannot be “int8 channel:1”"),
        ("head=int8 mse", "“head” cannot be “int8 mse”"),
        ("head=int8 affine", "“head” cannot be “int8 affine”"),
        ("head=uint8 affine", "“head” cannot be “uint8 affine”"),
        ("head=fp16", "“head” cannot be “fp16”"),
        ("head=int8 / float", "“head” cannot be “int8 / float”"),
        ("head=int8 / uint8 affine mse", "“head” cannot be “int8 / uint8 affine mse”"),
        ("head=float / uint8 affine", "“head” cannot be “float / uint8 affine”"),
    ],
)
@pytest.mark.parametrize("job", ["ptq-static", "parity"])
def test_what_kernels_cannot_do_is_refused_at_once(job: str, overrides: str, asked: str) -> None:
    with pytest.raises(UserError) as caught:
        jobs[job](overrides=overrides)
    assert caught.value.field == "overrides"
    assert caught.value.what == f"{asked} in int8 kernels."
    for word in ("Real int8 offers float, int8, int8 channel:0,", "SIMULATED"):
        assert word in caught.value.remedy


def test_without_a_preset_any_override_goes() -> None:
    settings: dict[str, Any] = {"weight_spec": "int4 channel:0", "overrides": "head=nf4 group:64 / fp8_e4m3fn"}
    assert jobs["ptq-static"](preset="none", **settings).overrides == settings["overrides"]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("words", ["float", "fp32", "float32", "float / float"])
def test_float_has_several_words(words: str) -> None:
    assert Recipe.parse("int8", "uint8 affine", f"head={words}").of("head").text == "float"


@pytest.mark.parametrize(
    ("job", "settings"),
    [("ptq-static", {"preset": "x86"}), ("weight-only", {}), ("parity", {})],
)
def test_a_name_that_no_layer_has_is_refused_with_those_close_to_it(job: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"No layer is called “haed”\. Close to it: head") as caught:
        finish(jobs[job](**VIT, **settings, overrides="haed=float").run())
    assert caught.value.field == "overrides"


def test_a_model_of_which_nothing_is_left_for_the_kernels_is_refused() -> None:
    with pytest.raises(UserError, match="nothing is left for int8 kernels"):
        finish(jobs["ptq-static"](**VIT, overrides="*=float").run())


@pytest.mark.usefixtures("engine")
def test_a_state_goes_into_a_model_that_was_made_the_same_way(net: nn.Module) -> None:
    first = quantized(net, stem__0="float", mix="int8").module
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    second = quantized(other, stem__0="float", mix="int8").module
    assert not torch.equal(first(IMAGES), second(IMAGES))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(IMAGES), second(IMAGES))
