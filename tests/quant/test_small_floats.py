"""FP8, FP6, FP4 and TF32 against ml_dtypes and torch, and against exact expectations for normal values."""

import math

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.params import QuantParams
from qexplorer.quant.quantize import quantize

JUDGES = {
    "fp8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
}


def unit(groups: int = 1) -> QuantParams:
    return QuantParams(np.ones(groups, np.float32), np.zeros(groups, np.int32), 0, 255)


def judged(x: np.ndarray, name: str) -> np.ndarray:
    """The judge's codes; it is given no chance to overflow, for libraries disagree on that."""
    most = np.float32(formats[name].largest)
    return np.clip(x, -most, most).astype(JUDGES[name]).view(np.uint8)


@pytest.mark.parametrize("name", JUDGES)
def test_every_code_stands_for_the_judges_value(name: str) -> None:
    form = formats[name]
    codes = np.arange(2**form.code_bits, dtype=np.int32)
    expected = codes.astype(np.uint8).view(JUDGES[name]).astype(np.float32)
    values = form.dequantize(codes[None], unit())[0]
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values[~np.isnan(values)]), np.signbit(expected[~np.isnan(expected)]))
    info = ml_dtypes.finfo(JUDGES[name])
    assert form.largest == float(info.max)
    assert form.code_bits == info.bits == form.storage_bits


@pytest.mark.parametrize("name", JUDGES)
def test_values_ties_and_their_neighbours_get_the_judges_codes(name: str, rng: np.random.Generator) -> None:
    form = formats[name]
    levels = np.unique(np.abs(form.dequantize(np.arange(2**form.code_bits, dtype=np.int32)[None], unit())[0]))
    levels = levels[np.isfinite(levels)]
    ties = (levels[1:] + levels[:-1]) / 2
    around = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf), levels]).astype(np.float32)
    random = (rng.normal(size=1_000_000) * np.exp2(rng.uniform(-20, 17, 1_000_000))).astype(np.float32)
    x = np.concatenate([around, -around, random])
    codes = form.quantize(x[None], unit())[0]
    np.testing.assert_array_equal(codes.astype(np.uint8), judged(x, name))


@pytest.mark.parametrize("name", ["fp8_e4m3fn", "fp8_e5m2"])
def test_scaled_fp8_has_torchs_values(name: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(64, 128)).astype(np.float32)
    analysis = finish(analyze(x, QuantSpec.from_json({"format": name, "granularity": "channel:0"})))
    t = torch.from_numpy(x)
    dtype = {"fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}[name]
    scale = t.abs().amax(1, keepdim=True) / torch.finfo(dtype).max
    most = torch.finfo(dtype).max
    y = (t * (1 / scale)).clamp(-most, most).to(dtype).float() * scale
    np.testing.assert_array_equal(analysis.params.scale, scale[:, 0].numpy())
    assert analysis.metrics.mse == pytest.approx((y - t).double().square().mean().item(), rel=1e-12)
    assert analysis.metrics.clipped_fraction == 0


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_tf32_rounds_the_mantissa_to_ten_bits(x: float) -> None:
    form = formats["tf32"]
    bits = int(np.float32(abs(x)).view(np.uint32))
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) >> 13  # half to even, in integers
    code = int(form.quantize(np.array([[x]], np.float32), unit())[0, 0])
    assert code & 0x3FFFF == rounded
    value = form.dequantize(np.array([[code]], np.int32), unit())[0, 0]
    assert abs(value) == np.uint32(rounded << 13).view(np.float32)
    assert form.storage_bits == 32


@pytest.mark.parametrize(
    ("name", "clip", "mse"),
    [("fp4_e2m1", 2.92248, 0.01268490), ("fp6_e2m3", 3.74754, 0.00082915), ("fp6_e3m2", 4.54176, 0.00276611)],
)
def test_the_error_on_normal_values_is_the_integrals(name: str, clip: float, mse: float) -> None:
    """Published optimum of each code for N(0, 1): the value of its largest level, and the mean squared error there."""
    x = np.random.default_rng(3).normal(size=1_000_000).astype(np.float32)
    _, values, _ = quantize(x, QuantSpec.from_json({"format": name, "observer": f"fixed:-{clip},{clip}"}))
    squared = (values.astype(np.float64) - x) ** 2
    assert abs(squared.mean() - mse) <= 5 * squared.std() / math.sqrt(x.size)
    best = finish(analyze(x[:200_000], QuantSpec.from_json({"format": name, "observer": "mse"})))
    assert best.metrics.mse <= mse * 1.02


@pytest.mark.parametrize(("name", "sqnr"), [("fp8_e4m3fn", 31.521), ("fp8_e5m2", 25.543)])
def test_at_a_scale_of_one_normal_values_have_the_known_sqnr(name: str, sqnr: float) -> None:
    most = formats[name].largest
    x = np.random.default_rng(4).normal(size=1_000_000).astype(np.float32)
    a = finish(analyze(x, QuantSpec.from_json({"format": name, "observer": f"fixed:-{most},{most}"})))
    assert a.params.scale.tolist() == [1.0]
    assert a.metrics.sqnr_db == pytest.approx(sqnr, abs=0.02)


@pytest.mark.parametrize("name", JUDGES)
def test_what_lies_beyond_saturates_and_is_counted(name: str) -> None:
    form = formats[name]
    x = np.array([[3.5 * form.largest, -np.inf, np.nan, form.largest]], np.float32)
    values = form.dequantize(form.quantize(x, unit()), unit())
    np.testing.assert_array_equal(values, np.array([[form.largest, -form.largest, 0, form.largest]], np.float32))
    assert form.outside(x, unit()).tolist() == [2]
