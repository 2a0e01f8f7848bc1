"""The exact optimum, against brute force, closed forms, and every other observer."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.grid_target import grids
from qexplorer.quant.observers import observers
from qexplorer.quant.observers.optimal import Optimal
from qexplorer.quant.quantize import find_range, params_for, quantize, range_steps

SYMMETRIC = ("restricted", "full_span", "full_range", "no_clipping", "signed_extreme")


def mse(x: np.ndarray, chosen: QuantSpec) -> float:
    error = quantize(x, chosen)[1].astype(np.float64) - x
    return float((error * error).mean())


GRIDDED = [
    *(QuantSpec.from_json({"format": f, "convention": c})
      for f in ("int2", "int4", "int8", "uint4") for c in SYMMETRIC),
    *(QuantSpec.from_json({"format": f, "scheme": "affine"}) for f in ("int2", "uint3", "int4")),
    *(QuantSpec(formats[f])
      for f in ("nf4", "af4", "fp4_bnb", "fp4_e2m1", "fp6_e3m2", "fp8_e4m3fn", "ternary", "binary")),
]  # fmt: skip


@pytest.mark.parametrize("each", GRIDDED, ids=lambda s: f"{s.title} {s.convention}")
def test_a_grids_ends_give_its_scale_and_its_levels(each):
    for grid in grids(each):
        lo, hi = grid.ends(np.array([0.37]))
        params = params_for(each, lo, hi)
        assert float(np.abs(params.scale[0])) == pytest.approx(0.37, rel=1e-6)
        codes = np.arange(params.qmin, params.qmax + 1, dtype=np.int32)
        values = each.format.dequantize(codes[None], params)[0]
        np.testing.assert_allclose(np.unique(values[np.isfinite(values)]), grid.levels * 0.37, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("each", GRIDDED, ids=lambda s: f"{s.title} {s.convention}")
def test_no_scale_of_a_fine_grid_beats_the_optimum(each, rng):
    x = rng.laplace(size=(1, 300)).astype(np.float32)
    best = mse(x, each.adopt("observer", Optimal()))
    for grid in grids(each):
        reach = float(np.abs(x).max() / np.abs(grid.levels).max())
        scales = reach * np.linspace(0.002, 1.5, 1500)
        lo, hi = grid.ends(scales)
        params = params_for(each, lo, hi)
        rows = np.repeat(x, len(scales), axis=0)
        error = each.format.dequantize(each.format.quantize(rows, params), params).astype(np.float64) - rows
        assert best <= (error * error).mean(axis=1).min() * (1 + 1e-6)


@given(
    hnp.arrays(np.float32, (1, 40), elements=st.floats(-100, 100, width=32)),
    st.sampled_from([s for s in GRIDDED if s.format.code_bits <= 4]),
)
def test_no_observer_beats_the_optimum(x, each):
    best = mse(x, each.adopt("observer", Optimal()))
    floor = (np.abs(x).max() * 2.0**-20) ** 2  # float32's own rounding
    for cls in observers:
        other = cls()
        if not other.refusal(each):
            assert best <= mse(x, each.adopt("observer", other)) * (1 + 1e-5) + floor


@pytest.mark.parametrize(
    ("name", "distribution", "clip", "expected"),
    [  # the MSE-optimal scale of each table for unit variance, by exact integrals
        ("int2", "normal", 1.22401, 0.19017404), ("int4", "normal", 2.47388, 0.01288939),
        ("int8", "normal", 3.92050, 0.00008831), ("int3", "normal", 1.95231, 0.04685997),
        ("int3", "laplace", 2.465259, 0.08308652), ("int4", "laplace", 3.40819, 0.02739522),
        ("int6", "laplace", 5.203319, 0.00297951), ("int8", "laplace", 6.988048, 0.00030330),
        ("nf4", "normal", 2.86306, 0.00989932), ("nf4", "laplace", 4.05916, 0.01674474),
        ("af4", "normal", 2.82618, 0.01070053), ("fp4_bnb", "normal", 2.56362, 0.01658612),
        ("fp4_e2m1", "normal", 2.92248, 0.01268490), ("fp4_e2m1", "laplace", 4.14685, 0.01849101),
        ("fp6_e2m3", "normal", 3.74754, 0.00082915), ("ternary", "normal", 1.22401, 0.19017404),
    ],
)  # fmt: skip
def test_the_optimum_of_a_million_values_is_that_of_the_distribution(name, distribution, clip, expected, rng):
    x = rng.normal(size=1_000_000) if distribution == "normal" else rng.laplace(scale=1 / math.sqrt(2), size=1_000_000)
    x = x.astype(np.float32)
    chosen = QuantSpec(formats[name], observer=Optimal())
    _, values, params = quantize(x, chosen)
    squares = (values.astype(np.float64) - x) ** 2
    assert squares.mean() == pytest.approx(expected, abs=5 * squares.std() / 1000)
    assert float(chosen.format.reach(params)[1][0]) == pytest.approx(clip, rel=0.02)


@pytest.mark.parametrize(
    ("bits", "step", "expected"),
    [(2, 1.048385, 0.14943107), (3, 0.601824, 0.04063825), (4, 0.338608, 0.01186404), (5, 0.188792, 0.00352596),
     (6, 0.104179, 0.00104285), (8, 0.030766, 0.00008771)],
)  # fmt: skip
@pytest.mark.parametrize("convention", ["full_range", "signed_extreme"])
def test_the_optimum_of_the_full_range_is_that_of_normal_values(bits, step, expected, convention, rng):
    """A sign of the scale mirrors the levels; for a distribution that is its own mirror that changes nothing."""
    x = rng.normal(size=1_000_000).astype(np.float32)
    _, values, params = quantize(x, QuantSpec(formats[f"int{bits}"], convention=convention, observer=Optimal()))
    squares = (values.astype(np.float64) - x) ** 2
    assert squares.mean() == pytest.approx(expected, abs=5 * squares.std() / 1000)
    assert abs(float(params.scale[0])) == pytest.approx(step, rel=0.02)


@pytest.mark.parametrize("each", GRIDDED, ids=lambda s: f"{s.title} {s.convention}")
def test_values_that_are_levels_are_kept_exactly(each, rng):
    for grid in grids(each):
        x = np.float32(0.37) * rng.choice(grid.levels.astype(np.float32), (1, 200))
        x[0, :2] = np.float32(0.37) * grid.levels[[0, -1]].astype(np.float32)
        assert mse(x, each.adopt("observer", Optimal())) <= (np.abs(x).max() * 2.0**-22) ** 2


@pytest.mark.parametrize(
    "fields",
    [{"format": "int4"}, {"format": "uint4", "scheme": "affine"}, {"format": "fp4_e2m1"}, {"format": "int8"},
     {"format": "int4", "convention": "signed_extreme"}, {"format": "binary"}],
    ids=lambda fields: "-".join(fields.values()),
)  # fmt: skip
def test_each_group_has_the_optimum_that_it_has_alone(fields, rng):
    """However many are searched together, and however unlike they are."""
    rows = rng.normal(size=(3000, 64)).astype(np.float32) * np.exp(rng.normal(size=(3000, 1)) * 5).astype(np.float32)
    rows[::7, 0] *= 1000
    rows[5], rows[6], rows[7, 3], rows[8, 4] = 0, np.nan, np.nan, -np.inf
    spec = QuantSpec.from_json({"observer": "optimal", "granularity": "channel:0", **fields})
    together = find_range(spec, rows)
    assert [end[5] for end in together] == [end[6] for end in together] == [0, 0]
    for g in (0, 1, 7, 8, 14, 2999):
        np.testing.assert_array_equal(
            [end[g] for end in together], [end[0] for end in find_range(spec, rows[g : g + 1])]
        )


@pytest.mark.parametrize("name", ["int4", "int8", "nf4"])
def test_a_value_that_comes_thrice_counts_thrice(name, rng):
    x = rng.laplace(size=(1, 500)).astype(np.float32)
    spec = QuantSpec(formats[name], observer=Optimal())
    np.testing.assert_allclose(find_range(spec, np.repeat(x, 3, axis=1)), find_range(spec, x), rtol=1e-6)
    heavy = np.append(x, np.full((1, 5000), 0.3, np.float32), axis=1)
    assert mse(heavy, spec) < mse(heavy, QuantSpec(formats[name]))


def test_a_long_group_has_nearly_the_optimum_of_all_its_values(rng):
    """More distinct values than are told apart: no scale of a fine grid is better by more than that blurs."""
    x = rng.standard_t(4, size=(1, 600_000)).astype(np.float32)
    spec = QuantSpec(formats["int6"], observer=Optimal())
    best, (_, (hi,)) = mse(x, spec), find_range(spec, x)
    for share in np.linspace(0.97, 1.03, 25):
        assert best <= mse(x, spec.adopt("observer", observers.parse(f"fixed:{-hi * share},{hi * share}"))) * (1 + 1e-6)


def test_of_scales_that_err_alike_the_smallest_is_taken(rng):
    """Floats repeat with every octave, so that scales far too large err as little as the right one."""
    x = rng.normal(size=(1, 100_000)).astype(np.float32)
    _, (hi,) = find_range(QuantSpec(formats["fp8_e5m2"], observer=Optimal()), x)
    assert hi < 2.5 * np.abs(x).max()


def test_the_search_tells_how_far_it_is_and_can_be_stopped(rng):
    x = rng.normal(size=(2000, 128)).astype(np.float32)
    spec = QuantSpec.from_json({"format": "int8", "observer": "optimal", "granularity": "channel:0"})
    told = []
    finish(range_steps(spec, x), told.append)
    fractions = [progress.fraction for progress in told]
    assert len(fractions) > 10
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.1 < 0.8 < fractions[-1] <= 1
    steps = range_steps(spec, x)
    next(steps)
    steps.close()
