"""Bins: where their edges lie, judged by `np.histogram`, and how they stand to the levels of a grid."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.quant.bins import Bins, even_bins, step_bins

ENDS = st.floats(-1e6, 1e6, width=32)


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-10, 10, width=32)), st.integers(1, 50))
def test_counts_are_those_of_np_histogram_with_the_same_edges(values, count):
    bins = even_bins(-4, 7, count)
    np.testing.assert_array_equal(bins.counts(values), np.histogram(values.astype(np.float64), bins.edges)[0])


def test_values_on_edges_belong_to_the_bin_on_their_right_and_the_last_edge_to_the_last_bin():
    bins = Bins(0.0, 0.25, 4)
    assert bins.counts(np.float32([0, 0.25, 0.5, 0.75, 1.0])).tolist() == [1, 1, 1, 2]


def test_values_outside_and_values_that_are_not_finite_are_not_counted():
    bins = Bins(-1.0, 0.5, 4)
    assert bins.counts(np.float32([-1.1, 1.1, np.nan, np.inf, -np.inf, 0.1])).tolist() == [0, 0, 1, 0]


@given(ENDS, ENDS, st.integers(1, 1000))
def test_even_bins_cover_both_ends(a, b, count):
    lo, hi = min(a, b), max(a, b)
    bins = even_bins(lo, hi, count)
    assert bins.count == count == len(bins.edges) - 1
    assert bins.counts(np.float32([lo, hi])).sum() == 2


@given(ENDS, ENDS, st.floats(2.0**-10, 1e4, width=32), st.integers(10, 1000))
def test_step_bins_cover_both_ends_with_about_as_many_bins_as_wanted(a, b, step, count):
    lo, hi = min(a, b), max(a, b)
    assume((hi - lo) / step < 1e7)
    bins = step_bins(lo, hi, step, 0.0, count)
    assert bins.counts(np.float32([lo, hi])).sum() == 2
    assert bins.count <= 3 * count
    assert bins.per_step % 2 == 1 or bins.per_step == 0


@pytest.mark.parametrize("step", [0.1, 0.0123, 1.0, 3.7])
@pytest.mark.parametrize("count", [50, 400])
def test_every_level_lies_in_the_middle_of_a_bin(step, count):
    bins = step_bins(-7.2 * step, 5.4 * step, step, 0.0, count)
    assert bins.per_step % 2 == 1
    assert bins.width * bins.per_step == pytest.approx(step)
    levels = np.arange(-7, 6) * step
    place = (levels - bins.start) / bins.width
    np.testing.assert_allclose(place % 1, 0.5, atol=1e-6)


def test_steps_finer_than_bins_are_merged_in_odd_numbers():
    bins = step_bins(-1000, 1000, 1.0, 0.0, 100)
    assert bins.per_step == 0
    merged = bins.width
    assert merged % 2 == 1
    middles = bins.edges[:-1] + bins.width / 2
    np.testing.assert_allclose(middles % 1, 0, atol=1e-9)


def test_one_value_half_way_between_two_levels_is_covered():
    bins = step_bins(2.5, 2.5, 1.0, 0.0, 10)
    assert bins.counts(np.float32([2.5])).sum() == 1


@given(st.integers(-200, 200), st.integers(-200, 200), st.floats(2.0**-8, 10, width=32))
def test_values_half_way_between_two_levels_are_covered(i, j, step):
    lo, hi = np.float32((min(i, j) + 0.5) * step), np.float32((max(i, j) + 1.5) * step)
    assert step_bins(float(lo), float(hi), step, 0.0, 400).counts(np.array([lo, hi])).sum() == 2
