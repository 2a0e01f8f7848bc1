"""torchao's affine primitives: parameters and codes for every way to choose them, and every way to divide a tensor."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchao.quantization import quant_primitives as ao

from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize

JUDGE = "torchao primitives"
MAPPINGS = {
    ("symmetric", "full_span"): ao.MappingType.SYMMETRIC,
    ("symmetric", "no_clipping"): ao.MappingType.SYMMETRIC_NO_CLIPPING_ERR,
    ("affine", "restricted"): ao.MappingType.ASYMMETRIC,
}
EPS = float(torch.finfo(torch.float32).smallest_normal)
"""torchao's own least scale where none is given."""


def theirs(x: np.ndarray, block: tuple[int, ...], scheme: str, convention: str, bits: int, signed: bool):
    """Codes, scales and values as torchao has them, with this project's smallest scale."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    dtype = torch.int8 if signed else torch.uint8
    given_x = torch.from_numpy(x)
    scale, zero = ao.choose_qparams_affine(
        given_x, MAPPINGS[scheme, convention], block, dtype, low, high, EPS, torch.float32, torch.int32
    )
    codes = ao.quantize_affine(given_x, block, scale, zero, dtype, low, high)
    values = ao.dequantize_affine(codes, block, scale, zero, dtype, low, high, output_dtype=torch.float32)
    return codes.numpy().astype(np.int32), scale.numpy(), values.numpy()


def ours(x: np.ndarray, granularity: str, scheme: str, convention: str, bits: int, signed: bool):
    spec = QuantSpec.from_json(
        {"format": f"{'' if signed else 'u'}int{bits}", "scheme": scheme, "convention": convention,
         "granularity": granularity}
    )  # fmt: skip
    codes, values, params = quantize(x, spec)
    return codes, params.scale, values


DIVISIONS = [("tensor", (32, 64)), ("channel:0", (1, 64)), ("channel:1", (32, 1)), ("group:16", (1, 16)),
             ("group:64", (1, 64)),
             ("block:8x16", (8, 16)), ("block:32x8", (32, 8))]  # fmt: skip


@pytest.mark.parametrize(("scheme", "convention"), MAPPINGS)
@pytest.mark.parametrize(("granularity", "block"), DIVISIONS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_parameters_codes_and_values_are_torchaos(granularity, block, scheme, convention, bits, rng, verdict):
    x = (rng.laplace(size=(32, 64)) * rng.uniform(0.01, 10, (32, 1))).astype(np.float32)
    codes, scale, values = theirs(x, block, scheme, convention, bits, signed=True)
    our_codes, our_scale, our_values = ours(x, granularity, scheme, convention, bits, signed=True)
    np.testing.assert_array_equal(np.sort(our_scale), np.sort(scale.ravel()))
    np.testing.assert_array_equal(our_codes, codes)
    np.testing.assert_array_equal(our_values, values)
    verdict.checked(x.size, formats=(f"int{bits}",))


@given(
    hnp.arrays(np.float32, (4, 8), elements=st.floats(-1e3, 1e3, width=32)),
    st.sampled_from(list(MAPPINGS)),
    st.sampled_from([("tensor", (4, 8)), ("channel:0", (1, 8)), ("group:4", (1, 4)), ("block:2x4", (2, 4))]),
    st.integers(2, 8),
)
def test_any_values_get_torchaos_codes(x, mapping, division, bits):
    codes, scale, values = theirs(x, division[1], *mapping, bits, signed=True)
    our_codes, our_scale, our_values = ours(x, division[0], *mapping, bits, signed=True)
    np.testing.assert_array_equal(np.sort(our_scale), np.sort(scale.ravel()))
    np.testing.assert_array_equal(our_codes, codes)
    np.testing.assert_array_equal(our_values, values)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_float_zero_point_gives_the_values_of_tinygemm_but_for_its_last_bits(bits, rng, verdict):
    """tinygemm keeps the value of the middle code, this project that of the lowest: the same line."""
    x = rng.normal(1, 2, (64, 32)).astype(np.float32)
    scale, zero = ao._choose_qparams_affine_tinygemm(
        torch.from_numpy(x), ao.MappingType.ASYMMETRIC, (1, 32), torch.uint8, 0, 2**bits - 1, EPS, torch.float32,
        torch.float32,
    )  # fmt: skip
    spec = QuantSpec.from_json(
        {"format": f"uint{bits}", "scheme": "affine_float", "granularity": "channel:0"}
    )  # fmt: skip
    _, values, params = quantize(x, spec)
    lo, hi = np.minimum(x.min(axis=1), 0), np.maximum(x.max(axis=1), 0)
    reaches_zero = (lo == x.min(axis=1)) & (hi == x.max(axis=1))  # torchao widens the range to hold zero, HQQ does not
    np.testing.assert_allclose(params.scale[reaches_zero], scale.numpy().ravel()[reaches_zero], rtol=1e-6)
    codes = ao._quantize_affine_tinygemm(torch.from_numpy(x), (1, 32), scale, zero, torch.uint8, 0, 2**bits - 1)
    restored = ao._dequantize_affine_tinygemm(codes, (1, 32), scale, zero, torch.uint8, 0, 2**bits - 1).numpy()
    off = np.abs(values - restored)[reaches_zero]
    step = params.scale[reaches_zero, None]
    assert (off < step * 1e-3).mean() > 0.999  # a value half way between two levels may go to either
    assert (off < step * 1.001).all()
    verdict.checked(int(reaches_zero.sum()) * 32, formats=(f"uint{bits}",))
