"""MX and NVFP4 against torchao: scales and elements bit for bit, and torchao's published corner cases of MXFP8.

The corner cases are numbers from torchao's `torchao/testing/_mxfp8_test_utils.py` and `test_mx_tensor.py` (BSD-3), in
the words of this test: what each block holds, and the bytes that it must become.
"""

import ml_dtypes
import numpy as np
import pytest
import torch
from torchao.prototype.mx_formats.config import ScaleCalculationMode
from torchao.prototype.mx_formats.mx_tensor import to_mx
from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale

from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.quantize import quantize

JUDGE = "torchao MX and NVFP4"
MODES = {"e8m0": "FLOOR", "e8m0_ceil": "CEIL", "e8m0_rceil": "RCEIL", "e8m0_even": "EVEN"}
ELEMENTS = {
    "mxfp8_e4m3": torch.float8_e4m3fn,
    "mxfp8_e5m2": torch.float8_e5m2,
    "mxfp6_e2m3": "fp6_e2m3",
    "mxfp6_e3m2": "fp6_e3m2",
    "mxfp4": torch.float4_e2m1fn_x2,
}


def data(kind: str, rng: np.random.Generator) -> np.ndarray:
    shape = (256, 512)
    match kind:
        case "normal":
            return rng.normal(size=shape).astype(np.float32)
        case "wide":
            return (rng.normal(size=shape) * np.exp2(rng.integers(-60, 60, (256, 1)))).astype(np.float32)
        case "powers of two":
            return (np.exp2(rng.integers(-8, 8, shape)) * rng.choice([-1, 1], shape)).astype(np.float32)
        case _:
            return rng.laplace(size=shape).astype(np.float32)


def bytes_of_scale(scale: np.ndarray) -> np.ndarray:
    return scale.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)


def unpacked(codes: torch.Tensor, name: str) -> np.ndarray:
    raw = codes.view(torch.uint8).numpy()
    if name != "mxfp4":
        return raw
    return np.stack([raw & 15, raw >> 4], axis=-1).reshape(len(raw), -1)


@pytest.mark.parametrize("kind", ["normal", "laplace", "wide", "powers of two"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ELEMENTS)
def test_scales_and_elements_are_torchaos(name, mode, kind, rng, verdict):
    x = data(kind, rng)
    codes, _, params = quantize(x, QuantSpec.from_json({"format": name, "scale_dtype": mode}))
    scale, theirs = to_mx(torch.from_numpy(x), ELEMENTS[name], 32, ScaleCalculationMode[MODES[mode]])
    np.testing.assert_array_equal(bytes_of_scale(params.scale), scale.view(torch.uint8).numpy().ravel())
    np.testing.assert_array_equal(codes, unpacked(theirs, name))
    verdict.checked(x.size, formats=(name,))


@pytest.mark.parametrize("name", ELEMENTS)
def test_decoded_blocks_are_the_elements_times_the_power_of_two(name, rng, verdict):
    form = {"mxfp8_e4m3": "float8_e4m3fn", "mxfp8_e5m2": "float8_e5m2", "mxfp6_e2m3": "float6_e2m3fn",
            "mxfp6_e3m2": "float6_e3m2fn", "mxfp4": "float4_e2m1fn"}[name]  # fmt: skip
    codes, values, params = quantize(rng.normal(size=(64, 96)).astype(np.float32), QuantSpec(formats[name]))
    elements = codes.astype(np.uint8).view(getattr(ml_dtypes, form)).astype(np.float32)
    np.testing.assert_array_equal(values, elements * np.repeat(params.scale, 32).reshape(64, 96))
    verdict.checked(values.size, formats=(name,))


def block(value: float, first: float | None = None) -> np.ndarray:
    x = np.full((1, 32), value, np.float32)
    x[0, 0] = value if first is None else first
    return x


TINY, LEAST, LARGEST = float(np.finfo(np.float32).tiny), 2.0**-149, float(np.finfo(np.float32).max)
JUST_OVER = float(np.uint32(0x40600001).view(np.float32))
JUST_UNDER = float(np.uint32(0x43FFFFFF).view(np.float32))
CORNERS = {  # what the block holds: (values, first), then scale byte and code of FLOOR and of RCEIL
    "zeros": ((0.0, None), (0, 0x00), (0, 0x00)),
    "the smallest normal number": ((TINY, None), (0, 0x40), (0, 0x40)),
    "448": ((448.0, None), (127, 0x7E), (127, 0x7E)),
    "-448": ((-448.0, None), (127, 0xFE), (127, 0xFE)),
    "the largest float32": ((LARGEST, None), (246, 0x7E), (247, 0x78)),
    "its negative": ((-LARGEST, None), (246, 0xFE), (247, 0xF8)),
    "the smallest float32": ((LEAST, None), (0, 0x00), (0, 0x00)),
    "its negative too": ((-LEAST, None), (0, 0x80), (0, 0x80)),
    "ones and a tiny number": ((1.0, LEAST), (119, 0x78), (119, 0x78)),
    "ones and a tiny negative number": ((1.0, -LEAST), (119, 0x78), (119, 0x78)),
    "one step over 3.5": ((JUST_OVER, None), (120, 0x7E), (121, 0x76)),
    "one step under 512": ((JUST_UNDER, None), (127, 0x7E), (128, 0x78)),
    "480": ((480.0, None), (127, 0x7E), (128, 0x77)),
    "-480": ((-480.0, None), (127, 0xFE), (128, 0xF7)),
}


@pytest.mark.parametrize("mode", ["e8m0", "e8m0_rceil"])
@pytest.mark.parametrize("corner", CORNERS)
def test_corner_cases_have_the_published_bytes(corner, mode, verdict):
    (value, first), floor, rceil = CORNERS[corner]
    scale, code = floor if mode == "e8m0" else rceil
    x = block(value, first)
    codes, _, params = quantize(x, QuantSpec.from_json({"format": "mxfp8_e4m3", "scale_dtype": mode}))
    assert bytes_of_scale(params.scale).tolist() == [scale]
    assert set(codes[0, 1:].tolist()) == {code}
    assert codes[0, 0] == (code if first is None else 0x80 * (first < 0))
    verdict.checked(formats=("mxfp8_e4m3",))


def test_not_a_number_is_left_out_and_does_not_spoil_its_block(verdict):
    x = block(1.0, float("nan"))
    _, values, params = quantize(x, QuantSpec(formats["mxfp8_e4m3"]))
    assert bytes_of_scale(params.scale).tolist() == [119]
    assert set(values[0, 1:].tolist()) == {1.0}
    verdict.not_applicable("3 corner cases × 2 modes: NaN or infinity in a block",
                           "MX makes the whole block NaN; here such values are counted and left out")  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "byte"),
    [(0x1F800000, 63), (0x1F800001, 64), (0x3F7FFFFF, 127), (0x3F800000, 127), (0x3F800001, 128), (0x5F800000, 191),
     (0x5F800001, 192), (0x00400000, 0), (0x00400001, 1), (0x007FFFFF, 1), (0x00800000, 1), (0, 0), (1, 0),
     (0x7F000000, 254)],
)  # fmt: skip
def test_the_least_power_of_two_that_clips_nothing_has_the_published_byte(bits, byte, verdict):
    from qexplorer.quant.scale_dtypes import ScaleRequest, scale_dtypes

    reach = np.array([bits], np.uint32).view(np.float32)
    assert bytes_of_scale(scale_dtypes["e8m0_rceil"].scale_for(ScaleRequest(reach, 1.0, 0))).tolist() == [byte]
    verdict.checked()


