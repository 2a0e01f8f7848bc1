"""Integer fake-quantization, judged bit for bit by torch's operators and by ONNX's definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.quant.formats import formats
from qexplorer.quant.formats.integer import Integer
from qexplorer.quant.params import QuantParams
from qexplorer.quant.rounding import HALF_EVEN, roundings

JUDGE = "torch fake_quantize"

SIGNED = [name for name in formats.names if name.startswith("int")]
UNSIGNED = [name for name in formats.names if name.startswith("uint")]


def params(form: Integer, scale, zero_point, division="reciprocal", rounding=HALF_EVEN) -> QuantParams:
    qmin, qmax = (-(2 ** (form.bits - 1)), 2 ** (form.bits - 1) - 1) if form.signed else (0, 2**form.bits - 1)
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    zero_points = np.broadcast_to(np.asarray(zero_point, np.int32), scales.shape)
    return QuantParams(scales, zero_points, qmin, qmax, rounding, division)


def fake_quantize(form: Integer, rows: np.ndarray, p: QuantParams) -> np.ndarray:
    return form.dequantize(form.quantize(rows, p), p)


def same_bits(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal as bit patterns, but for the sign of zero: an integer code has no negative zero."""
    np.testing.assert_array_equal((ours + 0.0).view(np.uint32), (theirs + 0.0).view(np.uint32))


def torch_per_tensor(rows: np.ndarray, p: QuantParams) -> np.ndarray:
    y = torch.fake_quantize_per_tensor_affine(
        torch.from_numpy(rows), float(p.scale[0]), int(p.zero_point[0]), p.qmin, p.qmax
    )
    return y.numpy()


def torch_per_channel(rows: np.ndarray, p: QuantParams) -> np.ndarray:
    y = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(rows), torch.from_numpy(p.scale), torch.from_numpy(p.zero_point.copy()), 0, p.qmin, p.qmax
    )
    return y.numpy()


@pytest.mark.parametrize("name", SIGNED + UNSIGNED)
@pytest.mark.parametrize("scale", [0.0123, 0.1, 1 / 3, 2.0**-5, 7.7])
def test_random_values_get_torchs_codes(name, scale, rng, verdict):
    form = formats[name]
    p = params(form, scale, 0)
    for z in {p.qmin, p.qmin + 1, 0 if form.signed else 1, p.qmax}:
        q = params(form, scale, z)
        rows = (rng.normal(size=(1, 4000)) * scale * 2**form.bits / 3).astype(np.float32)
        same_bits(fake_quantize(form, rows, q), torch_per_tensor(rows, q))
        verdict.checked(rows.size, formats=(name,))


@pytest.mark.parametrize("name", SIGNED + UNSIGNED)
@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_ties_go_to_the_even_integer_before_an_odd_or_even_zero_point_is_added(name, offset, verdict):
    form = formats[name]
    p = params(form, 2.0**-4, 0)
    p = params(form, 2.0**-4, min(p.qmin + offset, p.qmax))
    halves = np.arange(p.qmin - p.qmax - 3, p.qmax - p.qmin + 3)[:4000] + 0.5
    rows = (halves * 2.0**-4).astype(np.float32)[None]
    same_bits(fake_quantize(form, rows, p), torch_per_tensor(rows, p))
    expected = np.clip(np.rint(halves) + p.zero_point[0], p.qmin, p.qmax)
    np.testing.assert_array_equal(form.quantize(rows, p)[0], expected)
    verdict.checked(rows.size, formats=(name,))


def test_an_odd_zero_point_does_not_turn_a_tie():
    form = formats["uint8"]
    rows = np.array([[0.5, 1.5, 2.5, -0.5, -1.5]], np.float32)
    assert form.quantize(rows, params(form, 1.0, 7)).tolist() == [[7, 9, 9, 7, 5]]


@given(
    rows=hnp.arrays(np.float32, (3, 17), elements=st.floats(-1e4, 1e4, width=32)),
    scales=st.lists(st.floats(2.0**-10, 100, width=32), min_size=3, max_size=3),
    zero_points=st.lists(st.integers(-128, 127), min_size=3, max_size=3),
    bits=st.integers(2, 8),
)
def test_every_channel_gets_torchs_values(rows, scales, zero_points, bits):
    form = formats[f"int{bits}"]
    zero_points = [z % 2**bits - 2 ** (bits - 1) for z in zero_points]
    p = params(form, scales, zero_points)
    same_bits(fake_quantize(form, rows, p), torch_per_channel(rows, p))


