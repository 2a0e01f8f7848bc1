"""Theory: normal and Laplace sources, judged by SciPy's quadrature, by published tables and by ml_dtypes' casts.

Rows without a name beside them are exact integrals worked out apart from this program. Max 1960 is Table I and II of
“Quantizing for minimum distortion”, Jayant and Noll is “Digital coding of waveforms”, 1984; the means of bitsandbytes
are those that its tests/test_functional.py expects of 200 runs.
"""

import math
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from closed_forms import panter_dite_sqnr_db, restricted_uniform_sqnr_db, uniform_source_sqnr_db
from number_tables import FLOATS, half_digit, levels_of, table
from scipy import integrate, stats

from qexplorer.quant.theory import (
    SOURCES,
    distortion,
    lloyd_max,
    optimal_scale,
    optimal_uniform,
    rate_distortion_sqnr_db,
)

JUDGES = {"gauss": stats.norm(), "laplace": stats.laplace(scale=1 / math.sqrt(2))}


DENSITIES = list(JUDGES)


GRIDS = {  # density, grid: from the fewest bits to 8, step and mean squared error and SQNR in dB
    ("gauss", "mid_rise"): (
        (1.595769, 0.36338023, 4.3964), (0.995687, 0.11884605, 9.2502), (0.586019, 0.03743966, 14.2667),
        (0.335201, 0.01154288, 19.3769), (0.188139, 0.00349521, 24.5653), (0.104063, 0.00104005, 29.8295),
        (0.056868, 0.00030433, 35.1665), (0.030762, 0.00008769, 40.5707),
    ),
    ("gauss", "restricted"): (
        (1.224006, 0.19017404, 7.2085), (0.650770, 0.04685997, 13.2920), (0.353411, 0.01288939, 18.8977),
        (0.193249, 0.00369322, 24.3259), (0.105488, 0.00106929, 29.7090), (0.057261, 0.00030862, 35.1057),
        (0.030870, 0.00008831, 40.5400),
    ),
    ("gauss", "full_range"): (
        (1.048385, 0.14943107, 8.2556), (0.601824, 0.04063825, 13.9107), (0.338608, 0.01186404, 19.2577),
        (0.188792, 0.00352596, 24.5272), (0.104179, 0.00104285, 29.8178), (0.056887, 0.00030458, 35.1630),
        (0.030766, 0.00008771, 40.5697),
    ),
    ("laplace", "mid_rise"): (
        (1.414214, 0.50000000, 3.0103), (1.087393, 0.19630226, 7.0707), (0.730933, 0.07174780, 11.4419),
        (0.460995, 0.02535097, 15.9601), (0.279989, 0.00871322, 20.5982), (0.165681, 0.00291343, 25.3560),
        (0.096099, 0.00094860, 30.2292), (0.054844, 0.00030142, 35.2083),
    ),
    ("laplace", "restricted"): (
        (1.414214, 0.26424112, 5.7800), (0.821753, 0.08308652, 10.8047), (0.486885, 0.02739522, 15.6233),
        (0.287464, 0.00908513, 20.4167), (0.167849, 0.00297951, 25.2585), (0.096726, 0.00095994, 30.1775),
        (0.055024, 0.00030330, 35.1813),
    ),
}  # fmt: skip


LLOYD_MAX = {  # of 1 … 8 bits: mean squared error and SQNR in dB
    "gauss": ((0.36338023, 4.3964), (0.11748185, 9.3003), (0.03454776, 14.6158), (0.00950101, 20.2223),
              (0.00250467, 26.0125), (0.00064424, 31.9095), (0.00016348, 37.8654), (0.0000411851, 43.8526)),
    "laplace": ((0.5, 3.0103), (0.17619488, 7.5401), (0.05447599, 12.6379), (0.01537253, 18.1325),
                (0.00410218, 23.8699), (0.00106095, 29.7430), (0.00026987, 35.6884), (0.00006806, 41.6710)),
}  # fmt: skip


ENTROPY = {
    "lloyd_max": (1.0000, 1.9111, 2.8249, 3.7653, 4.7298, 5.7101, 6.6996, 7.6941),
    "mid_rise": (1.0000, 1.9037, 2.7606, 3.6024, 4.4493, 5.3087, 6.1823, 7.0694),
}


OUTERMOST = (0.79788, 1.51042, 2.15195, 2.73259, 3.26073, 3.74410, 4.18969, 4.60354)


