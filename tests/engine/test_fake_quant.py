"""Fake quantization in torch, held to the NumPy reference: the same bits, and gradients where nothing is clipped."""

import copy
import io
import itertools
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import Format, formats
from qexplorer.quant.granularity import Granularity, PerBlock, PerChannel, PerGroup, PerTensor
from qexplorer.quant.grid_target import target
from qexplorer.quant.observers import observers
from qexplorer.quant.params import CONVENTIONS, DIVISIONS, SCHEMES, QuantParams
from qexplorer.quant.quantize import find_range, params_for, quantize
from qexplorer.quant.rounding import HalfEven, Stochastic, chances, roundings
from qexplorer.quant.scale_dtypes import scale_dtypes

GRANULARITIES = (PerTensor(), PerChannel(0), PerChannel(1), PerGroup(32), PerBlock(2, 16))


ROUNDINGS = (*(cls() for cls in roundings), Stochastic(9223372036854775807))


CHOICES: dict[str, tuple[Any, ...]] = {
    "scheme": tuple(choice.value for choice in SCHEMES),
    "convention": tuple(choice.value for choice in CONVENTIONS),
    "scale_dtype": tuple(scale_dtypes),
    "rounding": ROUNDINGS,
    "division": tuple(choice.value for choice in DIVISIONS),
    "granularity": GRANULARITIES,
}


EVERY_CHOICE = ("int1", "int8", "uint4", "uint16")
"""Of the integers, which differ only in width, these are tried with every combination of choices."""


BIT_TYPES = {
    torch.float32: torch.int32,
    torch.float64: torch.int64,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


OBSERVERS = [cls() for cls in observers if cls.name != "fixed"]


FORMATS = [pytest.param(form, id=form.name) for form in formats]


def specs(form: Format, *, whole: bool = True) -> Iterator[QuantSpec]:
    """Every spec of a format; if not `whole`, the roundings and the ways to divide take turns."""
    names = [name for name in CHOICES if name in form.applies]
    turns = [name for name in names if name in ("rounding", "division") and not whole]
    for i, values in enumerate(itertools.product(*(CHOICES[n] for n in names if n not in turns))):
        chosen = dict(zip([n for n in names if n not in turns], values, strict=True))
        chosen.update({n: CHOICES[n][i % len(CHOICES[n])] for n in turns})
        try:
            yield QuantSpec(format=form, **chosen)
        except UserError:
            continue


def values(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Heavy tails, and among them everything that is no common number."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_t(3, size=shape) * 0.37).astype(np.float32).reshape(-1)
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-40, -1e-45, 40.0], np.float32)[: max(0, x.size - 8)]
    x[rng.permutation(x.size)[: odd.size]] = odd
    return x.reshape(shape)


def bits(x: Tensor) -> Tensor:
    return x.detach().contiguous().view(BIT_TYPES[x.dtype])


def reference(x: Tensor, spec: QuantSpec, params: QuantParams | None = None) -> Tensor:
    """What the reference makes of the same values, in the dtype of the input."""
    return torch.from_numpy(np.array(quantize(x.to(torch.float32).numpy(), spec, params)[1])).to(x.dtype)


def assert_same(ours: Tensor, theirs: Tensor, spec: QuantSpec) -> None:
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    wrong = int((bits(ours) != bits(theirs)).sum())
    assert not wrong, f"{wrong} values differ for {spec.to_json()}"


def fixed(form: Format, scale: float) -> QuantParams:
    """One group with this scale; a format with an offset has the offset scale·3."""
    one = np.ones(1, np.float32)
    params = form.choose(-one, one, QuantSpec(format=form).choices)
    if form.scaled and params.levels is None:
        params = replace(params, scale=one * np.float32(scale), divisor=None)
    return params if params.offset is None else replace(params, offset=params.scale * 3, subtrahend=None)


@pytest.mark.parametrize("form", FORMATS)
def test_every_spec_gives_the_bits_of_the_reference(form: Format) -> None:
    x = torch.from_numpy(values((5, 70)))
    whole = not form.uniform or form.name in EVERY_CHOICE
    for spec in specs(form, whole=whole):
        assert_same(FakeQuantize(spec)(x), reference(x, spec), spec)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", FORMATS)
def test_other_dtypes_are_computed_in_float32_and_given_back(form: Format, dtype: torch.dtype) -> None:
    x = torch.from_numpy(values((6, 33)).astype(np.float64) * (1 + 1e-9)).to(dtype)
    for granularity in GRANULARITIES:
        if QuantSpec(format=form).refusal("granularity", granularity):
            continue
        spec = QuantSpec(format=form).adopt("granularity", granularity)
        assert_same(FakeQuantize(spec)(x), reference(x, spec), spec)


