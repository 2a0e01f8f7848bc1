"""The node vectors of the ONNX standard: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, low-precision casts.

Every vector that the onnx wheel makes is put to this project's formats, or named with the reason why it cannot be.
ONNX divides by the scale, so the division is `true`.
"""

import warnings
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from qexplorer.quant.formats import Format, formats
from qexplorer.quant.formats.floating import Float
from qexplorer.quant.formats.integer import Integer
from qexplorer.quant.minifloat import E5M2
from qexplorer.quant.params import Choices, QuantParams, choose_params
from qexplorer.quant.scale_dtypes import ScaleRequest, scale_dtypes

JUDGE = "ONNX backend vectors"
NAMES = {
    "FLOAT16": "fp16", "BFLOAT16": "bf16", "FLOAT8E4M3FN": "fp8_e4m3fn", "FLOAT8E5M2": "fp8_e5m2",
    "FLOAT4E2M1": "fp4_e2m1", "INT2": "int2", "UINT2": "uint2", "INT4": "int4", "UINT4": "uint4", "INT8": "int8",
    "UINT8": "uint8", "INT16": "int16", "UINT16": "uint16",
}  # fmt: skip
OPERATORS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def cases() -> dict[str, object]:
    """Every vector of these operators, by name."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it casts what overflows
        collected = collect_testcases(None)
    for case in collected:
        name = case.name.removeprefix("test_")
        if name.startswith(("quantizelinear", "dequantizelinear", "dynamicquantizelinear", "cast_", "castlike_")):
            found[name] = case
    return found


CASES = cases()


def test_the_wheel_has_all_the_vectors_that_it_should(verdict):
    quantizing = [name for name in CASES if "linear" in name]
    assert len(quantizing) >= 13 + 14 + 3
    assert len(CASES) - len(quantizing) >= 104
    verdict.checked(0)


def array(value: object) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def type_of(value: object) -> str:
    """The ONNX type of an array or a tensor, e.g. INT4."""
    number = value.data_type if isinstance(value, TensorProto) else helper.np_dtype_to_tensor_dtype(array(value).dtype)
    return TensorProto.DataType.Name(number)


def bits(values: np.ndarray, form: Format) -> np.ndarray:
    """Values of an ONNX type as this project's codes."""
    if isinstance(form, Integer):
        return values.astype(np.int32)
    width = np.uint16 if form.code_bits == 16 else np.uint8
    return values.view(width).astype(np.int32)