MAX_1960 = {2: (0.4528, 1.510), 3: (0.2451, 0.7560, 1.344, 2.152)}


EXACT_16 = (0.12840, 0.38805, 0.65676, 0.94234, 1.25623, 1.61805, 2.06902, 2.73259)


MAX_1960_STEPS = (1.596, 0.9957, 0.5860, 0.3352, 0.1881)


JAYANT_NOLL = {  # SQNR of Laplace values in dB, 1 … 7 bits
    "mid_rise": (3.01, 7.07, 11.44, 15.96, 20.60, 25.36, 30.23),
    "lloyd_max": (3.01, 7.54, 12.64, 18.13, 23.87, 29.74, 35.69),
}


@pytest.mark.parametrize("density", DENSITIES)
def test_moments_are_those_of_quadrature(density):
    edges = np.array([-np.inf, -7.5, -3.1, -0.4, -1e-9, 0.0, 0.2, 2.5, 8.0, np.inf])
    for power, ours in enumerate(SOURCES[density].moments(edges)):
        for (low, high), value in zip(pairwise(edges), ours, strict=True):
            judge = integrate.quad(lambda x, p=power: x**p * JUDGES[density].pdf(x), low, high, epsabs=0, limit=200)[0]
            assert value == pytest.approx(judge, rel=1e-9, abs=4e-16)  # tails of ½ are rounded to 2⁻⁵⁴


@pytest.mark.parametrize("density", DENSITIES)
def test_a_cell_far_out_keeps_its_digits_on_either_side(density):
    edges = np.array([-np.inf, -12.0, 12.0, np.inf])
    share = SOURCES[density].moments(edges)[0]
    assert share[[0, 2]] == pytest.approx(JUDGES[density].sf(12.0), rel=1e-12)


@pytest.mark.parametrize("density", DENSITIES)
def test_a_cell_across_zero_and_the_whole_line_have_their_moments(density):
    whole = [float(m[0]) for m in SOURCES[density].moments(np.array([-np.inf, np.inf]))]
    assert whole == pytest.approx([1, 0, 1], abs=1e-15)
    rows = np.array([[-1.0, 0.5, 2.0], [-3.0, -1.0, 1.0]])
    together = SOURCES[density].moments(rows)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal([m[i] for m in together], SOURCES[density].moments(row))


@pytest.mark.parametrize("density", DENSITIES)
def test_the_density_is_scipys(density):
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(SOURCES[density].pdf(x), JUDGES[density].pdf(x), rtol=1e-13)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("name", ["int4", "e2m1", "nf4"])
def test_distortion_is_the_integral_of_the_squared_distance_to_the_nearest_level(density, name):
    levels = np.unique(table(name)) * 0.4
    edges = [-np.inf, *(levels[1:] + levels[:-1]) / 2, np.inf]
    judge = 0.0
    for level, ends in zip(levels, pairwise(edges), strict=True):
        low, high = np.clip(ends, -40, 40)
        inner = np.unique(np.clip([low, -8, 0, 8, high], low, high))
        for a, b in pairwise(inner):
            judge += integrate.quad(lambda x, y=level: (x - y) ** 2 * JUDGES[density].pdf(x), a, b)[0]
    assert distortion(density, levels) == pytest.approx(judge, rel=1e-9)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_lloyd_and_max_have_the_error_of_the_tables(density, bits):
    best = lloyd_max(density, bits)
    mse, decibels = LLOYD_MAX[density][bits - 1]
    assert len(best.levels) == 2**bits
    assert best.mse == half_digit(mse, 10 if mse == 0.0000411851 else 8)
    assert best.sqnr_db == half_digit(decibels, 4)


def test_lloyd_and_max_have_the_levels_and_entropies_of_the_tables():
    for bits in range(1, 9):
        assert lloyd_max("gauss", bits).levels[-1] == half_digit(OUTERMOST[bits - 1], 5)
        assert lloyd_max("gauss", bits).entropy_bits == half_digit(ENTROPY["lloyd_max"][bits - 1], 4)
    for bits, printed in MAX_1960.items():
        np.testing.assert_allclose(lloyd_max("gauss", bits).levels[2 ** (bits - 1) :], printed, rtol=4e-4)
    np.testing.assert_allclose(lloyd_max("gauss", 4).levels[8:], EXACT_16, atol=5.1e-6)


