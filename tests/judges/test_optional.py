"""Packages that are large or seldom needed, so extras for a nightly run.

`pip install --no-deps bitsandbytes==0.50.2 optimum-quanto==0.2.7 brevitas==0.13.4 dependencies==2.0.1 unfoldNd
safetensors huggingface_hub`, and in an environment of their own, since they want other versions of what they share,
`pip install compressed-tensors==0.20.1 nvidia-modelopt==0.47.0 hqq==0.2.8.post1`. All run without a GPU. A judge that
is absent is skipped and named in the table of scripts/judges.py.
"""

import importlib
import warnings
from types import ModuleType

import numpy as np
import pytest
import torch

from qexplorer.quant import QuantSpec
from qexplorer.quant.quantize import quantize

JUDGE = "bitsandbytes, optimum-quanto, brevitas, compressed-tensors, ModelOpt, hqq (optional)"


def judge(name: str) -> ModuleType:
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name} is absent: it is an extra for a nightly run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def spec(**fields: str) -> QuantSpec:
    return QuantSpec.from_json(fields)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kind"), [("nf4", "nf4"), ("fp4_bnb", "fp4")])
@pytest.mark.parametrize("double", [False, True])
def test_bitsandbytes_codes_and_values(name, kind, double, rng, verdict):
    functional = judge("bitsandbytes.functional")
    x = rng.normal(size=(256, 1024)).astype(np.float32)
    packed, state = functional.quantize_4bit(
        torch.from_numpy(x), blocksize=64, quant_type=kind, compress_statistics=double
    )
    raw = packed.numpy().ravel()
    codes, values, params = quantize(
        x, spec(format=name, granularity="group:64", scale_dtype="double" if double else "float32")
    )
    magnitudes = np.stack([raw >> 4, raw & 15], axis=-1).ravel()
    if name == "fp4_bnb":  # codes 0 and 8 are the two zeros, and only bitsandbytes uses the second
        magnitudes = np.where(magnitudes == 8, 0, magnitudes)
    np.testing.assert_array_equal(codes.ravel(), magnitudes)
    theirs = functional.dequantize_4bit(packed, state).numpy().reshape(-1, 64)
    same = np.ones(len(theirs), bool)
    if double:  # between two levels of a scale bitsandbytes takes the farther one now and then
        scales = (functional.dequantize_blockwise(state.absmax, state.state2) + state.offset).numpy()
        exact = np.abs(x.reshape(-1, 64)).max(axis=1)
        same = np.isclose(params.scale, scales, rtol=1e-5)
        assert same.mean() > 0.99
        assert (np.abs(params.scale - exact) <= np.abs(scales - exact) + 1e-6).all()
    np.testing.assert_allclose(values.reshape(-1, 64)[same], theirs[same], rtol=1e-5, atol=1e-6)
    verdict.checked(x.size, formats=(name,))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_optimum_quanto_symmetric_channels(bits, rng, verdict):
    """Its AbsmaxOptimizer for int8: absmax/127 for each channel, codes −128 … 127."""
    quanto = judge("optimum.quanto")
    x = rng.normal(size=(64, 256)).astype(np.float32)
    if bits == 8:
        scale = quanto.AbsmaxOptimizer()(torch.from_numpy(x), quanto.qint8, 0).numpy().ravel()
        params = quantize(x, spec(format="int8", convention="full_range", granularity="channel:0"))[2]
        np.testing.assert_allclose(params.scale, scale, rtol=1e-6)
    else:
        kind = {2: quanto.qint2, 4: quanto.qint4}[bits]
        scale, shift = quanto.MaxOptimizer()(torch.from_numpy(x), kind, 0)
        each = spec(format=f"uint{bits}", scheme="affine_float", granularity="channel:0")
        params = quantize(x, each)[2]
        np.testing.assert_allclose(params.scale, scale.numpy().ravel(), rtol=1e-5)
        np.testing.assert_allclose(-params.offset, shift.numpy().ravel(), rtol=1e-5)
    verdict.checked(x.size)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "mantissa", "bias", "most"),
    [("fp4_e2m1", 1, 1, 6.0), ("fp6_e2m3", 3, 1, 7.5), ("fp6_e3m2", 2, 3, 28.0), ("fp8_e4m3fn", 3, 7, 448.0)],
)
def test_brevitas_small_floats(name, mantissa, bias, most, rng, verdict):
    """Its float quantizer rounds in steps of the value's own binade; the range is clipped before."""
    brevitas = judge("brevitas.core.quant.float")
    x = np.clip(rng.normal(size=20_000) * most / 3, -most, most).astype(np.float32)
    given, bits = torch.from_numpy(x), torch.tensor(float(mantissa))
    least = brevitas.min_internal_scale(torch.tensor(float(bias)), bits)
    step = brevitas.float_internal_scale(given, bits, least, torch.finfo(torch.float32).tiny)
    theirs = (step * torch.round(given / step)).numpy()
    values = quantize(x[None], spec(format=name, observer=f"fixed:{-most},{most}"))[1][0]
    np.testing.assert_array_equal(values, theirs)
    verdict.checked(len(x), formats=(name,))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [0, 32, 128])
