"""What is zoomed: counts are those of `np.histogram`, at once from the sketch and exactly from every value."""

from typing import Any

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.quantize import quantize
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.tensor_source import Values
from qexplorer.quant.windows import (
    Beyond,
    Window,
    bulk_of,
    count_windows,
    errors_of_sketch,
    outliers_of,
    window_of_sketch,
)

SPECS = (
    {"format": "int4"},
    {"format": "int8"},
    {"format": "int16"},
    {"format": "uint4", "scheme": "affine"},
    {"format": "int4", "granularity": "channel"},
    {"format": "int4", "granularity": "channel:1"},
    {"format": "nf4", "granularity": "group:64"},
    {"format": "fp16"},
    {"format": "q4_0"},
)
SPANS = ((-1.0, 1.0), (0.1, 0.10002), (3.0, 4.0), (90.0, 103.0), (-200.0, 200.0))


def spoiled(n: int) -> np.ndarray:
    """Normal values, two far ones, and two that are not finite."""
    x = np.random.default_rng(0).normal(size=(n, 700)).astype(np.float32)
    x[0, 4], x[1, 6], x[1, 7], x[2, 0] = 102.4, -50.0, np.nan, np.inf
    return x


@pytest.fixture(scope="module", params=[False, True], ids=["NumPy", "kernels"])
def values(request: pytest.FixtureRequest) -> np.ndarray:
    if request.param:
        import qexplorer.quant.kernels  # noqa: F401
    return spoiled(100)


def of(values: np.ndarray, **spec: str) -> Analysis:
    return finish(analyze(values, QuantSpec.from_json(spec)))


def sketched(values: Any) -> Sketch:
    return finish(sketch(Values.of(np.asarray(values, np.float32))))


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_value_of_a_window_is_counted_as_numpy_does(values: np.ndarray, spec: dict[str, str]) -> None:
    a, known = of(values, **spec), np.isfinite(values)
    x = values[known].astype(np.float64)
    y = quantize(values, a.applied, a.params)[1][known].astype(np.float64)
    for span in SPANS:
        window, errors = finish(count_windows(Values.of(values), a, span, (-0.01, 0.02)))
        assert window is not None
        assert errors is not None
        assert (window.bins.start, window.bins.stop) <= (span[0], window.bins.stop)
        assert window.bins.stop >= span[1]
        np.testing.assert_array_equal(window.original, np.histogram(x, window.bins.edges)[0])
        np.testing.assert_array_equal(window.dequantized, np.histogram(y, window.bins.edges)[0])
        wrong = (y - x).astype(np.float32)
        np.testing.assert_array_equal(errors.errors, np.histogram(wrong, errors.bins.edges)[0])
        assert errors.beyond == x.size - np.histogram(wrong, errors.bins.edges)[0].sum()
        assert (window.below.n, window.above.n) == ((x < span[0]).sum(), (x > span[1]).sum())
        assert window.below.n == 0 or window.below.farthest == -50.0
        assert window.above.n == 0 or window.above.farthest == np.float32(102.4)


@pytest.mark.parametrize("span", [(-1.0, 1.0), (-0.2, 0.1), (3.0, 104.0)])
def test_a_sketch_answers_at_once_and_nearly_so(values: np.ndarray, span: tuple[float, float]) -> None:
    a, whole = of(values, format="int8"), sketched(values)
    exact = finish(count_windows(Values.of(values), a, span, None))[0]
    quick = window_of_sketch(whole, a, span)
    assert isinstance(exact, Window)
    assert exact.dequantized is not None
    assert not quick.exact
    assert quick.bins.edges.tolist() == exact.bins.edges.tolist()
    assert abs(np.cumsum(quick.original - exact.original)).max() < 0.01 * exact.original.sum() + 2
    assert quick.dequantized is not None
    assert abs(quick.dequantized - exact.dequantized).sum() < 0.05 * exact.original.sum() + 2
    for rough, true in ((quick.below, exact.below), (quick.above, exact.above)):
        assert abs(rough.n - true.n) <= 0.01 * values.size
        assert rough.farthest == true.farthest or np.isnan([rough.farthest, true.farthest]).all()


def test_where_scales_differ_a_sketch_tells_of_the_original_only(values: np.ndarray) -> None:
    a, whole = of(values, format="int4", granularity="channel"), sketched(values)
    assert window_of_sketch(whole, a, (-1.0, 1.0)).dequantized is None
    assert errors_of_sketch(whole, a, (-0.1, 0.1)) is None


def test_a_window_without_values_is_empty(values: np.ndarray) -> None:
    nothing = np.full((4, 4), np.nan, np.float32)
    a = of(nothing, format="int4")
    window = finish(count_windows(Values.of(nothing), a, (-1.0, 1.0), None))[0]
    assert window is not None
    assert window.original.sum() == window.below.n == 0
    assert window_of_sketch(sketched(nothing), a, (-1.0, 1.0)).original.sum() == 0


def test_few_values_far_from_all_others_are_outliers() -> None:
    x = spoiled(100)
    bulk = bulk_of(sketched(x))
    assert bulk is not None
    assert -12 < bulk[0] < -4 < 4 < bulk[1] < 12
    low, high = outliers_of(sketched(x), bulk)
    assert low == Beyond(1, -50.0)
    assert high == Beyond(1, float(np.float32(102.4)))


@pytest.mark.parametrize(
    "draw", [lambda rng: rng.normal(size=60_000), lambda rng: rng.uniform(size=500), lambda rng: np.zeros(99),
             lambda rng: rng.laplace(size=20_000), lambda rng: np.full(7, 3.0), lambda rng: np.zeros(0)]
)  # fmt: skip
def test_usual_distributions_have_none(draw: Any, rng: np.random.Generator) -> None:
    assert bulk_of(sketched(draw(rng))) is None