def test_max_printed_the_same_but_for_16_and_32_levels():
    """He has 0.009497 and 0.002499; those are 0.04 % and 0.23 % low."""
    for bits, printed in enumerate((0.3634, 0.1175, 0.03454, 0.009497, 0.002499), start=1):
        assert lloyd_max("gauss", bits).mse == pytest.approx(printed, rel=3e-3)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_a_level_of_lloyd_and_max_is_the_mean_of_its_cell(density, bits):
    levels = lloyd_max(density, bits).levels
    np.testing.assert_array_equal(levels, -levels[::-1])
    assert (np.diff(levels) > 0).all()
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    share, first, _ = SOURCES[density].moments(edges)
    np.testing.assert_allclose(levels, first / share, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("density", "grid"), GRIDS)
def test_even_grids_have_the_steps_of_the_tables(density, grid):
    rows = GRIDS[density, grid]
    for bits, (step, mse, decibels) in enumerate(rows, start=9 - len(rows)):
        best = optimal_uniform(density, bits, grid)
        assert best.step == half_digit(step, 6)
        assert best.mse == half_digit(mse, 8)
        assert best.sqnr_db == half_digit(decibels, 4)
        np.testing.assert_allclose(np.diff(best.levels), best.step, rtol=1e-12)


def test_even_grids_have_the_levels_they_are_named_for():
    for grid, codes in (
        ("mid_rise", np.arange(-3.5, 4)),
        ("restricted", np.arange(-3, 4)),
        ("full_range", np.arange(-4, 4)),
    ):
        best = optimal_uniform("gauss", 3, grid)
        np.testing.assert_allclose(best.levels, codes * best.step, rtol=1e-14)


def test_even_grids_have_the_steps_that_max_and_the_sqnr_that_jayant_and_noll_printed():
    for bits, step in enumerate(MAX_1960_STEPS, start=1):
        assert optimal_uniform("gauss", bits, "mid_rise").step == half_digit(step, 3 if bits == 1 else 4)
    for bits, entropy in enumerate(ENTROPY["mid_rise"], start=1):
        assert optimal_uniform("gauss", bits, "mid_rise").entropy_bits == half_digit(entropy, 4)
    for bits, (even, best) in enumerate(zip(*JAYANT_NOLL.values(), strict=True), start=1):
        assert optimal_uniform("laplace", bits, "mid_rise").sqnr_db == half_digit(even, 2)
        assert lloyd_max("laplace", bits).sqnr_db == half_digit(best, 2)


@pytest.mark.parametrize(
    ("name", "gauss", "laplace"),  # the largest level, mean squared error, SQNR in dB
    [
        ("int4", (2.47388, 0.01288939, 18.898), (3.40819, 0.02739522, 15.623)),
        ("e2m1", (2.92248, 0.01268490, 18.967), (4.14685, 0.01849101, 17.330)),
        ("fp4_bnb", (2.56362, 0.01658612, 17.803), (3.43441, 0.03023871, 15.194)),
        ("nf4", (2.86306, 0.00989932, 20.044), (4.05916, 0.01674474, 17.761)),
        ("af4", (2.82618, 0.01070053, 19.706), (4.13880, 0.01680417, 17.746)),
        ("iq4_nl", (2.84984, 0.00990479, 20.042), (4.09293, 0.01862511, 17.299)),
        ("e2m3", (3.74754, 0.00082915, 30.814), (6.16706, 0.00139751, 28.546)),
        ("e3m2", (4.54176, 0.00276611, 25.581), (9.67369, 0.00278550, 25.551)),
    ],
)
def test_tables_have_their_best_scale(name, gauss, laplace):
    for density, (reach, mse, decibels) in (("gauss", gauss), ("laplace", laplace)):
        best = optimal_scale(density, table(name))
        assert np.abs(best.levels).max() == pytest.approx(reach, rel=2e-5)
        assert best.mse == half_digit(mse, 8)
        assert best.sqnr_db == half_digit(decibels, 3)


LONE = (-1.0, -0.5, 0.0, 0.5, 1.0, 1000.0)


