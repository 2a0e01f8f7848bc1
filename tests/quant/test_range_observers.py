"""Min/max, percentile, MSE and fixed ranges: judged by NumPy's quantiles and by theory for normal values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.errors import UserError
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.observers import observers
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.observers.percentile import Percentile
from qexplorer.quant.quantize import params_for, target

ROWS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.floats(-1e6, 1e6, width=32)
)


def fold(observer, *blocks, spec=None):
    stats = None
    for block in blocks:
        stats = observer.update(stats, block)
    return observer.range(stats, target(spec or QuantSpec()))


def squared_error(spec, rows, lo, hi):
    p = params_for(spec, lo, hi)
    return ((spec.format.dequantize(spec.format.quantize(rows, p), p).astype(np.float64) - rows) ** 2).sum(axis=1)


@given(ROWS, st.sampled_from([50.0, 90.0, 99.0, 99.9, 99.99, 100.0]))
def test_a_percentile_is_numpys_quantile_on_both_sides(rows, percentile):
    lo, hi = fold(Percentile(percentile), rows)
    cut = (100 - percentile) / 200
    expected = np.quantile(rows.astype(np.float64), [cut, 1 - cut], axis=1)
    np.testing.assert_allclose([lo, hi], expected, rtol=1e-6, atol=1e-6 * np.abs(rows).max())


def test_a_percentile_leaves_out_values_that_are_not_finite():
    rows = np.array([[1, 2, 3, np.nan, np.inf], [5, 5, 5, 5, -np.inf], [np.nan] * 5], np.float32)
    lo, hi = fold(Percentile(50), rows)
    np.testing.assert_allclose(lo, [1.5, 5, 0])
    np.testing.assert_allclose(hi, [2.5, 5, 0])


@pytest.mark.parametrize("observer", [MinMax(), Percentile(99), Mse()], ids=lambda o: o.name)
def test_from_the_second_block_on_the_order_of_the_blocks_does_not_matter(observer, rng):
    blocks = [(rng.laplace(size=(3, n)) * s).astype(np.float32) for n, s in ((500, 1), (70, 9), (1, 2), (900, 0.1))]
    first = fold(observer, *blocks)
    for order in ((3, 1, 0, 2), (2, 3, 1, 0), (1, 0, 2, 3)):
        np.testing.assert_array_equal(fold(observer, *(blocks[i] for i in order)), first)


def test_a_stream_finds_nearly_the_percentile_of_all_its_values(rng):
    blocks = [rng.normal(size=(2, 4000)).astype(np.float32) for _ in range(6)]
    lo, hi = fold(Percentile(99), *blocks)
    expected = np.quantile(np.concatenate(blocks, axis=1), [0.005, 0.995], axis=1)
    np.testing.assert_allclose([lo, hi], expected, rtol=2**-7)


@pytest.mark.parametrize("observer", [Percentile(99), Mse()], ids=lambda o: o.name)
def test_a_stream_is_kept_in_a_bounded_number_of_buckets(observer, rng):
    stats = None
    sizes = []
    for _ in range(8):
        stats = observer.update(stats, rng.normal(size=(1, 100_000)).astype(np.float32))
        sizes.append(stats.values.size)
    assert max(sizes[1:]) <= 2**16
    assert sizes[-1] < 1.2 * sizes[2]
    assert stats.weights.sum() == 800_000


@given(ROWS, st.sampled_from(["int2", "int4", "int8", "uint4"]), st.sampled_from(["symmetric", "affine"]))
def test_mse_is_never_worse_than_minmax(rows, name, scheme):
    spec = QuantSpec(formats[name], scheme)
    best = squared_error(spec, rows, *fold(Mse(), rows, spec=spec))
    plain = squared_error(spec, rows, *fold(MinMax(), rows, spec=spec))
    assert (best <= plain * (1 + 1e-6)).all()


def test_mse_takes_the_best_of_its_hundred_ranges(rng):
    spec = QuantSpec(formats["int3"])
    rows = rng.standard_t(3, size=(4, 300)).astype(np.float32)
    lo, hi = fold(MinMax(), rows)
    shares = np.arange(1, 101, dtype=np.float32)[:, None] / np.float32(100)
    errors = np.array([squared_error(spec, rows, lo * s, hi * s) for s in shares])
    best = squared_error(spec, rows, *fold(Mse(), rows, spec=spec))
    np.testing.assert_allclose(best, errors.min(axis=0), rtol=1e-5)


def test_mse_on_normal_values_lands_on_the_exact_optimum_of_theory(rng):
    """The optimal restricted INT4 range of N(0,1) is ±2.47388, with an MSE of 0.01288939 (quadrature)."""
    spec = QuantSpec(formats["int4"])
    rows = rng.normal(size=(1, 1_000_000)).astype(np.float32)
    lo, hi = fold(Mse(), rows, spec=spec)
    clip, largest = max(-lo[0], hi[0]), np.abs(rows).max()
    assert abs(clip - 2.47388) <= largest / 100
    assert squared_error(spec, rows, lo, hi)[0] / rows.size == pytest.approx(0.01288939, rel=0.01)


def test_mse_of_a_stream_is_near_that_of_one_block(rng):
    spec = QuantSpec(formats["int4"])
    blocks = [rng.normal(size=(1, 50_000)).astype(np.float32) for _ in range(3)]
    whole = np.concatenate(blocks, axis=1)
    streamed = squared_error(spec, whole, *fold(Mse(), *blocks, spec=spec))
    at_once = squared_error(spec, whole, *fold(Mse(), whole, spec=spec))
    np.testing.assert_allclose(streamed, at_once, rtol=0.01)


def test_minmax_leaves_out_values_that_are_not_finite():
    rows = np.array([[1, np.nan, -2], [np.inf, 3, 4], [np.nan, np.inf, -np.inf]], np.float32)
    lo, hi = fold(MinMax(), rows)
    assert (lo.tolist(), hi.tolist()) == ([-2, 3, 0], [1, 4, 0])


def test_a_fixed_range_is_the_same_for_every_group():
    lo, hi = fold(Fixed(-0.5, 2), np.ones((3, 4), np.float32))
    assert (lo.tolist(), hi.tolist()) == ([-0.5] * 3, [2] * 3)


@pytest.mark.parametrize(("make", "field"), [
    (lambda: Fixed(1, 1), "observer"), (lambda: Fixed(2, 1), "observer"), (lambda: Fixed(float("nan"), 1), "lo"),
    (lambda: Fixed(0, float("inf")), "hi"), (lambda: Percentile(49), "percentile"),
    (lambda: Percentile(101), "percentile"), (lambda: Percentile(float("nan")), "percentile"),
])  # fmt: skip
def test_impossible_settings_are_refused(make, field):
    with pytest.raises(UserError) as refused:
        make()
    assert refused.value.field == field


@pytest.mark.parametrize("cls", list(observers), ids=lambda cls: cls.name)
def test_every_observer_gives_zero_ranges_and_finite_scales_for_groups_of_zeros(cls):
    if cls is Fixed:
        return
    lo, hi = fold(cls(), np.zeros((1, 8), np.float32))
    p = params_for(QuantSpec(), lo, hi)
    assert abs(lo[0]) + abs(hi[0]) < 1e-6
    assert p.scale[0] == np.finfo(np.float32).smallest_normal
