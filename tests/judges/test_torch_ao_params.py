"""Scale and zero point, judged by torch.ao's observers and by values that torch's own tests publish."""

import numpy as np
import pytest
import torch
from torch.ao.quantization import observer as ao

from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.params import Choices, choose_params
from qexplorer.quant.quantize import find_range, params_for
from qexplorer.quant.scale_dtypes import scale_dtypes

JUDGE = "PyTorch observers, published and live"

pytestmark = pytest.mark.usefixtures("quiet_torch_ao")


def tensors():
    rng = np.random.default_rng(7)
    yield "normal", rng.normal(size=(6, 50))
    yield "laplace", rng.laplace(size=(4, 90)) * 0.02
    yield "positive", rng.exponential(size=(3, 40)) + 2
    yield "negative", -rng.exponential(size=(3, 40)) - 0.5
    yield "zeros", np.zeros((2, 9))
    yield "tiny", rng.normal(size=(4, 20)) * 1e-12
    yield "large", rng.normal(size=(4, 20)) * 1e12
    yield "mixed", rng.normal(size=(5, 64)) * np.logspace(-9, 4, 5)[:, None]
    yield "constant", np.full((2, 5), 3.5)


CASES = [pytest.param(values.astype(np.float32), id=name) for name, values in tensors()]
AFFINE = {True: torch.per_channel_affine, False: torch.per_tensor_affine}
SYMMETRIC = {True: torch.per_channel_symmetric, False: torch.per_tensor_symmetric}


def ours(values, name, scheme, per_channel=False, convention="restricted"):
    spec = QuantSpec(
        format=formats[name],
        scheme=scheme,
        convention=convention if scheme == "symmetric" else "restricted",
        scale_dtype=scale_dtypes["float32_eps"],
        **({"granularity": PerChannel(0)} if per_channel else {}),
    )
    rows = spec.granularity.rows(values)
    return params_for(spec, *find_range(spec, rows))


def theirs(values, per_channel, **settings):
    cls = ao.PerChannelMinMaxObserver if per_channel else ao.MinMaxObserver
    observer = cls(**settings)
    observer(torch.from_numpy(values))
    scale, zero_point = observer.calculate_qparams()
    return scale.numpy().reshape(-1), zero_point.numpy().reshape(-1)


def assert_same(p, judged):
    scale, zero_point = judged
    np.testing.assert_array_equal(p.scale.view(np.uint32), scale.astype(np.float32).view(np.uint32))
    np.testing.assert_array_equal(p.zero_point, zero_point)


@pytest.mark.parametrize("values", CASES)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", ["int8", "uint8"])
@pytest.mark.parametrize(("scheme", "qschemes"), [("affine", AFFINE), ("symmetric", SYMMETRIC)])
def test_parameters_are_those_of_the_minmax_observers(values, per_channel, name, scheme, qschemes):
    dtype = torch.qint8 if name == "int8" else torch.quint8
    judged = theirs(values, per_channel, dtype=dtype, qscheme=qschemes[per_channel])
    assert_same(ours(values, name, scheme, per_channel, "full_span"), judged)


@pytest.mark.parametrize("values", CASES)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
def test_fewer_bits_are_a_custom_code_range_to_torch(values, per_channel, bits):
    half = 2 ** (bits - 1)
    span = {"dtype": torch.qint8, "quant_min": -half, "quant_max": half - 1}
    judged = theirs(values, per_channel, qscheme=AFFINE[per_channel], **span)
    assert_same(ours(values, f"int{bits}", "affine", per_channel), judged)
    judged = theirs(values, per_channel, qscheme=SYMMETRIC[per_channel], **span)
    assert_same(ours(values, f"int{bits}", "symmetric", per_channel, "full_span"), judged)
    span = {"dtype": torch.quint8, "quant_min": 0, "quant_max": 2 * half - 1}
    judged = theirs(values, per_channel, qscheme=AFFINE[per_channel], **span)
    assert_same(ours(values, f"uint{bits}", "affine", per_channel), judged)


@pytest.mark.parametrize("values", CASES)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_restricted_parameters_are_torchs_for_a_code_range_without_the_least_code(values, bits):
    largest = 2 ** (bits - 1) - 1
    span = {"dtype": torch.qint8, "quant_min": -largest, "quant_max": largest}
    p = ours(values, f"int{bits}", "symmetric")
    assert_same(p, theirs(values, False, qscheme=torch.per_tensor_symmetric, **span))
    assert (p.qmin, p.qmax) == (-largest, largest)


STREAM = [[1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0], [4.0, 5.0, 5.0, 6.0, 7.0, 8.0]]


@pytest.mark.parametrize(
    ("name", "scheme", "scale", "zero_point"),
    [
        ("int8", "symmetric", 0.062745, 0),
        ("uint8", "symmetric", 0.062745, 128),
        ("int8", "affine", 0.0313725, -128),
        ("uint8", "affine", 0.0313725, 0),
    ],
)
def test_a_stream_gives_the_parameters_published_in_torchs_tests(name, scheme, scale, zero_point):
    convention = "full_span" if scheme == "symmetric" else "restricted"
    spec = QuantSpec(format=formats[name], scheme=scheme, convention=convention)
    stats = None
    for block in STREAM:
        stats = spec.observer.update(stats, np.array([block], np.float32))
    lo, hi = spec.observer.range(stats, None)
    assert (lo.tolist(), hi.tolist()) == ([1.0], [8.0])
    p = params_for(spec, lo, hi)
    np.testing.assert_allclose(p.scale, [scale], rtol=1e-5)
    assert p.zero_point.tolist() == [zero_point]


