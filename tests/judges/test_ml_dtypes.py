"""ml_dtypes: every code of every small float decoded, a million values and all boundaries encoded."""

import ml_dtypes
import numpy as np
import pytest

from qexplorer.quant.formats import Format, formats
from qexplorer.quant.params import QuantParams
from qexplorer.quant.scale_dtypes import ScaleRequest, scale_dtypes

JUDGE = "ml_dtypes"
TYPES = {
    "fp8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
}
SMALL = [name for name in TYPES if formats[name].code_bits <= 8]


def one(form: Format) -> QuantParams:
    return QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), 0, 2**form.code_bits - 1)


def theirs(name: str, values: np.ndarray) -> np.ndarray:
    """Their codes of values that this project would saturate first."""
    form = formats[name]
    if name in SMALL:
        values = np.clip(values, form.extent[0], form.extent[1])
    with np.errstate(over="ignore"):
        coded = values.astype(TYPES[name])
    return coded.view(np.uint8 if form.code_bits <= 8 else np.uint16).astype(np.int32)


def decoded(name: str) -> np.ndarray:
    form = formats[name]
    codes = np.arange(2**form.code_bits).astype(np.uint8 if form.code_bits <= 8 else np.uint16)
    with np.errstate(invalid="ignore"):
        return codes.view(TYPES[name]).astype(np.float32)


@pytest.mark.parametrize("name", TYPES)
def test_every_code_stands_for_their_value(name, verdict):
    form = formats[name]
    codes = np.arange(2**form.code_bits, dtype=np.int32)
    ours = form.dequantize(codes[None], one(form))[0]
    np.testing.assert_array_equal(ours, decoded(name))
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(decoded(name)) & ~np.isnan(ours) | np.signbit(ours) &
                                  np.isnan(ours))  # fmt: skip
    verdict.checked(len(codes), formats=(name,))


@pytest.mark.parametrize("name", TYPES)
def test_a_million_values_of_all_sizes_get_their_codes(name, rng, verdict):
    form = formats[name]
    _, most, _ = form.extent
    wide = rng.normal(size=500_000) * np.exp2(rng.uniform(-30, 2, 500_000)) * min(most, 1e30)
    near = rng.uniform(-1.2, 1.2, 500_000) * min(most, 1e30)
    values = np.concatenate([wide, near]).astype(np.float32)
    np.testing.assert_array_equal(form.quantize(values[None], one(form))[0], theirs(name, values))
    verdict.checked(len(values), formats=(name,))


@pytest.mark.parametrize("name", TYPES)
def test_every_boundary_and_its_neighbours_get_their_codes(name, verdict):
    form = formats[name]
    levels = np.unique(decoded(name)[np.isfinite(decoded(name))].astype(np.float64))
    middles = (levels[1:] + levels[:-1]) / 2
    ends = [levels[-1] * f for f in (1.0, 1.03, 1.07, 1.5)]
    exact = np.concatenate([levels, middles, ends, [-e for e in ends], [0.0, -0.0]])
    with np.errstate(over="ignore", under="ignore"):
        exact = exact.astype(np.float32)
        exact = exact[np.isfinite(exact)]
        infinity = np.float32(np.inf)
        values = np.concatenate([exact, np.nextafter(exact, infinity), np.nextafter(exact, -infinity)])
    values = values[np.isfinite(values)]
    np.testing.assert_array_equal(form.quantize(values[None], one(form))[0], theirs(name, values))
    verdict.checked(len(values), formats=(name,))


def test_tf32_is_float32_with_ten_bits_of_mantissa(rng, verdict):
    """ml_dtypes has no TF32; rounding the 13 lower bits away, half to even, is its definition."""
    values = (rng.normal(size=100_000) * np.exp2(rng.uniform(-120, 120, 100_000))).astype(np.float32)
    pattern = values.view(np.uint32)
    rounded = pattern + np.uint32(0xFFF) + ((pattern >> np.uint32(13)) & np.uint32(1))
    expected = (rounded & np.uint32(0xFFFFE000)).view(np.float32)
    form = formats["tf32"]
    ours = form.dequantize(form.quantize(values[None], one(form)), one(form))[0]
    np.testing.assert_array_equal(ours, expected)
    verdict.checked(len(values))


@pytest.mark.parametrize("dtype", [kind.name for kind in scale_dtypes if kind.power])
def test_a_power_of_two_scale_is_a_code_of_e8m0(dtype, rng, verdict):
    reach = (rng.uniform(0.5, 1, 100_000) * np.exp2(rng.uniform(-115, 125, 100_000))).astype(np.float32)
    scale = scale_dtypes[dtype].scale_for(ScaleRequest(reach, 448.0, 3))
    np.testing.assert_array_equal(scale, scale.astype(ml_dtypes.float8_e8m0fnu).astype(np.float32))
    exponent = np.log2(reach.astype(np.float64)) - np.log2(448.0)
    up = np.log2(448) - 8  # how far the level lies above its own power of two
    raised = 1 - np.log2(1.9375)  # where three bits of mantissa round up to the next power
    slack = {
        "e8m0": (up - 1, up),
        "e8m0_ceil": (up, up + 1),
        "e8m0_rceil": (0, 1),
        "e8m0_even": (up - 1 + raised, up + raised),
        "e8m0_round": (-0.5, 0.5),
    }[dtype]
    off = (np.log2(scale.astype(np.float64)) - exponent)[(reach > 2.0**-110) & (reach < 2.0**120)]
    assert slack[0] - 1e-9 <= off.min()
    assert off.max() <= slack[1] + 1e-9
    verdict.checked(len(reach))


@pytest.mark.parametrize(("dtype", "judge"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_a_16_bit_scale_is_theirs(dtype, judge, rng, verdict):
    reach = (rng.uniform(0.5, 1, 100_000) * np.exp2(rng.uniform(-18, 10, 100_000))).astype(np.float32)
    scale = scale_dtypes[dtype].scale_for(ScaleRequest(reach, 7.0, 2))
    np.testing.assert_array_equal(scale, (reach / np.float32(7)).astype(judge).astype(np.float32))
    verdict.checked(len(reach))