SHAPES = [(), (1,), (7,), (300,), (1, 1), (9, 1), (1, 40), (3, 257), (2, 3, 5), (4, 3, 3, 3), (2, 1, 2, 3, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "name", ["int4", "uint8", "fp8_e4m3fn", "mxfp4", "nvfp4", "nf4", "kmeans2", "q4_0", "q4_1", "fp16"]
)
def test_every_shape_is_divided_as_the_reference_divides_it(name: str, shape: tuple[int, ...]) -> None:
    x = torch.from_numpy(values(shape))
    for granularity in (*GRANULARITIES, PerChannel(-1), PerBlock(3, 100), PerGroup(1), PerGroup(1000)):
        spec = QuantSpec(format=formats[name])
        if spec.refusal("granularity", granularity) or granularity.refusal(shape):
            continue
        spec = spec.adopt("granularity", granularity)
        assert_same(FakeQuantize(spec)(x), reference(x, spec), spec)
        assert_same(FakeQuantize(spec).calibrate([x])(x), reference(x, spec), spec)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 2)])
@pytest.mark.parametrize("form", FORMATS)
def test_nothing_gives_nothing(form: Format, shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, dtype=torch.bfloat16)
    y = FakeQuantize(QuantSpec(format=form))(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)


@pytest.mark.parametrize("form", FORMATS)
def test_tensors_without_a_finite_value_and_of_one_value_are_as_in_the_reference(form: Format) -> None:
    spec = QuantSpec(format=form)
    for fill in (0.0, -0.0, float("nan"), float("inf"), -2.5, 1e-44, 3e38):
        x = torch.full((3, 40), fill)
        assert_same(FakeQuantize(spec)(x), reference(x, spec), spec)


@pytest.mark.parametrize("form", FORMATS)
def test_every_level_every_tie_and_their_neighbours_are_as_in_the_reference(form: Format) -> None:
    """Ties are the middles of neighbours, exact in float32 for these scales."""
    count = min(2**form.code_bits, 1 << 16)
    start = int(form.extent[0]) if form.uniform or form.name[:2] in ("q4", "q5", "q8", "tq") else 0
    for scale in (2.0**-3, -0.5) if form.uniform else (2.0**-3,):
        params = fixed(form, scale)
        codes = np.arange(start, start + count, dtype=np.int32)[None]
        levels = np.unique(form.dequantize(codes, params))
        levels = levels[np.isfinite(levels)]
        middles = ((levels[1:].astype(np.float64) + levels[:-1]) / 2).astype(np.float32)
        with np.errstate(over="ignore"):
            ends = np.concatenate([levels, middles, levels[[0, -1]] * 1.5, levels[[0, -1]] * 4])
        x = np.concatenate([ends, np.nextafter(ends, np.float32(np.inf)), np.nextafter(ends, np.float32(-np.inf))])
        for rounding in ROUNDINGS if "rounding" in form.applies else (HalfEven(),):
            spec = QuantSpec(format=form, granularity=PerTensor()) if _free(form) else QuantSpec(format=form)
            own = replace(params, rounding=rounding).repeat(_groups(spec, x))
            assert_same(FakeQuantize(spec, own)(torch.from_numpy(x)), reference(torch.from_numpy(x), spec, own), spec)


def _free(form: Format) -> bool:
    return "granularity" in form.applies


def _groups(spec: QuantSpec, x: NDArray[np.float32]) -> int:
    return len(spec.granularity.rows(x))


