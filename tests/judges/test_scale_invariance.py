"""A tensor a million or a billion times smaller has the same SQNR: mathematics as the judge of scales and their limits.

What is not so by definition is listed with a phrase of the help that tells people so.
"""

import math

import numpy as np
import pytest
import torch
from torch.ao.quantization import observer as ao

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.observers import observers
from qexplorer.quant.scale_dtypes import scale_dtypes

JUDGE = "properties"

LIMITED_FORMATS = {
    "fp16": "6·10⁻⁸",
    **{form.name: "6·10⁻⁸" for form in formats if form.family.startswith("GGUF")},
}
LIMITED_OBSERVERS = {"fixed": "The limits that you set", "hqq": "5·10⁻⁵"}
LIMITED_SCALES = {"float32_eps": "2⁻²³", "float16": "2⁻²⁴"}
SCHEMES = ("symmetric", "affine", "affine_float")
BILLIONTH = np.float32(1e-9)


def sqnr(x: np.ndarray, spec: QuantSpec) -> float:
    return finish(analyze(x, spec, bins=0)).metrics.sqnr_db


def pairs(rng: np.random.Generator):
    """A tensor beside the same a million times smaller, and one of billionths beside the same of ordinary size. Powers
    of two between them, so that no value is rounded and the figures are the same to the last digits.
    """
    x = weights(rng)
    yield x, x * np.float32(2.0**-20)
    yield x * BILLIONTH * np.float32(2.0**30), x * BILLIONTH


def weights(rng: np.random.Generator) -> np.ndarray:
    x = (rng.standard_t(4, size=(8, 64)) * 0.5).astype(np.float32)
    x[3] = 0
    return x


def specs(name: str, **fields: str):
    """Every scheme of a format with every observer that serves it."""
    for observer in (each for each in observers.names if each not in LIMITED_OBSERVERS):
        for scheme in SCHEMES:
            for granularity in ("tensor", "channel:0"):
                try:
                    yield QuantSpec.from_json({"format": name, "scheme": scheme, "observer": observer,
                                               "granularity": granularity, **fields})  # fmt: skip
                except UserError:
                    continue


@pytest.mark.parametrize("name", [name for name in formats.names if name not in LIMITED_FORMATS])
def test_a_smaller_tensor_has_the_same_sqnr_under_every_observer(name, rng):
    every = {*specs(name), QuantSpec(formats[name])}
    for x, smaller in pairs(rng):
        for spec in every:
            assert sqnr(smaller, spec) == pytest.approx(sqnr(x, spec), abs=1e-6), spec.short


@pytest.mark.parametrize("dtype", [name for name in scale_dtypes.names if name not in LIMITED_SCALES])
def test_a_smaller_tensor_has_the_same_sqnr_with_scales_of_every_type(dtype, rng):
    for text in ("int8", "int4 channel:0", "int8 group:32", "fp8_e5m2", "nf4 group:32", "uint4 affine channel:0"):
        spec = QuantSpec.parse(text)
        if spec.refusal("scale_dtype", scale_dtypes[dtype]):
            continue
        spec = QuantSpec.parse(f"{text} {dtype}")
        for x, smaller in pairs(rng):
            assert sqnr(smaller, spec) == pytest.approx(sqnr(x, spec), abs=1e-6), spec.short


@pytest.mark.parametrize(
    ("registry", "limited"),
    [(formats, LIMITED_FORMATS), (observers, LIMITED_OBSERVERS), (scale_dtypes, LIMITED_SCALES)],
    ids=["formats", "observers", "scale types"],
)
def test_what_has_a_limit_of_its_own_says_so(registry, limited):
    for name, phrase in limited.items():
        assert phrase in registry[name].help, name


@pytest.mark.parametrize("std", [1.0, 1e-3, 1e-5, 1e-7, 1e-9])
def test_small_weights_have_the_sqnr_that_numpy_and_torch_compute(std, rng):
    x = (rng.normal(size=(64, 64)) * std).astype(np.float32)

    def decibels(y: np.ndarray) -> float:
        wide = x.astype(np.float64)
        return 10 * math.log10((wide**2).sum() / ((wide - y) ** 2).sum())

    step = np.abs(x).max() / np.float32(32767)
    assert sqnr(x, QuantSpec.parse("int16")) == pytest.approx(decibels(np.rint(x / step) * step), abs=0.01)
    for name, dtype, most in (
        ("fp8_e5m2", torch.float8_e5m2, 57344), ("fp8_e4m3fn", torch.float8_e4m3fn, 448)
    ):  # fmt: skip
        scale = np.abs(x).max() / np.float32(most)
        y = torch.from_numpy(x / scale).clamp(-most, most).to(dtype).float().numpy() * scale
        assert sqnr(x, QuantSpec.parse(name)) == pytest.approx(decibels(y), abs=0.01)


@pytest.mark.usefixtures("quiet_torch_ao")
def test_torchs_least_scale_is_there_for_those_who_name_it(rng):
    x = (rng.normal(size=(8, 64)) * 1e-7).astype(np.float32)
    observer = ao.PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_affine)
    observer(torch.from_numpy(x))
    scale, zero = observer.calculate_qparams()
    y = torch.fake_quantize_per_channel_affine(torch.from_numpy(x), scale, zero.to(torch.int32), 0, -128, 127).numpy()
    a = finish(analyze(x, QuantSpec.parse("int8 affine channel:0 float32_eps"), bins=0))
    np.testing.assert_array_equal(a.params.scale, scale.numpy())
    assert (scale == 2.0**-23).all()
    assert a.metrics.mse == pytest.approx(((y.astype(np.float64) - x) ** 2).mean(), rel=1e-12)