def test_compressed_tensors_channels_and_groups(bits, symmetric, size, rng, verdict):
    """Its `calculate_qparams` and `quantize`: 2·absmax over all codes, or a zero point, and a true division."""
    package = judge("compressed_tensors.quantization")
    found = judge("compressed_tensors.quantization.utils").calculate_qparams
    theirs = judge("compressed_tensors.quantization.lifecycle.forward").quantize
    x = rng.normal(size=(48, 256)).astype(np.float32)
    grouped = {"strategy": "group", "group_size": size} if size else {"strategy": "channel"}
    args = package.QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, **grouped)
    parts = torch.from_numpy(x).reshape(48, -1, size or 256)
    scale, zero = found(parts.amin(-1), parts.amax(-1), args)
    codes = theirs(torch.from_numpy(x), scale, zero, args).numpy()
    words = f"int{bits} {'full_span' if symmetric else 'affine'} {f'group:{size}' if size else 'channel'} true"
    ours, _, params = quantize(x, QuantSpec.parse(words))
    np.testing.assert_array_equal(params.scale, scale.numpy().ravel())
    np.testing.assert_array_equal(params.zero_point, zero.numpy().ravel())
    np.testing.assert_array_equal(ours, codes)
    verdict.checked(x.size, formats=(f"int{bits}",))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [1.0, 1e-3, 300.0])
def test_modelopts_nvfp4(size, rng, verdict):
    package = judge("modelopt.torch.quantization.qtensor.nvfp4_tensor").NVFP4QTensor
    x = (rng.standard_t(4, size=(32, 256)) * size).astype(np.float32)
    packed, scale, double_scale = package.quantize(torch.from_numpy(x), 16)
    theirs = packed.dequantize(torch.float32, scale=scale, double_scale=double_scale, block_sizes={-1: 16}).numpy()
    np.testing.assert_array_equal(quantize(x, QuantSpec.parse("nvfp4 true"))[1], theirs)
    verdict.checked(x.size, formats=("nvfp4",))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_hqqs_own_steps(bits, rng, verdict):
    """The package's step, with β growing by 1 % each time as in the paper; its version 0.2.8 leaves β as it is."""
    step = judge("hqq.core.optimize").optimize_weights_proximal_legacy_step
    x = torch.from_numpy(rng.standard_t(5, size=(64, 128)).astype(np.float32))
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    inverse = ((2**bits - 1) / (high - low)).clamp(max=2e4)
    zero = (-low * inverse).round() if bits == 4 else -low * inverse
    least, stiffness = torch.inf, 10.0
    for _ in range(20):
        restored, _, zero, _ = step(x, inverse, zero, [0, 2**bits - 1], stiffness, 0.7, 1)
        error = float((x - restored).abs().mean())
        if error >= least:
            break
        least, stiffness = error, stiffness * 1.01
    params = quantize(x.numpy(), QuantSpec.parse(f"uint{bits} affine_float hqq channel"))[2]
    theirs = (-zero / inverse)[:, 0].numpy()
    np.testing.assert_allclose(params.offset, theirs, rtol=1e-3)
    assert np.isclose(params.offset, theirs, rtol=1e-4).mean() >= 0.95  # a tie in float32 moves its whole group
    verdict.checked(x.numel(), formats=(f"uint{bits}",))
