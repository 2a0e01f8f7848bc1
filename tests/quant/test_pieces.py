"""However a tensor is cut for the work, and in whatever type it is stored, the result is that of the whole."""

import math

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze, kernels, pieces, ranges
from qexplorer.quant import error_sums as measuring
from qexplorer.quant.analysis import analyze_sketch, for_all, unsketched
from qexplorer.quant.glance import Glance
from qexplorer.quant.granularity import Granularity, LastAxis, PerBlock, PerChannel, PerGroup, PerTensor
from qexplorer.quant.sketch import sketch
from qexplorer.quant.subsample import thin
from qexplorer.quant.tensor_source import Values, widened
from qexplorer.settings import values_of

BY: list[Granularity] = [PerTensor(), PerChannel(0), PerChannel(1), PerChannel(-1), PerGroup(8), PerGroup(7),
                         PerGroup(64), PerGroup(8, "1"), LastAxis(7), PerBlock(4, 8), PerBlock(3, 5)]  # fmt: skip
SHAPES = [(6, 40), (40, 6), (5, 4, 3, 3), (3, 50, 7), (1, 257), (257, 1)]
HISTOGRAMS = ("original", "dequantized", "errors", "level_counts")


def same(ours: Analysis, whole: Analysis) -> None:
    for name in ("scale", "zero_point"):
        np.testing.assert_array_equal(getattr(ours.params, name), getattr(whole.params, name))
    for name in HISTOGRAMS:
        np.testing.assert_array_equal(getattr(ours, name), getattr(whole, name), err_msg=name)
    for name, value in values_of(whole.metrics).items():
        if name != "original_bytes":
            assert getattr(ours.metrics, name) == pytest.approx(value, rel=1e-9, nan_ok=True), name
    for name in ("lo", "hi", "data_lo", "data_hi"):
        assert getattr(ours, name) == getattr(whole, name), name
    np.testing.assert_allclose(ours.channel_sqnr_db, whole.channel_sqnr_db, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("granularity", BY, ids=lambda g: g.text)
@pytest.mark.parametrize("words", [{}, {"scheme": "affine"}, {"format": "nf4"}, {"observer": "mse"},
                                   {"rounding": "stochastic:5"}, {"format": "kmeans"}], ids=str)  # fmt: skip
def test_small_pieces_give_what_one_piece_does(shape, granularity, words, rng, monkeypatch):
    if granularity.refusal(shape):
        pytest.skip(granularity.refusal(shape))
    x = rng.standard_t(3, size=shape).astype(np.float32)
    x.flat[::41] = np.nan
    spec = QuantSpec.from_json({"format": "int4", **words})
    if spec.refusal("granularity", granularity):
        pytest.skip(spec.refusal("granularity", granularity))
    spec = spec.adopt("granularity", granularity)
    whole = finish(analyze(x, spec))
    monkeypatch.setattr(pieces, "BLOCK", 24)
    monkeypatch.setattr(pieces, "SEARCHED", 24)
    same(finish(analyze(x, spec)), whole)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0), PerChannel(1), PerGroup(32), PerGroup(100)],
                         ids=lambda g: g.text)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("form", ["int4", "int8", "nf4"])