TABLES = {
    **{name: table(name) for name in ("e4m3", "e5m2")},
    "lone": LONE,
    "pair": (-2.0, 1.0),
    "aside": (100.0, 101.0, 109.0),
}


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("name", TABLES)
def test_no_scale_of_a_table_is_better_than_the_best(density, name):
    levels = np.unique(TABLES[name])
    tried = np.geomspace(0.01 / np.abs(levels).max(), 20 / np.abs(levels[levels != 0]).min(), 3000)
    least = min(distortion(density, levels * scale) for scale in tried)
    best = optimal_scale(density, TABLES[name])
    assert best.mse <= least * (1 + 1e-6)
    assert best.mse == distortion(density, best.levels)


def test_a_table_may_come_in_any_order_and_of_any_size_and_only_an_even_one_has_a_step():
    best = optimal_scale("gauss", table("e2m1"))
    other = optimal_scale("gauss", tuple(-7e-5 * x for x in table("e2m1")))
    np.testing.assert_allclose(other.levels, best.levels, atol=1e-8)
    assert best.step == 0
    assert optimal_scale("gauss", (0.0, 4.0, -4.0)).step == half_digit(1.224006, 6)
    for lone in ((0.0,), (3.0,)):
        nothing = optimal_scale("gauss", lone)
        assert (nothing.mse, nothing.sqnr_db, nothing.entropy_bits, nothing.step) == (1, 0, 0, 0)
    with pytest.raises(ValueError, match="read-only"):
        best.levels[0] = 0


@pytest.mark.parametrize(
    ("dtype", "gauss", "laplace"),
    [
        (np.float16, 73.651, 73.666),
        (ml_dtypes.bfloat16, 55.589, 55.604),
        (FLOATS["e4m3"], 31.521, 31.537),
        (FLOATS["e5m2"], 25.543, 25.559),
    ],
)
def test_floats_at_a_scale_of_one_have_their_sqnr(dtype, gauss, laplace):
    for density, decibels in (("gauss", gauss), ("laplace", laplace)):
        assert -10 * math.log10(distortion(density, levels_of(dtype))) == half_digit(decibels, 3)


def test_bitnets_ternary_weights_have_their_error_and_zeros():
    mean = math.sqrt(2 / math.pi)
    assert distortion("gauss", np.array([-mean, 0, mean])) == half_digit(0.2633818, 7)
    assert SOURCES["gauss"].moments(np.array([-mean / 2, mean / 2]))[0][0] == half_digit(0.310064, 6)


def test_laws_have_the_figures_of_the_textbooks():
    restricted = {2: 6.0206, 3: 15.5630, 4: 22.9226, 5: 29.5424, 6: 35.8478, 7: 42.0074, 8: 48.0967, 16: 96.3293}
    for bits, decibels in restricted.items():
        assert restricted_uniform_sqnr_db(bits) == half_digit(decibels, 4)
    assert uniform_source_sqnr_db(1) == half_digit(6.0206, 4)
    assert rate_distortion_sqnr_db("gauss", 2.5) == pytest.approx(-10 * math.log10(4**-2.5))
    assert rate_distortion_sqnr_db("laplace", 0) == half_digit(0.6286, 4)
    for density, loss in (("gauss", 4.347), ("laplace", 6.532)):
        assert panter_dite_sqnr_db(density, 0) == half_digit(-loss, 3)


@pytest.mark.parametrize("density", DENSITIES)
def test_laplace_bound_and_panter_dite_follow_from_the_density(density):
    cube = integrate.quad(lambda x: JUDGES[density].pdf(x) ** (1 / 3), 0, 60, limit=200)[0] * 2
    assert panter_dite_sqnr_db(density, 3) == pytest.approx(-10 * math.log10(cube**3 / 12 / 64), abs=1e-6)
    entropy = float(JUDGES[density].entropy()) / math.log(2)
    bound = 4**entropy / (2 * math.pi * math.e)  # Shannon: the error is at least this times 4^−R
    assert rate_distortion_sqnr_db(density, 3) == pytest.approx(-10 * math.log10(bound / 64), abs=1e-9)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_no_optimum_passes_another_that_is_freer(density, bits):
    best = lloyd_max(density, bits)
    even = optimal_uniform(density, bits, "mid_rise")
    full, restricted = (optimal_uniform(density, bits, grid) for grid in ("full_range", "restricted"))
    assert restricted.sqnr_db <= full.sqnr_db <= best.sqnr_db + 1e-12
    assert even.sqnr_db <= best.sqnr_db + 1e-12
    assert panter_dite_sqnr_db(density, bits) < best.sqnr_db < rate_distortion_sqnr_db(density, bits)
