"""The sketch: what it counts, what follows from it, and that its bounds hold the exact figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze, kernels
from qexplorer.quant import error_sums as measuring
from qexplorer.quant import sketch as sketching
from qexplorer.quant.analysis import analyze_sketch, unsketched
from qexplorer.quant.formats import formats
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.tensor_source import Values, widened
from qexplorer.settings import values_of

FLOATS = hnp.arrays(
    np.float32,
    st.integers(1, 300),
    elements=st.one_of(st.floats(-200, 200, width=32), st.floats(width=32), st.sampled_from([0.0, -0.0, 1.0, 1e-44])),
)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor counts as a large one."""
    monkeypatch.setattr(sketching, "FEW", 0)


def of(x: np.ndarray, dtype: str = "") -> Sketch:
    return finish(sketch(Values.of(x, dtype)))


def exact(x: np.ndarray, spec: QuantSpec) -> Analysis:
    return finish(analyze(x, spec))


@given(FLOATS)
def test_every_value_is_in_one_bucket_between_its_ends(x: np.ndarray) -> None:
    was, sketching.FEW = sketching.FEW, 0
    try:
        whole = of(x)
    finally:
        sketching.FEW = was
    finite = x[np.isfinite(x)].astype(np.float64)
    assert (whole.n, whole.nonfinite) == (finite.size, x.size - finite.size)
    assert whole.counts.sum() == finite.size
    assert (np.diff(whole.values) >= 0).all()
    assert ((whole.low <= whole.values) & (whole.values <= whole.high)).all()
    if finite.size:
        assert (whole.values[0], whole.values[-1]) == (finite.min(), finite.max())
        wide = np.maximum(np.abs(whole.low), np.abs(whole.high)).astype(np.float64)
        assert (whole.high.astype(np.float64) - whole.low <= wide * 2.0**-8 + 2.0**-134).all()
        total = (whole.values.astype(np.float64) * whole.counts).sum()
        assert total == pytest.approx(finite.sum(), rel=1e-6, abs=float(np.abs(finite).sum()) * 2e-7 + 1e-44)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_counted_as_they_are(dtype: str, large: None) -> None:
    patterns = np.random.default_rng(0).integers(0, 1 << 16, 200_000).astype(np.uint16)
    x = patterns if dtype == "bfloat16" else patterns.view(np.float16)
    whole = of(x, dtype)
    values, counts = np.unique(widened(x)[np.isfinite(widened(x))] + np.float32(0), return_counts=True)
    assert whole.exact
    merged, where = np.unique(whole.values + np.float32(0), return_inverse=True)
    np.testing.assert_array_equal(merged, values)
    np.testing.assert_array_equal(np.bincount(where, whole.counts), counts)