def spread(scale: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """A scale (or zero point) for each value: one for all, one for each index of an axis, or one for each block."""
    if scale.size == 1:
        return np.broadcast_to(scale.reshape(()), shape)
    if block:
        return np.repeat(scale, block, axis=axis)[tuple(slice(0, n) for n in shape)]
    wide = [1] * len(shape)
    wide[axis] = -1
    return np.broadcast_to(scale.reshape(wide), shape)


def params(form: Format, scale: np.ndarray, zero_point: np.ndarray) -> QuantParams:
    low, high = (-(2 ** (form.bits - 1)) if form.signed else 0, 0) if isinstance(form, Integer) else (0, 0)
    high = low + 2**form.code_bits - 1
    return QuantParams(
        scale.astype(np.float32).ravel(), zero_point.astype(np.int32).ravel(), low, high, division="true"
    )


def settings(case) -> dict[str, int]:
    return {a.name: a.i for a in case.model.graph.node[0].attribute}


def quantized(case, inputs, outputs) -> tuple[Format, np.ndarray, np.ndarray]:
    """The format, our codes and those of the vector."""
    x = array(inputs[0]).astype(np.float32)
    form = formats[NAMES[type_of(outputs[0])]]
    axis, block = settings(case).get("axis", 1), settings(case).get("block_size", 0)
    scale = spread(array(inputs[1]).astype(np.float32), x.shape, axis, block)
    zero = array(inputs[2]).astype(np.float32) if len(inputs) > 2 else np.zeros(1)
    p = params(form, scale, spread(zero, x.shape, axis, block))
    ours = form.quantize(x.reshape(-1, 1), p).reshape(x.shape)
    return form, ours, bits(array(outputs[0]), form)


def dequantized(case, inputs, outputs) -> tuple[Format, np.ndarray, np.ndarray]:
    """The format, our values and those of the vector."""
    codes = array(inputs[0])
    form = formats[NAMES[type_of(inputs[0])]]
    axis, block = settings(case).get("axis", 1), settings(case).get("block_size", 0)
    expected = array(outputs[0])
    scale = spread(array(inputs[1]).astype(np.float32), codes.shape, axis, block)
    zero = array(inputs[2]).astype(np.float32) if len(inputs) > 2 else np.zeros(1)
    p = params(form, scale, spread(zero, codes.shape, axis, block))
    ours = form.dequantize(bits(codes, form).reshape(-1, 1), p).reshape(codes.shape)
    return form, ours.astype(expected.dtype), expected


QUANTIZE = [name for name in CASES if name.startswith("quantizelinear")]
DEQUANTIZE = [name for name in CASES if name.startswith("dequantizelinear")]
DYNAMIC = [name for name in CASES if name.startswith("dynamicquantizelinear")]
CAST = [name for name in CASES if name.startswith("cast")]


@pytest.mark.parametrize("name", QUANTIZE)
def test_quantize_linear(name, verdict):
    case = CASES[name]
    for inputs, outputs in case.data_sets:
        form, ours, expected = quantized(case, inputs, outputs)
        if not isinstance(
            form, Integer
        ):  # adding ONNX's zero point of 0 makes a negative zero positive: the same value
            ours, expected = (
                form.dequantize(c.reshape(1, -1), params(form, np.ones(1), np.zeros(1))) for c in (ours, expected)
            )
        np.testing.assert_array_equal(ours, expected)
        verdict.checked(formats=(form.name,))


@pytest.mark.parametrize("name", DEQUANTIZE)
def test_dequantize_linear(name, verdict):
    case = CASES[name]
    for inputs, outputs in case.data_sets:
        form, ours, expected = dequantized(case, inputs, outputs)
        np.testing.assert_array_equal(ours, expected)
        verdict.checked(formats=(form.name,))


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_quantize_linear(name, verdict):
    """The range of the values, widened to hold zero, to uint8: affine, as from the min/max observer."""
    for (x,), (codes, scale, zero_point) in CASES[name].data_sets:
        rows = array(x).reshape(1, -1)
        p = choose_params(rows.min(axis=1), rows.max(axis=1), 8, False, Choices("affine", division="true"))
        np.testing.assert_allclose(p.scale[0], array(scale), rtol=1e-6)
        assert p.zero_point[0] == array(zero_point)
        exact = QuantParams(array(scale).reshape(1).astype(np.float32), p.zero_point, 0, 255, division="true")
        np.testing.assert_array_equal(formats["uint8"].quantize(rows, exact)[0], array(codes).ravel())
        verdict.checked(formats=("uint8",))


def refused(source: str, target: str, name: str) -> str:
    """Why a cast cannot be put to us; empty if it can."""
    if "FNUZ" in name:
        return "FNUZ floats are not offered: no weight file in use stores them"
    if "DOUBLE" in (source, target):
        return "float64 is not a format here: it is rounded to float32 when it is read"
    if "no_saturate" in name and target == "FLOAT8E4M3FN":
        return "this project's FP8 always saturates, as torch 2.13 and NVIDIA's hardware do"
    if target in ("INT8", "UINT8"):
        return "a widening between integers quantizes nothing"
    if target.startswith(("INT", "UINT")):
        return "an integer cast has no scale and wraps; quantization saturates (QuantizeLinear above judges it)"
    return ""


def to_float(source: str, x: np.ndarray) -> np.ndarray:
    """Values of a stored type, decoded by us."""
    if source == "FLOAT8E8M0":
        return np.exp2(x.view(np.uint8).astype(np.float64) - 127).astype(np.float32)
    if source == "FLOAT":
        return x
    form = formats[NAMES[source]]
    codes = bits(x, form).reshape(-1, 1)
    return form.dequantize(codes, params(form, np.ones(codes.size), np.zeros(codes.size))).reshape(x.shape)


def to_codes(target: str, x: np.ndarray, saturate: bool) -> np.ndarray:
    """Codes of a stored type, encoded by us."""
    if target == "FLOAT8E8M0":
        return (
            np.log2(scale_dtypes["e8m0_rceil"].scale_for(ScaleRequest(np.abs(x).ravel(), 1.0, 0)))
            .astype(np.int32)
            .reshape(x.shape)
            + 127
        )
    if not saturate and target == "FLOAT8E5M2":
        return E5M2.encode(x, saturate=False)
    form = formats[NAMES[target]]
    flat = x.reshape(-1, 1)
    return form.quantize(flat, params(form, np.ones(flat.size), np.zeros(flat.size))).reshape(x.shape)


@pytest.mark.parametrize("name", CAST)
def test_low_precision_casts(name, verdict):
    case = CASES[name]
    for inputs, outputs in case.data_sets:
        source, target = type_of(inputs[0]), type_of(outputs[0])
        reason = refused(source, target, name)
        if reason:
            verdict.not_applicable(f"Cast, {'FNUZ' if 'FNUZ' in name else f'{source} to {target}'}", reason)
            return
        x = to_float(source, array(inputs[0]))
        if target == "FLOAT":
            np.testing.assert_array_equal(x, array(outputs[0]))
        else:
            _judge_codes(target, x, array(outputs[0]), "no_saturate" not in name, verdict.not_applicable)
        names = {NAMES[t] for t in (source, target) if t in NAMES}
        verdict.checked(formats=tuple(n for n in names if isinstance(formats[n], Float | Integer)))


def _judge_codes(target: str, x: np.ndarray, expected: np.ndarray, saturate: bool,
                 not_applicable: Callable[[str, str], None]) -> None:  # fmt: skip
    theirs = expected.view(np.uint8 if expected.dtype.itemsize == 1 else np.uint16).astype(np.int32)
    number = ~np.isnan(x)
    if not number.all():
        not_applicable("NaN in a cast", "NaN is counted and left out here, not encoded")
    np.testing.assert_array_equal(to_codes(target, x, saturate)[number], theirs[number])


def test_e8m0_is_what_ml_dtypes_reads(verdict):
    codes = np.arange(255, dtype=np.uint8)
    np.testing.assert_array_equal(
        to_float("FLOAT8E8M0", codes), codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    )
    verdict.checked(255)
