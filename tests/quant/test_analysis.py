"""The analysis of a tensor: its generator and its histograms."""

import math

import numpy as np
import pytest

from qexplorer.errors import UserError
from qexplorer.progress import Progress, finish
from qexplorer.quant import QuantSpec, analyze, pieces
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel, PerGroup, PerTensor
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.observers.percentile import Percentile
from qexplorer.quant.quantize import quantize
from qexplorer.quant.rounding import HalfAway, HalfEven, HalfUp, Stochastic, TowardZero
from qexplorer.settings import values_of


def run(values, spec=None, **settings):
    return finish(analyze(np.asarray(values, np.float32), spec or QuantSpec(), **settings))


@pytest.mark.parametrize("spec", [QuantSpec(), QuantSpec(formats["fp16"]), QuantSpec(observer=Percentile(99.9)),
                                  QuantSpec(formats["int4"], granularity=PerGroup(32), observer=Mse()),
                                  QuantSpec(rounding=Stochastic(3))],
                         ids=lambda s: s.title)  # fmt: skip
def test_the_generator_reports_a_rising_share_of_the_work(spec, rng, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK", 500)
    monkeypatch.setattr(pieces, "SEARCHED", 500)
    steps = []
    finish(analyze(rng.normal(size=(64, 96)).astype(np.float32), spec), steps.append)
    fractions = [step.fraction for step in steps]
    assert len(steps) > 10
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert all(isinstance(step, Progress) and 0 <= step.done <= step.total for step in steps)


@pytest.mark.parametrize("observer", ["percentile:90", "mse", "minmax", "histogram"])
def test_the_range_of_a_tensor_longer_than_a_block_is_that_of_all_its_values(observer, rng):
    x = (rng.normal(size=1_300_000) * rng.uniform(0.1, 3, 1_300_000)).astype(np.float32)
    spec = QuantSpec.from_json({"format": "int4", "observer": observer})
    a = run(x, spec)
    _, values, params = quantize(x, spec)
    assert a.params.scale.tolist() == params.scale.tolist()
    assert a.metrics.mse == pytest.approx(((values.astype(np.float64) - x) ** 2).mean(), rel=1e-12)
    if observer == "percentile:90":
        assert params.scale[0] * 7 == pytest.approx(max(-np.quantile(x, 0.05), np.quantile(x, 0.95)), rel=1e-6)


@pytest.mark.parametrize(
    "values", [np.arange(5), np.array([True, False]), np.array([1 + 2j, 3]), np.array([1e300, 2.0])]
)
def test_what_float32_cannot_hold_is_refused_by_name(values):
    with pytest.raises(UserError) as refused:
        finish(analyze(values, QuantSpec()))
    assert str(values.dtype) in str(refused.value)
    assert refused.value.field == "tensor"


def test_infinite_values_of_float64_are_counted_and_not_taken_for_large_ones():
    a = finish(analyze(np.array([1.0, np.inf, np.nan, -2.0]), QuantSpec()))
    assert a.metrics.nonfinite == 2


@pytest.mark.parametrize("after", [0, 1, 7, 14])
def test_the_generator_can_be_closed_at_any_step(after, rng, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK", 500)
    monkeypatch.setattr(pieces, "SEARCHED", 500)
    work = analyze(rng.normal(size=(64, 96)).astype(np.float32), QuantSpec())
    for _ in range(after):
        next(work)
    work.close()
    with pytest.raises(StopIteration):
        next(work)


@pytest.mark.parametrize("block", [7, 100, 1000])
@pytest.mark.parametrize("spec", [
    QuantSpec(), QuantSpec(formats["uint4"], "affine"), QuantSpec(formats["bf16"]), QuantSpec(observer=Fixed(-1, 1)),
    QuantSpec(granularity=PerChannel(1)), QuantSpec(formats["int3"], granularity=PerGroup(5), observer=Mse()),
    QuantSpec(granularity=PerGroup(6), observer=Percentile(90)),
], ids=lambda s: s.title)  # fmt: skip
def test_the_result_does_not_depend_on_the_size_of_a_block(spec, block, rng, monkeypatch):
    x = rng.standard_t(3, size=(12, 6, 17)).astype(np.float32)
    whole = run(x, spec)
    monkeypatch.setattr(pieces, "BLOCK", block)
    blocks = run(x, spec)
    np.testing.assert_array_equal(blocks.params.scale, whole.params.scale)
    for name in ("original", "dequantized", "errors", "levels", "level_counts"):
        np.testing.assert_array_equal(getattr(blocks, name), getattr(whole, name))
    np.testing.assert_allclose(blocks.channel_sqnr_db, whole.channel_sqnr_db, rtol=1e-12)
    for name, value in values_of(whole.metrics).items():
        assert getattr(blocks.metrics, name) == pytest.approx(value, rel=1e-12)


GRANULARITIES = [PerTensor(), PerChannel(0), PerGroup(8)]


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=lambda g: g.name)
@pytest.mark.parametrize(
    "rounding", [HalfEven(), HalfAway(), HalfUp(), TowardZero()], ids=lambda rounding: rounding.name
)
@pytest.mark.parametrize("observer", [None, Fixed(-20, 20), Fixed(-0.3, 0.1)], ids=["minmax", "wide", "narrow"])
def test_every_value_is_in_both_histograms(granularity, rounding, observer, rng):
    for name, scheme, shift in (("int2", "symmetric", 0), ("uint4", "affine", 3), ("int8", "affine", -2)):
        settings = {"observer": observer} if observer else {}
        spec = QuantSpec(formats[name], scheme, granularity=granularity, rounding=rounding, **settings)
        for x in (rng.normal(size=(6, 50)) + shift, np.round(rng.normal(size=(6, 50)) * 2) / 2, np.full((2, 8), 5.0)):
            a = run(x, spec)
            assert a.original.sum() == a.dequantized.sum() == x.size


def test_the_histograms_are_numpys(rng):
    x = rng.normal(size=(20, 30)).astype(np.float32)
    spec = QuantSpec(formats["int4"], granularity=PerChannel(0))
    a = run(x, spec, bins=77)
    y = quantize(x, spec)[1].astype(np.float64)
    np.testing.assert_array_equal(a.original, np.histogram(x.astype(np.float64), a.bins.edges)[0])
    np.testing.assert_array_equal(a.dequantized, np.histogram(y, a.bins.edges)[0])
    error = (y - x).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(a.errors, np.histogram(error, a.error_bins.edges)[0])
    assert a.errors.sum() == x.size


def test_levels_are_the_dequantized_values_and_lie_in_the_middle_of_bins(rng):
    x = rng.normal(size=3000).astype(np.float32)
    a = run(x, QuantSpec(formats["int4"], "affine"))
    values, counts = np.unique(quantize(x, a.spec)[1], return_counts=True)
    np.testing.assert_array_equal(a.levels, values)
    np.testing.assert_array_equal(a.level_counts, counts)
    assert a.bins.per_step % 2 == 1
    np.testing.assert_allclose((a.levels - a.bins.start) / a.bins.width % 1, 0.5, atol=1e-4)


def test_a_scale_for_each_group_has_no_common_levels(rng):
    assert run(rng.normal(size=(4, 8)), QuantSpec(granularity=PerChannel(0))).levels.size == 0


def test_the_reach_is_that_of_the_outermost_codes():
    a = run([-1.0, 0.5], QuantSpec(scheme="affine"))
    assert (a.data_lo, a.data_hi) == (-1, 0.5)
    assert a.lo == pytest.approx(-1, abs=0.003)
    assert a.hi == pytest.approx(0.5, abs=0.003)
    assert run([1.0], QuantSpec(formats["fp16"])).hi == 65504


@pytest.mark.parametrize(("spec", "axis", "width"), [
    (QuantSpec(), 0, None), (QuantSpec(formats["fp16"]), 0, None), (QuantSpec(granularity=PerChannel(0)), 0, None),
    (QuantSpec(granularity=PerChannel(1)), 1, None), (QuantSpec(granularity=PerGroup(5)), 0, 5),
], ids=["tensor", "cast", "channel-0", "channel-1", "group"])  # fmt: skip
def test_each_channel_has_the_sqnr_of_its_own_values(spec, axis, width, rng):
    x = (rng.normal(size=(4, 8, 3)) * np.logspace(-1, 1, 8)[:, None]).astype(np.float32)
    y = quantize(x, spec)[1].astype(np.float64)
    others = tuple(i for i in range(3) if i != axis)
    signal = (x.astype(np.float64) ** 2).sum(axis=others)
    expected = 10 * np.log10(signal / ((y - x) ** 2).sum(axis=others))
    np.testing.assert_allclose(run(x, spec).channel_sqnr_db, expected, rtol=1e-10)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3), (1,), (1, 1)])