@pytest.mark.parametrize("form", FORMATS)
def test_any_pattern_of_bits_is_quantized_as_in_the_reference(form: Format) -> None:
    """Also with a scale so small or so large that quotients overflow or vanish."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 1 << 32, 4096, dtype=np.uint64).astype(np.uint32).view(np.float32).copy()
    x = torch.from_numpy(np.where(np.isnan(x), np.float32(np.nan), x))
    spec = QuantSpec(format=form)
    for scale in (1.0, 0.1, 3e-39, 1e30):
        for rounding in ROUNDINGS if "rounding" in form.applies else (HalfEven(),):
            own = replace(fixed(form, scale), rounding=rounding).repeat(_groups(spec, x.numpy()))
            with np.errstate(over="ignore", invalid="ignore"):
                assert_same(FakeQuantize(spec, own)(x), reference(x, spec, own), spec)


@pytest.mark.parametrize("name", ["int8", "fp8_e5m2", "fp4_e2m1"])
def test_chances_below_zero_are_compared_as_exactly_as_in_the_reference(name: str) -> None:
    """A quotient just below a whole number, where the part above the next lower one is no float32."""
    form = formats[name]
    u = chances(3, 0, (1, 1 << 16))
    for sign, near in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
        part = np.nextafter(u if sign > 0 else 1 - u, np.float32(near * 9))
        x = torch.from_numpy((sign * part * np.float32(2.0**-16 if name == "fp8_e5m2" else 0.5)).astype(np.float32))
        own = replace(fixed(form, 0.5 if name == "int8" else 1.0), rounding=Stochastic(3))
        spec = QuantSpec(format=form)
        assert_same(FakeQuantize(spec, own)(x), reference(x, spec, own), spec)


def test_a_part_of_a_tensor_is_rounded_by_its_place_in_the_whole() -> None:
    spec = QuantSpec(rounding=Stochastic(1))
    x = torch.from_numpy(values((1, 200)))
    whole = FakeQuantize(spec).calibrate([x])
    params = whole.params
    assert params is not None
    part = FakeQuantize(spec, params.take(0, 1, first=50))(x[:, 50:120])
    assert torch.equal(part, whole(x)[:, 50:120])


@pytest.mark.parametrize("form", FORMATS)
def test_the_gradient_passes_where_the_format_clips_nothing(form: Format) -> None:
    x = np.random.default_rng(2).standard_t(2, size=(4, 300)).astype(np.float32)
    x[0, :5] = [0, -0.0, np.inf, -np.inf, 1e-42]
    spec = QuantSpec(format=form)
    rows = spec.granularity.rows(x)
    lo, hi = find_range(spec, rows)
    params = spec.format.choose(lo / np.float32(3), hi / np.float32(4), spec.choices)
    module = FakeQuantize(spec, params)
    t = torch.from_numpy(x).requires_grad_()
    slopes = torch.from_numpy(np.random.default_rng(3).normal(size=x.shape).astype(np.float32))
    module(t).backward(slopes)
    assert t.grad is not None
    assert bool(((t.grad == slopes) | (t.grad == 0)).all())
    passed = spec.granularity.rows(t.grad.numpy()) != 0
    np.testing.assert_array_equal(~passed & ~np.isnan(rows), spec.format.outside(rows, params))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_gradient_has_the_dtype_and_shape_of_the_input(dtype: torch.dtype) -> None:
    x = torch.randn(3, 5, 70).to(dtype).requires_grad_()
    FakeQuantize(QuantSpec(granularity=PerGroup(32)))(x).sum().backward()
    assert x.grad is not None
    assert (x.grad.dtype, x.grad.shape) == (dtype, x.shape)
    assert bool((x.grad == 1).all())


def test_nan_gets_no_gradient() -> None:
    x = torch.tensor([1.0, float("nan"), 2.0], requires_grad=True)
    FakeQuantize(QuantSpec())(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 0, 1]


STREAM = [torch.randn(6, 40, generator=torch.Generator().manual_seed(k)) * (k + 1) for k in range(4)]


@pytest.mark.parametrize("observer", OBSERVERS, ids=lambda o: o.text)
def test_calibration_is_the_observers_fold(observer: Any) -> None:
    try:
        spec = QuantSpec(format=formats["int4"], scheme="affine", observer=observer)
    except UserError as refused:
        pytest.skip(str(refused))
    stats = None
    for x in STREAM:
        stats = observer.update(stats, x.numpy().reshape(1, -1))
    params = params_for(spec, *finish(observer.search(stats, target(spec))))
    module = FakeQuantize(spec).calibrate(STREAM)
    for x in STREAM:
        assert_same(module(x), reference(x, spec, params), spec)


def test_a_network_is_calibrated_by_running_it() -> None:
    spec = QuantSpec(format=formats["uint8"], scheme="affine")
    module = FakeQuantize(spec)
    network = nn.Sequential(nn.ReLU(), module)
    module.observing = True
    for x in STREAM:
        assert torch.equal(network(x), x.relu())
    module.freeze()
    assert not module.observing
    assert module.params is not None
    largest = max(float(x.max()) for x in STREAM)
    assert module.params.scale == pytest.approx(largest / 255)


@pytest.mark.parametrize("spec", [QuantSpec(observer=observers["mse"]()), QuantSpec(format=formats["kmeans2"])])
def test_what_later_layers_change_in_place_was_observed_before(spec: QuantSpec) -> None:
    module, x = FakeQuantize(spec), STREAM[0].clone()
    module.observe(x)
    x.zero_()
    assert_same(module.freeze()(STREAM[0]), reference(STREAM[0], spec), spec)


@pytest.mark.parametrize("name", ["kmeans", "q4_0"])
def test_formats_that_choose_from_the_values_choose_from_all_of_them(name: str) -> None:
    spec = QuantSpec(format=formats[name])
    module = FakeQuantize(spec).calibrate(STREAM)
    blocks = [spec.granularity.rows(x.numpy()) for x in STREAM]
    together = np.concatenate(blocks, axis=1)
    params = finish(spec.format.fit(together, *find_range(spec, together), spec.choices))
    for x in STREAM:
        assert_same(module(x), reference(x, spec, params), spec)


def test_a_frozen_module_keeps_its_range() -> None:
    module = FakeQuantize(QuantSpec()).calibrate([torch.tensor([-1.0, 1.0])])
    assert module(torch.tensor([5.0])).item() == pytest.approx(1)
    assert FakeQuantize(QuantSpec())(torch.tensor([5.0])).item() == pytest.approx(5)


def test_other_numbers_of_groups_are_refused() -> None:
    module = FakeQuantize(QuantSpec(granularity=PerChannel(0)))
    with pytest.raises(UserError, match="7 groups, and a tensor has 6") as refused:
        module.calibrate([torch.randn(7, 5)])(torch.randn(6, 5))
    assert refused.value.field == "granularity"
    with pytest.raises(UserError, match="cannot follow"):
        module.calibrate([torch.randn(7, 5), torch.randn(6, 5)])


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UserError, match="Nothing was observed"):
        FakeQuantize(QuantSpec()).freeze()
    with pytest.raises(UserError, match="Axis 3 is not there"):
        FakeQuantize(QuantSpec(granularity=PerChannel(3)))(torch.randn(2, 2))
    with pytest.raises(TypeError, match="int64"):
        FakeQuantize(QuantSpec())(torch.arange(3))


def calibrated(form: Format, granularity: Granularity | None = None, **more: Any) -> tuple[FakeQuantize, Tensor]:
    spec = QuantSpec(format=form) if granularity is None else QuantSpec(format=form, granularity=granularity, **more)
    x = torch.from_numpy(values((6, 70), seed=4))
    return FakeQuantize(spec).calibrate([x]), x * 1.25


@pytest.mark.parametrize("form", FORMATS)
def test_saving_loading_copying_and_pickling_keep_the_parameters(form: Format) -> None:
    module, x = calibrated(form)
    file = io.BytesIO()
    torch.save(nn.Sequential(module).state_dict(), file)
    file.seek(0)
    loaded = nn.Sequential(FakeQuantize(module.spec))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for other in (loaded, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_same(other(x), module(x), module.spec)


def test_a_module_without_parameters_saves_none() -> None:
    loaded = FakeQuantize(QuantSpec())
    loaded.load_state_dict(FakeQuantize(QuantSpec()).state_dict())
    assert loaded.params is None


def test_loading_other_groups_replaces_those_there_are() -> None:
    spec = QuantSpec(scheme="affine", granularity=PerChannel(0))
    module = FakeQuantize(spec).calibrate([torch.randn(3, 5)])
    other = FakeQuantize(spec).calibrate([torch.randn(4, 5)])
    other.load_state_dict(module.state_dict())
    x = torch.randn(3, 5)
    assert torch.equal(other(x), module(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scales_stay_float32_whatever_the_network_becomes(dtype: torch.dtype) -> None:
    module, x = calibrated(formats["int8"], PerGroup(32), scheme="affine_float")
    before = module(x)
    assert torch.equal(module.to(dtype)(x), before)
    assert all(buffer.dtype in (torch.float32, torch.int32) for buffer in module.buffers())


@pytest.mark.parametrize("form", FORMATS)
def test_set_parameters_move_with_the_module_and_need_neither_the_host_nor_float64(form: Format) -> None:
    """A tensor on the device “meta” has no values, so it cannot be read by the way."""
    module, x = calibrated(form)
    module.to("meta")
    assert {buffer.device.type for buffer in module.buffers()} == {"meta"}
    with NoFloat64():
        y = module(x.to("meta").requires_grad_())
        y.sum().backward()
    assert y.shape == x.shape


class NoFloat64(TorchDispatchMode):
    """Fails at the first operation that gives float64, which some devices lack."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple) else (result,):
            assert not isinstance(part, Tensor) or part.dtype != torch.float64, func
        return result