def test_a_few_values_are_counted_as_they_are() -> None:
    x = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    x[:3] = np.nan, np.inf, 0.5
    whole = of(x)
    assert whole.exact
    assert (whole.n, whole.nonfinite) == (2998, 2)
    np.testing.assert_array_equal(np.repeat(whole.values, whole.counts), np.sort(x[np.isfinite(x)]))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_kernels_count_as_numpy_does(dtype: str, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels  # loaded
    x = np.random.default_rng(0).standard_t(3, size=3_000_000).astype(np.float32)
    x[5] = np.nan
    raw = (x.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else x.astype(dtype)
    fast = of(raw, dtype)
    monkeypatch.setattr(measuring, "WORTH_CALLING", x.size + 1)
    slow = of(raw, dtype)
    for name, array in fast.arrays().items():
        np.testing.assert_array_equal(slow.arrays()[name], array, err_msg=name)


SPECS = ["int2", "int4", "int8", "uint4 affine", "nf4", "fp8_e4m3fn", "ternary", "int4 mse", "int6 percentile:99",
         "fp4_e2m1", "int4 entropy", "int8 half_up", "int8 toward_zero"]  # fmt: skip


def spec_of(words: str) -> QuantSpec:
    name, *more = words.split()
    fields = {"format": name}
    for word in more:
        field = "scheme" if word == "affine" else "rounding" if word in ("half_up", "toward_zero") else "observer"
        fields[field] = word
    return QuantSpec.from_json(fields)


@pytest.mark.parametrize("words", SPECS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_bounds_hold_the_true_figures(words: str, seed: int, large: None) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=60_000), rng.standard_t(3, 60_000), rng.uniform(-1, 3, 60_000))[seed].astype(np.float32)
    spec = spec_of(words)
    rough = analyze_sketch(of(x), x.shape, spec)
    fixed = QuantSpec.from_json({**spec.to_json(), "observer": f"fixed:{rough.lo!r},{rough.hi!r}"}) \
        if spec.observer.asks == "values" and not spec.applies("observer") else spec  # fmt: skip
    truth = exact(x, fixed).metrics if fixed is not spec else exact(x, spec).metrics
    np.testing.assert_array_equal(exact(x, fixed).params.scale, rough.params.scale)
    assert rough.coverage == "sketch"
    for name, (low, high) in rough.bounds.items():
        room = 1e-9 * abs(high)
        assert low - room <= getattr(truth, name) <= high + room, name
    assert rough.metrics.sqnr_db == pytest.approx(truth.sqnr_db, abs=0.2)


def test_the_bounds_know_that_means_are_rounded_too(large: None) -> None:
    levels = np.arange(3, 127, 2, dtype=np.float32) * np.float32(0.01)
    x = np.concatenate(
        [[np.float32(1.27)], np.repeat(levels, 500), np.repeat(np.nextafter(levels, np.float32(9)), 500)]
    )
    rough, truth = analyze_sketch(of(x), x.shape, QuantSpec()), exact(x, QuantSpec()).metrics
    for name in ("sqnr_db", "mse", "mae", "relative_rmse"):
        low, high = rough.bounds[name]
        assert low <= getattr(truth, name) <= high, name


@pytest.mark.parametrize("words", SPECS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_of_sixteen_bits_the_sketch_says_all_that_an_exact_pass_does(words: str, dtype: str, large: None) -> None:
    x = np.random.default_rng(3).standard_t(4, size=40_000).astype(np.float32)
    x[7] = np.inf
    raw = (x.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else x.astype(np.float16)
    values, spec = Values.of(raw, dtype), spec_of(words)
    ours, truth = analyze_sketch(finish(sketch(values)), x.shape, spec), finish(analyze(values, spec))
    assert (ours.coverage, ours.coverage_n, ours.bounds) == ("exact", x.size, {})
    np.testing.assert_allclose(ours.params.scale, truth.params.scale, rtol=2e-6)
    if np.array_equal(ours.params.scale, truth.params.scale):
        for name in ("original", "dequantized", "errors", "level_counts", "levels"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(truth, name), err_msg=name)
        for name, value in values_of(truth.metrics).items():
            if name != "original_bytes":
                assert getattr(ours.metrics, name) == pytest.approx(value, rel=1e-9), name


def test_what_depends_on_places_is_refused() -> None:
    whole = of(np.ones(9, np.float32))
    for fields in ({"granularity": "channel:0"}, {"rounding": "stochastic"}, {"format": "kmeans"}):
        spec = QuantSpec.from_json(fields)
        assert unsketched(spec)
        with pytest.raises(UserError):
            analyze_sketch(whole, (9, 1), spec)


@pytest.mark.parametrize("x", [np.zeros(0, np.float32), np.full(5, np.nan, np.float32), np.zeros(7, np.float32)])
@pytest.mark.parametrize("few", [0, 100])
def test_tensors_without_values_have_a_sketch(x: np.ndarray, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketching, "FEW", few)
    analysis = analyze_sketch(of(x), x.shape, QuantSpec())
    assert analysis.metrics.n == x.size
    assert analysis.metrics.nonfinite == np.isnan(x).sum()


@pytest.mark.parametrize("change", [lambda a: a.pop("low"), lambda a: a.update(sizes=np.array([3, 0])),
                                    lambda a: a.update(values=a["values"][::-1])])  # fmt: skip
def test_arrays_that_are_no_sketch_are_refused(change) -> None:
    arrays = of(np.random.default_rng(0).normal(size=100).astype(np.float32)).arrays()
    assert Sketch.of_arrays(dict(arrays)).n == 100
    change(arrays)
    with pytest.raises((ValueError, KeyError)):
        Sketch.of_arrays(arrays)


def test_all_formats_are_answered_or_refused_with_a_reason(large: None) -> None:
    x = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    whole = of(x)
    answered = 0
    for form in formats:
        spec = QuantSpec().adopt("format", form)
        if unsketched(spec):
            continue
        rough, truth = analyze_sketch(whole, x.shape, spec).metrics, exact(x, spec).metrics
        answered += 1
        if math.isfinite(truth.sqnr_db):
            low, high = analyze_sketch(whole, x.shape, spec).bounds["sqnr_db"]
            assert low - 1e-9 <= truth.sqnr_db <= high + 1e-9 or spec.observer.asks == "values", form.name
            assert rough.sqnr_db == pytest.approx(truth.sqnr_db, abs=max(0.3, (high - low) / 2)), form.name
    assert answered > 10