def test_every_stored_type_is_measured_as_its_values_are(granularity, dtype, form, rng, monkeypatch):
    assert kernels  # loaded
    x = rng.standard_t(3, size=(300, 700)).astype(np.float32) * 1e-3
    x.flat[:4] = np.nan, np.inf, -np.inf, 1e-7
    raw = (x.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else x.astype(dtype)
    spec = QuantSpec.from_json({"format": form}).adopt("granularity", granularity)
    stored = finish(analyze(Values.of(raw, dtype), spec))
    same(stored, finish(analyze(widened(raw), spec)))
    monkeypatch.setattr(measuring, "WORTH_CALLING", x.size + 1)
    same(stored, finish(analyze(Values.of(raw, dtype), spec)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_extremes_are_those_of_the_finite_values(dtype, rng):
    x = rng.standard_t(2, size=(50, 1000)).astype(np.float32)
    x[3], x[4, 1:], x[5, ::2] = np.nan, np.inf, -np.inf
    x[6], x[7] = 0, -np.abs(x[7])
    raw = (x.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else x.astype(dtype)
    values = widened(raw).astype(np.float64)
    lo, hi = kernels.extremes(raw)
    known = np.isfinite(values)
    np.testing.assert_array_equal(lo, np.where(known, values, np.inf).min(axis=1))
    np.testing.assert_array_equal(hi, np.where(known, values, -np.inf).max(axis=1))


@pytest.mark.parametrize("granularity", BY, ids=lambda g: g.text)
@pytest.mark.parametrize(
    "words", [{"format": "int4"}, {"format": "int8", "scheme": "affine"}, {"format": "fp8_e4m3fn"}], ids=str
)
def test_without_histograms_the_figures_are_the_same(granularity, words, rng, monkeypatch):
    x = rng.normal(size=(48, 160)).astype(np.float32)
    spec = QuantSpec.from_json(words).adopt("granularity", granularity)
    monkeypatch.setattr(pieces, "BLOCK", 1000)
    plain, at_once = finish(analyze(x, spec)), finish(analyze(x, spec, bins=0))
    assert not at_once.original.size
    for name, value in values_of(plain.metrics).items():
        assert getattr(at_once.metrics, name) == pytest.approx(value, rel=1e-9), name
    for name in ("lo", "hi", "data_lo", "data_hi"):
        assert getattr(at_once, name) == getattr(plain, name), name
    np.testing.assert_array_equal(at_once.params.scale, plain.params.scale)


@pytest.mark.parametrize("observer", ["mse", "octav"])
def test_an_observer_that_tries_ranges_on_very_many_values_is_given_their_sketch(observer, rng, monkeypatch):
    x = rng.normal(size=50_000).astype(np.float32)
    spec = QuantSpec.from_json({"format": "int4", "observer": observer})
    whole = finish(analyze(x, spec))
    monkeypatch.setattr(ranges, "SKETCHED", 1000)
    rough = finish(analyze(x, spec))
    assert (whole.ranged, rough.ranged, rough.coverage) == ("values", "sketch", "exact")
    assert rough.metrics.sqnr_db == pytest.approx(whole.metrics.sqnr_db, abs=0.2)


@pytest.mark.parametrize("granularity", [PerChannel(0), PerGroup(64), PerBlock(4, 32)], ids=lambda g: g.text)
def test_a_sample_says_what_the_whole_does_within_bounds_or_nothing(granularity, rng):
    x = rng.standard_t(5, size=(1000, 1024)).astype(np.float32)
    spec = QuantSpec.from_json({"format": "int4"}).adopt("granularity", granularity)
    truth, part = finish(analyze(x, spec)), finish(analyze(thin(Values.of(x), spec, 60_000), spec))
    found = finish(Glance(Values.of(x)).estimate(spec))
    rough = for_all(part, x.shape, 4 * x.size, x.size, found)
    assert (rough.coverage, rough.shape, rough.metrics.n, rough.coverage_n) == ("sampled", x.shape, x.size, 65_536)
    for name, (low, high) in rough.bounds.items():
        assert low <= getattr(truth.metrics, name) <= high, name
    assert {"sqnr_db", "mse", "rmse", "relative_rmse", "max_abs_error"} == set(rough.bounds)
    for name in ("bytes", "bits_per_weight", "original_bytes", "nonfinite", "clipped_fraction"):
        assert getattr(rough.metrics, name) == getattr(truth.metrics, name)
    assert math.isnan(rough.metrics.cosine)
    assert rough.original.sum() == pytest.approx(x.size, rel=0.01)
    for name in ("data_lo", "data_hi", "lo", "hi"):
        assert getattr(rough, name) == getattr(truth, name)
    np.testing.assert_array_equal(rough.params.scale, truth.params.scale)
    nothing = for_all(part, x.shape, 4 * x.size, x.size, None)
    assert math.isnan(nothing.metrics.sqnr_db)
    assert (nothing.metrics.bytes, nothing.bounds) == (truth.metrics.bytes, {})


def test_a_large_tensor_is_read_only_where_it_is_looked_at():
    read: list[int] = []

    def piece(start: int, stop: int) -> np.ndarray:
        read.append(stop - start)
        return np.arange(start, stop, dtype=np.float32)

    shape = (1 << 12, 1 << 16)
    part = thin(Values(shape, np.dtype(np.float32), piece), QuantSpec.from_json({"granularity": "group:64"}), 60_000)
    assert part.n <= 60_000
    assert sum(read) <= 40 * (1 << 16)
    assert part.shape[0] >= 16
    assert math.prod(part.shape) == part.n


def test_every_spec_of_one_scale_but_three_kinds_has_a_sketch():
    assert not unsketched(QuantSpec())
    whole = finish(sketch(Values.of(np.arange(100, dtype=np.float32))))
    assert analyze_sketch(whole, (100,), QuantSpec(), bins=0).original.size == 0
