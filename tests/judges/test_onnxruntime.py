"""onnxruntime: QuantizeLinear and DequantizeLinear as it runs them (true division), and how it chooses parameters."""

from functools import cache

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper
from onnxruntime.quantization.quant_utils import compute_scale_zp

from qexplorer.quant.formats import formats
from qexplorer.quant.formats.integer import Integer
from qexplorer.quant.params import Choices, QuantParams

JUDGE = "onnxruntime"
TYPES = {
    "int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16, "uint16": TensorProto.UINT16,
    "int4": TensorProto.INT4, "uint4": TensorProto.UINT4, "fp8_e4m3fn": TensorProto.FLOAT8E4M3FN,
    "fp8_e5m2": TensorProto.FLOAT8E5M2,
}  # fmt: skip
OPSET = 21


@cache
def session(name: str, scale: float, zero_point: int) -> ort.InferenceSession:
    """x → QuantizeLinear → DequantizeLinear → y with these parameters."""
    kind = TYPES[name]
    given_scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [scale])
    given_zero = helper.make_tensor("zero", kind, [], [zero_point])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], [given_scale, given_zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ours(name: str, x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    form = formats[name]
    low = (-(2 ** (form.bits - 1)) if form.signed else 0) if isinstance(form, Integer) else 0
    p = QuantParams(np.array([scale], np.float32), np.array([zero_point], np.int32), low, low + 2**form.code_bits - 1,
                    division="true")  # fmt: skip
    return form.dequantize(form.quantize(x[None], p), p)[0]


def zero_points(name: str) -> list[int]:
    form = formats[name]
    if not isinstance(form, Integer):
        return [0]
    low = -(2 ** (form.bits - 1)) if form.signed else 0
    return [low, low + 1, low + 2 ** (form.bits - 1) + 1, low + 2**form.bits - 1]


@pytest.mark.parametrize("scale", [0.0123, 1 / 3, 2.0**-6])
@pytest.mark.parametrize("name", TYPES)
def test_quantizing_and_back_gives_its_values(name, scale, rng, verdict):
    most = 300 if not isinstance(formats[name], Integer) else 2.0 ** formats[name].bits
    x = np.concatenate([rng.normal(size=5000) * most / 3, np.arange(-300, 300) + 0.5]).astype(np.float32)
    x = x * np.float32(scale)
    for zero_point in zero_points(name):
        expected = session(name, scale, zero_point).run(["y"], {"x": x})[0]
        np.testing.assert_array_equal(ours(name, x, scale, zero_point), expected)
        verdict.checked(len(x), formats=(name,))


@given(
    hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from(["int8", "uint8", "int16", "uint16", "int4", "uint4", "fp8_e4m3fn"]),
    st.sampled_from([0.5, 0.1, 3.7]),
)
def test_any_values_give_its_values(x, name, scale):
    zero_point = zero_points(name)[-2 if len(zero_points(name)) > 1 else 0]
    np.testing.assert_array_equal(
        ours(name, x, scale, zero_point), session(name, scale, zero_point).run(["y"], {"x": x})[0]
    )


@given(st.floats(-100, 0, width=32), st.floats(2.0**-7, 100, width=32))
def test_affine_parameters_are_its_own(low, high):
    zero, scale = compute_scale_zp(np.float32(low), np.float32(high), np.int32(0), np.int32(255))
    p = formats["uint8"].choose(np.array([low], np.float32), np.array([high], np.float32), Choices("affine"))
    assert p.scale[0] == pytest.approx(float(np.asarray(scale).item()), rel=1e-6)
    exact = -low / (high - low) * 255
    if abs(exact - round(exact)) < 0.499:  # at a tie float32 and float64 part
        assert p.zero_point[0] == int(np.asarray(zero).item())


@given(st.floats(-100, 100, width=32), st.floats(2.0**-7, 100, width=32))
def test_restricted_symmetric_parameters_are_its_own(low, high):
    low, high = min(low, high), max(low, high)
    zero, scale = compute_scale_zp(np.float32(low), np.float32(high), np.int32(-127), np.int32(127), symmetric=True)
    p = formats["int8"].choose(np.array([low], np.float32), np.array([high], np.float32), Choices())
    assert p.scale[0] == pytest.approx(float(np.asarray(scale).item()), rel=1e-6)
    assert p.zero_point[0] == int(np.asarray(zero).item()) == 0


def test_what_it_does_not_run_is_named(verdict):
    verdict.not_applicable("E2M1", "onnxruntime has no CPU kernel for it; the ONNX vectors judge it")
    verdict.not_applicable("int2, uint2", "opset 25; the ONNX vectors judge them")