@pytest.mark.parametrize("name", ["int8", "fp16"])
def test_scalars_and_empty_tensors_are_analyzed(shape, name):
    a = run(np.full(shape, 0.75), QuantSpec(formats[name]))
    assert a.metrics.n == int(np.prod(shape))
    assert a.original.sum() == a.metrics.n


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=lambda g: g.name)
def test_a_tensor_without_finite_values_is_analyzed(granularity):
    a = run(np.full((2, 8), np.nan), QuantSpec(granularity=granularity))
    assert (a.metrics.nonfinite, a.original.sum()) == (16, 0)
    assert all(math.isnan(figure) for figure in (a.metrics.mse, a.metrics.sqnr_db, a.metrics.cosine))


def test_a_group_without_finite_values_does_not_widen_the_data():
    x = np.array([[np.nan, np.inf], [5, 6]])
    a = run(x, QuantSpec(granularity=PerChannel(0)))
    assert (a.data_lo, a.data_hi) == (5, 6)
    assert a.metrics.nonfinite == 2


def test_an_axis_that_is_not_there_is_refused_with_its_field():
    with pytest.raises(UserError) as refused:
        run(np.zeros((2, 3)), QuantSpec(granularity=PerChannel(2)))
    assert refused.value.field == "granularity"


def test_the_size_as_stored_may_be_given():
    assert run(np.zeros(10), original_bytes=20).metrics.original_bytes == 20