def test_outliers_saturate_at_the_outermost_codes():
    form = formats["int8"]
    p = params(form, 0.01, 3)
    rows = np.array([[1e9, -1e9, 3e6, -3e6, 1.2401, -1.3201]], np.float32)
    same_bits(fake_quantize(form, rows, p), torch_per_tensor(rows, p))
    assert form.quantize(rows, p).tolist() == [[127, -128, 127, -128, 127, -128]]
    infinite = np.array([[np.inf, -np.inf, np.nan]], np.float32)
    assert form.quantize(infinite, p).tolist() == [[127, -128, 3]]


@pytest.mark.parametrize("name", ["int8", "int4", "uint8", "int16"])
def test_true_division_follows_onnx(name, rng):
    form = formats[name]
    for scale in np.array([0.0123, 1 / 3, 0.7], np.float32):
        ties = ((np.arange(-200, 200) + 0.5) * scale).astype(np.float32)
        rows = np.concatenate([ties, (rng.normal(size=4000) * scale * 40).astype(np.float32)])[None]
        p = params(form, scale, 1, division="true")
        onnx = np.clip(np.rint(rows / scale) + 1, p.qmin, p.qmax)
        np.testing.assert_array_equal(form.quantize(rows, p), onnx)


def test_the_two_divisions_are_different_functions_at_ties():
    form = formats["int8"]
    rows = ((np.arange(-100, 100) + 0.5) * np.float32(0.0123)).astype(np.float32)[None]
    by_reciprocal = form.quantize(rows, params(form, 0.0123, 0))
    by_division = form.quantize(rows, params(form, 0.0123, 0, division="true"))
    differing = int((by_reciprocal != by_division).sum())
    assert differing > 20
    same_bits(fake_quantize(form, rows, params(form, 0.0123, 0)), torch_per_tensor(rows, params(form, 0.0123, 0)))


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_even", [-2, -2, 0, 0, 2, 2, 2, -2, 1]),
        ("half_away", [-3, -2, -1, 1, 2, 3, 2, -2, 1]),
        ("half_up", [-2, -1, 0, 1, 2, 3, 2, -2, 1]),
        ("toward_zero", [-2, -1, 0, 0, 1, 2, 1, -1, 0]),
    ],
)
def test_rounding_rules_differ_at_halves(rounding, expected):
    form = formats["int8"]
    rows = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1.75, -1.75, 0.75]], np.float32)
    assert form.quantize(rows, params(form, 1.0, 0, rounding=roundings.read(rounding))).tolist() == [expected]


@pytest.mark.parametrize("rounding", ["half_even", "half_away", "half_up"])
def test_the_largest_float_below_a_half_rounds_to_zero(rounding):
    form = formats["int8"]
    just_below = np.nextafter(np.float32(0.5), np.float32(0))
    rows = np.array([[just_below, -just_below]], np.float32)
    assert form.quantize(rows, params(form, 1.0, 0, rounding=roundings.read(rounding))).tolist() == [[0, 0]]


@given(st.floats(-300, 300, width=32), st.floats(-300, 300, width=32), st.sampled_from(SIGNED[:-1]))
def test_quantizing_is_monotone_and_idempotent(a, b, name):
    form = formats[name]
    p = params(form, 0.37, 1)
    rows = np.array([[min(a, b), max(a, b)]], np.float32)
    once = form.quantize(rows, p)
    assert once[0, 0] <= once[0, 1]
    np.testing.assert_array_equal(form.quantize(form.dequantize(once, p), p), once)


@given(hnp.arrays(np.float32, (1, 50), elements=st.floats(-100, 100, width=32)), st.integers(2, 8))
def test_values_inside_the_range_err_by_half_a_step_at_most(rows, bits):
    form = formats[f"int{bits}"]
    scale = np.float32(100 / (2 ** (bits - 1) - 1))
    p = params(form, scale, 0)
    error = np.abs(fake_quantize(form, rows, p).astype(np.float64) - rows)
    assert error.max() <= float(scale) / 2 * (1 + 1e-5)
    assert not form.outside(rows, p).any()