AXES = np.array([[[[1, 2], [2, 2.5]], [[3, 4], [4.5, 6]]], [[[-4, -3], [5, 5]], [[6, 3], [7, 8]]]], np.float32)
PUBLISHED = [
    (0, [0.04705882, 0.06274509], [0.02352941, 0.04705882], [-128, -43], [0, 85]),
    (1, [0.03921569, 0.0627451], [0.03529412, 0.03137255], [-15, -128], [113, 0]),
    (2, [0.04705882, 0.0627451], [0.03921569, 0.03137255], [-26, -128], [102, 0]),
    (3, [0.05490196, 0.0627451], [0.04313726, 0.04313726], [-35, -58], [93, 70]),
]


@pytest.mark.parametrize(("axis", "symmetric", "affine", "int8", "uint8"), PUBLISHED)
def test_channels_of_every_axis_have_the_parameters_published_in_torchs_tests(axis, symmetric, affine, int8, uint8):
    for name, zero_point in (("int8", int8), ("uint8", uint8)):
        spec = QuantSpec(format=formats[name], scheme="affine", granularity=PerChannel(axis))
        p = params_for(spec, *find_range(spec, spec.granularity.rows(AXES)))
        np.testing.assert_allclose(p.scale, affine, rtol=1e-6)
        assert p.zero_point.tolist() == zero_point
    spec = QuantSpec(convention="full_span", granularity=PerChannel(axis))
    p = params_for(spec, *find_range(spec, spec.granularity.rows(AXES)))
    np.testing.assert_allclose(p.scale, symmetric, rtol=1e-6)


def test_fake_quantize_per_channel_has_the_scales_published_in_torchs_tests():
    x = np.array([[-5, -3.5, -2, 0, 3, 5, 7], [1, 3, 2, 5, 6.5, 8, 10]], np.float32)
    np.testing.assert_allclose(ours(x, "int8", "symmetric", True, "full_span").scale, [0.054902, 0.078431], rtol=1e-5)


@pytest.mark.parametrize(
    ("convention", "name", "lo", "hi", "scale", "codes"),
    [
        ("full_span", "int8", -1, 1, 2 / 255, (-128, 127)),
        ("restricted", "int8", -1, 1, 1 / 127, (-127, 127)),
        ("full_range", "int8", -1, 1, 1 / 127, (-128, 127)),
        ("no_clipping", "int8", -1, 0.5, 1 / 128, (-128, 127)),
        ("no_clipping", "int8", -0.5, 1, 1 / 127, (-128, 127)),
        ("full_span", "int4", -1, 1, 2 / 15, (-8, 7)),
        ("restricted", "int4", -1, 1, 1 / 7, (-7, 7)),
        ("no_clipping", "int4", -0.5, 1, 1 / 7, (-8, 7)),
        ("no_clipping", "int4", -1, 0.5, 1 / 8, (-8, 7)),
        ("signed_extreme", "int4", -1, 0.5, 1 / 8, (-8, 7)),
        ("signed_extreme", "int4", -0.5, 1, -1 / 8, (-8, 7)),
        ("full_range", "int3", -2, 9, 3, (-4, 3)),
        ("restricted", "uint8", -1, 1, 1 / 127, (1, 255)),
        ("full_range", "uint4", -1, 1, 1 / 7, (0, 15)),
    ],
)
def test_each_symmetric_convention_has_its_worked_scale_and_codes(convention, name, lo, hi, scale, codes):
    form = formats[name]
    ends = (np.array([v], np.float32) for v in (lo, hi))
    p = choose_params(*ends, form.bits, form.signed, Choices(convention=convention))
    assert p.scale.tolist() == [np.float32(scale)]
    assert (p.qmin, p.qmax) == codes
    assert p.zero_point.tolist() == [0 if form.signed else 2 ** (form.bits - 1)]


def test_aimets_three_bit_example_reaches_from_minus_twelve_to_nine():
    spec = QuantSpec(format=formats["int3"], convention="full_range")
    p = params_for(spec, np.array([-2], np.float32), np.array([9], np.float32))
    np.testing.assert_array_equal(spec.format.dequantize(np.array([[-4, 3]], np.int32), p), [[-12, 9]])


def test_the_bitsandbytes_article_row_has_its_published_codes():
    row = np.array([[1.2, -0.5, -4.3, 1.2, -3.1, 0.8, 2.4, 5.4]], np.float32)
    p = ours(row, "int8", "symmetric")
    assert formats["int8"].quantize(row, p).tolist() == [[28, -12, -101, 28, -73, 19, 56, 127]]


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_the_range_of_the_largest_floats_still_has_a_finite_scale(scheme):
    largest = np.finfo(np.float32).max
    p = ours(np.array([-largest, largest], np.float32), "int8", scheme)
    assert np.isfinite(p.scale).all()
