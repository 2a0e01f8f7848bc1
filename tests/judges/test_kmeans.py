"""K-means tables, judged by an own exact solver in O(k·n²) and by scikit-learn's k-means++."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze

JUDGE = "scikit-learn KMeans"
SIZE = 500


def error(x: np.ndarray, spec: str) -> float:
    return finish(analyze(x, QuantSpec.parse(spec), bins=0)).sums.e2


def named(bits: int) -> str:
    return "kmeans" if bits == 4 else f"kmeans{bits}"


def least_errors(x: np.ndarray, most: int) -> list[float]:
    """The least Σe² with 1 … `most` levels, by trying every last cell: written for reading, not for speed."""
    x = np.sort(x.astype(np.float64))
    ahead = np.arange(len(x) + 1)
    sums, squares = (np.concatenate([[0.0], np.cumsum(x**power)]) for power in (1, 2))
    n = np.maximum(ahead[None, :] - ahead[:, None], 1)
    within = squares[None, :] - squares[:, None] - (sums[None, :] - sums[:, None]) ** 2 / n
    within = np.where(ahead[:, None] <= ahead[None, :], np.maximum(within, 0), np.inf)
    best, found = within[0], [within[0, -1]]
    for _ in range(most - 1):
        best = (best[:, None] + within).min(axis=0)
        found.append(best[-1])
    return [float(each) for each in found]


def tensors():
    rng = np.random.default_rng(0)
    yield "normal", rng.normal(size=SIZE)
    yield "heavy tails", rng.standard_t(2, size=SIZE)
    yield "one outlier", np.append(rng.normal(size=SIZE - 1), 100)
    yield "negative outliers", np.append(rng.normal(size=SIZE - 5), -200 * rng.random(5))
    yield "lognormal", np.exp(2 * rng.normal(size=SIZE))
    yield "half zeros", np.maximum(rng.normal(size=SIZE), 0)
    yield "two bells", rng.normal(size=SIZE) + np.where(rng.random(SIZE) < 0.5, 50, -50)
    yield "few distinct", rng.integers(0, 40, SIZE) ** 2 * 0.125
    yield "tiny", rng.laplace(size=SIZE) * 1e-9


@pytest.mark.parametrize("x", [pytest.param(x.astype(np.float32), id=name) for name, x in tensors()])
def test_the_table_is_the_optimum_of_dynamic_programming(x):
    unit = float(np.abs(x).max())
    least = least_errors(x / unit, 64)
    for bits in (2, 3, 4, 5, 6):
        judged = least[2**bits - 1] * unit**2
        floats = (unit * 2.0**-24) ** 2 * len(x)  # levels are float32
        assert error(x, named(bits)) == pytest.approx(judged, rel=1e-5, abs=floats), bits


@pytest.mark.parametrize("bits", [7, 8])
def test_many_levels_are_the_optimum_too(bits, rng):
    x = rng.standard_t(3, size=SIZE).astype(np.float32)
    assert error(x, named(bits)) == pytest.approx(least_errors(x, 2**bits)[-1], rel=1e-4)


def test_each_channel_has_the_optimum_of_its_own(rng):
    x = (rng.standard_t(2, size=(6, 150)) * np.logspace(-3, 2, 6)[:, None]).astype(np.float32)
    judged = sum(least_errors(row, 8)[-1] for row in x)
    assert error(x, "kmeans3 channel:0") == pytest.approx(judged, rel=1e-6)


@pytest.mark.parametrize("x", [
    pytest.param(lambda rng: np.append(rng.normal(size=99_999), 1e4), id="one outlier"),
    pytest.param(lambda rng: np.append(rng.normal(size=99_999) * 0.02, 3), id="one large weight"),
    pytest.param(lambda rng: rng.standard_t(2, size=100_000), id="heavy tails"),
    pytest.param(lambda rng: np.exp(2 * rng.normal(size=100_000)), id="lognormal"),
])  # fmt: skip
def test_more_values_than_are_searched_exactly_are_divided_no_worse_than_by_scikit_learn(x, rng):
    x = x(rng).astype(np.float32)
    for bits in (2, 4):
        theirs = KMeans(2**bits, n_init=3, random_state=0).fit(x[:, None].astype(np.float64)).inertia_
        assert error(x, named(bits)) <= theirs * (1 + 1e-6), bits


def test_the_parts_of_many_values_cost_next_to_nothing(rng, monkeypatch):
    """A tenth of what is searched exactly, on the same values: the answer of parts beside the exact one."""
    from qexplorer.quant.formats import kmeans

    x = rng.standard_t(3, size=20_000).astype(np.float32)
    exact = error(x, "kmeans6")
    monkeypatch.setattr(kmeans, "MOST", 2_000)
    assert exact <= error(x, "kmeans6") <= exact * 1.001