def test_nvfp4_with_true_division_has_the_values_of_modelopts_arithmetic(rng, verdict):
    """As in `nvfp4_tensor.py` of NVIDIA's ModelOpt: amax/(6·448) for the tensor, amax/6 beside it as float8 for blocks,
    both divided by; casts by ml_dtypes. The smallest tensors too.
    """
    for size in (1.0, 1e-9):
        x = (rng.normal(size=(64, 256)) * size).astype(np.float32)
        blocks, six = x.reshape(-1, 16), np.float32(6)
        tensor = np.abs(x).max() / (six * np.float32(448))
        block = (np.abs(blocks).max(axis=1) / six / tensor).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        scale = (block * tensor)[:, None]
        y = (blocks / scale).astype(ml_dtypes.float4_e2m1fn).astype(np.float32) * scale
        np.testing.assert_array_equal(quantize(x, QuantSpec.parse("nvfp4 true"))[1], y.reshape(x.shape))
        verdict.checked(x.size, formats=("nvfp4",))


@pytest.mark.parametrize("k", [-20, 0, 9])
def test_nvfp4_has_torchaos_block_scales_and_codes(k, rng, verdict):
    x = rng.normal(size=(128, 256)).astype(np.float32)
    x *= np.float32(2.0**k * 448 * 6) / np.abs(x).max()  # the tensor's scale is then a power of two: one reciprocal
    codes, values, params = quantize(x, QuantSpec(formats["nvfp4"]))
    given = torch.from_numpy(x)
    tensor_scale = per_tensor_amax_to_scale(given.abs().max())
    scales, packed = nvfp4_quantize(given, 16, tensor_scale)
    np.testing.assert_array_equal(params.scale, (scales.float() * tensor_scale).numpy().ravel())
    raw = packed.view(torch.uint8).numpy()
    np.testing.assert_array_equal(codes, np.stack([raw & 15, raw >> 4], axis=-1).reshape(x.shape))
    assert np.isfinite(values).all()
    verdict.checked(x.size, formats=("nvfp4",))


def test_nvfp4_scales_are_torchaos_for_any_tensor_scale(rng, verdict):
    x = rng.laplace(size=(128, 256)).astype(np.float32)
    params = quantize(x, QuantSpec(formats["nvfp4"]))[2]
    given = torch.from_numpy(x)
    tensor_scale = per_tensor_amax_to_scale(given.abs().max())
    scales, _ = nvfp4_quantize(given, 16, tensor_scale)
    np.testing.assert_array_equal(params.scale, (scales.float() * tensor_scale).numpy().ravel())
    verdict.checked(len(params.scale), formats=("nvfp4",))


def test_mxint8_is_int8_over_64_with_the_power_of_two_of_the_extreme(rng, verdict):
    x = rng.normal(size=(64, 64)).astype(np.float32)
    codes, values, params = quantize(x, QuantSpec(formats["mxint8"]))
    _, exponent = np.frexp(np.abs(x.reshape(-1, 32)).max(axis=1))
    shared = np.exp2(
        exponent - 1.0
    )  # OCP MX v1.0: the element is the code · 2⁻⁶, the scale 2^floor(log2 of the extreme)
    np.testing.assert_array_equal(params.scale, (shared / 64).astype(np.float32))
    scaled = x.reshape(-1, 32).astype(np.float64) / shared[:, None] * 64
    np.testing.assert_array_equal(codes.reshape(-1, 32), np.clip(np.rint(scaled), -127, 127))
    np.testing.assert_array_equal(values.reshape(-1, 32), codes.reshape(-1, 32) / 64 * shared[:, None])
    verdict.checked(x.size)
