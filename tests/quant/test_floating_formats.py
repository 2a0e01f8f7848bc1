"""FP16 and BF16, judged by NumPy's float16, torch's bfloat16 and ml_dtypes: all patterns, all boundaries."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qexplorer.quant.formats import formats
from qexplorer.quant.params import QuantParams

PATTERNS = np.arange(2**16, dtype=np.uint16)
NONE = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), 0, 2**16 - 1)
DTYPES = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
TORCH = {"fp16": torch.float16, "bf16": torch.bfloat16}
NAMES = list(DTYPES)


def encode(name, values):
    return formats[name].quantize(np.asarray(values, np.float32)[None], NONE)[0].astype(np.uint16)


def decode(name, codes):
    return formats[name].dequantize(np.asarray(codes, np.int32)[None], NONE)[0]


def floats_of_all_patterns(name):
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return PATTERNS.view(DTYPES[name]).astype(np.float32)


def judged_encode(name, values):
    """torch's cast and NumPy's (ml_dtypes' for BF16), which must agree with each other too."""
    with np.errstate(over="ignore"):
        by_numpy = values.astype(DTYPES[name]).view(np.uint16)
    by_torch = torch.from_numpy(values).to(TORCH[name]).view(torch.uint16).numpy()
    np.testing.assert_array_equal(by_numpy, by_torch)
    return by_numpy


def boundaries(name):
    """Every representable value, every midpoint of two neighbours, and the float32 on each side of both."""
    finite = floats_of_all_patterns(name)[: 2**15]
    finite = np.unique(finite[np.isfinite(finite)].astype(np.float64))
    top = 2 * finite[-1] - finite[-2]
    middles = (finite + np.append(finite[1:], top)) / 2
    points = np.concatenate([finite, middles]).astype(np.float32)
    points = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(3e38))])
    return np.concatenate([points, -points])


@pytest.mark.parametrize("name", NAMES)
def test_all_patterns_decode_to_the_value_they_stand_for(name):
    theirs = floats_of_all_patterns(name)
    ours = decode(name, PATTERNS)
    numbers = ~np.isnan(theirs)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_array_equal(ours[numbers].view(np.uint32), theirs[numbers].view(np.uint32))


@pytest.mark.parametrize("name", NAMES)
def test_every_number_keeps_its_own_pattern(name):
    numbers = PATTERNS[~np.isnan(floats_of_all_patterns(name))]
    np.testing.assert_array_equal(encode(name, decode(name, numbers)), numbers)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_halves_and_their_neighbours_round_to_even(name):
    values = boundaries(name)
    np.testing.assert_array_equal(encode(name, values), judged_encode(name, values))


@pytest.mark.parametrize("name", NAMES)
def test_random_bit_patterns_of_float32_encode_as_the_casts_do(name, rng):
    values = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    values = values[~np.isnan(values)]
    np.testing.assert_array_equal(encode(name, values), judged_encode(name, values))


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20), st.sampled_from(NAMES))
def test_any_value_encodes_as_the_casts_do(values, name):
    values = np.array(values, np.float32)
    np.testing.assert_array_equal(encode(name, values), judged_encode(name, values))


@pytest.mark.parametrize("name", NAMES)
def test_zero_keeps_its_sign_and_nan_takes_the_code_of_zero(name):
    assert encode(name, [0.0, -0.0, np.nan, -np.nan]).tolist() == [0, 0x8000, 0, 0]


@pytest.mark.parametrize(("name", "largest"), [("fp16", 65504.0), ("bf16", 3.3895313892515355e38)])
def test_values_that_round_beyond_the_largest_become_infinite_and_are_counted(name, largest):
    form = formats[name]
    assert form.extent[1] == largest
    rows = np.array([[largest, np.nextafter(np.float32(largest), np.float32(3.4e38)), 3.4e38, -3.4e38]], np.float32)
    values = form.dequantize(form.quantize(rows, NONE), NONE)
    np.testing.assert_array_equal(values[0, 2:], [np.inf, -np.inf])
    expected = np.isinf(decode(name, judged_encode(name, rows[0])))
    assert form.outside(rows, NONE).tolist() == [expected.tolist()]


@pytest.mark.parametrize("name", NAMES)
def test_rounding_errs_by_half_a_step_at_most(name, rng):
    form = formats[name]
    for largest in (1e-7, 0.3, 1.0, 1000.0, 60000.0):
        rows = rng.uniform(-largest, largest, (1, 5000)).astype(np.float32)
        error = np.abs(form.dequantize(form.quantize(rows, NONE), NONE).astype(np.float64) - rows)
        assert error.max() <= form.half_step(NONE, largest)
