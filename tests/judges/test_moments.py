"""Moments of tensors against scipy's, on values that histograms and naive sums get wrong."""

import numpy as np
import pytest
from scipy import stats

from qexplorer.progress import finish
from qexplorer.quant.moments import shape_of
from qexplorer.quant.sketch import sketch
from qexplorer.quant.tensor_source import Values

JUDGE = "scipy.stats (moments)"
RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=(200, 300))


def with_outliers(*values: float) -> np.ndarray:
    x = NORMAL.copy()
    x.reshape(-1)[7 : 7 + 1000 * len(values) : 1000] = values
    return x


TENSORS = {
    "normal": NORMAL,
    "shifted": NORMAL * 1e-3 + 100,
    "t3": RANDOM.standard_t(3, size=(200, 300)),
    "lognormal": RANDOM.lognormal(size=(200, 300)),
    "few": NORMAL[:1, :100],
    "tiny": NORMAL * 1e-30,
    "outlier 30": with_outliers(30.0),
    "outlier 1e6": with_outliers(1e6),
    "outlier 1e30": with_outliers(-1e30),
    "three outliers": with_outliers(1e3, -900, 1100),
    "not finite": np.where(RANDOM.random((200, 300)) < 0.01, np.nan, NORMAL),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("name", TENSORS)
def test_moments_are_those_of_scipy(name, dtype, verdict):
    with np.errstate(over="ignore", under="ignore"):
        x = TENSORS[name].astype(dtype)
    values = Values.of(x)
    found = finish(shape_of(values, finish(sketch(values))))
    flat = x.reshape(-1).astype(np.float64)
    outliers = [each.place for each in found.outliers]
    rest = np.delete(flat, outliers)
    for moments, own in ((found.all, flat[np.isfinite(flat)]), (found.rest, rest[np.isfinite(rest)])):
        assert moments.n == own.size
        assert (moments.lo, moments.hi) == (own.min(), own.max())
        assert moments.mean == pytest.approx(own.mean(), rel=1e-9, abs=1e-12 * own.std())
        assert moments.sigma == pytest.approx(own.std(), rel=1e-9)
        if own.std():
            assert moments.skew == pytest.approx(stats.skew(own), rel=1e-6, abs=1e-6)
            assert moments.kurtosis == pytest.approx(stats.kurtosis(own), rel=1e-6, abs=1e-6)
        verdict.checked(4)


@pytest.mark.parametrize(("name", "places"), [("outlier 30", [7]), ("outlier 1e6", [7]), ("normal", []), ("few", []),
                                              ("three outliers", [2007, 7, 1007])])  # fmt: skip
def test_values_that_stand_alone_are_found_with_their_places(name, places):
    x = TENSORS[name].astype(np.float32)
    values = Values.of(x)
    found = finish(shape_of(values, finish(sketch(values))))
    assert [each.place for each in found.outliers] == places
    assert [x[tuple(each.indices(x.shape))] for each in found.outliers] == [each.value for each in found.outliers]
    far = np.abs(x.astype(np.float64) - found.rest.mean) > 6 * found.rest.sigma
    assert found.far == far.sum() - len(places)
