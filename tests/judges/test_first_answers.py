"""What the panels say of a large tensor at once is true: judged by plain NumPy on every value."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.glance import Glance
from qexplorer.quant.quantize import quantize
from qexplorer.quant.survey import survey_formats, survey_observers
from qexplorer.quant.tensor_source import Values

JUDGE = "NumPy on every value"
SHAPE = 250, 384
BASES = ("int8", "int4 channel:0", "uint4 affine channel:1", "int4 last_axis:48", "int8 block:16x32")


def draws() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=SHAPE)
    yield "t3", rng.standard_t(3, size=SHAPE)
    yield "one outlier", np.where(np.arange(normal.size).reshape(SHAPE) == 777, 300, normal)
    yield "outlier columns", normal * np.where(np.arange(SHAPE[1]) % 100 == 7, 50, 1)
    yield "one row ×100", normal * np.where(np.arange(SHAPE[0]) == 7, 100, 1)[:, None]
    yield "relu, not finite", np.where(rng.random(SHAPE) < 0.001, np.inf, np.maximum(normal, 0))


DATA = [pytest.param(x.astype(np.float32), id=name) for name, x in draws()]


def sqnr_db(x: np.ndarray, spec: QuantSpec) -> float:
    """By NumPy, of the finite values."""
    with np.errstate(over="ignore", invalid="ignore"):
        _, y, _ = quantize(x, spec)
    a, b = (each[np.isfinite(x)].astype(np.float64) for each in (x, y))
    e2 = float(((b - a) ** 2).sum())
    return 10 * math.log10(float((a * a).sum()) / e2) if e2 else math.inf


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("x", DATA)
def test_formats(x, base, verdict):
    survey = finish(survey_formats(x, QuantSpec.parse(base)))
    assert survey.coverage == "sampled"
    known = 0
    for point in survey.points:
        applied, n = point.spec.for_kind(Values.of(x).kind), x.size
        groups = applied.granularity.tiling(x.shape).groups
        least = n * point.spec.format.storage_bits + groups * 8 * point.spec.format.scaled
        assert least <= point.bits_per_weight * n * (1 + 1e-12)
        if point.coverage == "pending":
            assert math.isnan(point.sqnr_db)
            continue
        known += 1
        true, (low, high) = sqnr_db(x, point.spec), point.bounds or (point.sqnr_db, point.sqnr_db)
        assert low - 1e-6 <= true <= high + 1e-6, (point.spec.short, true, low, high)
    assert known >= len(formats) - 18
    verdict.checked(known)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("x", DATA)
def test_observers(x, base, verdict):
    survey = finish(survey_observers(x, QuantSpec.parse(base)))
    known = 0
    for point in survey.points:
        if point.coverage == "pending":
            assert math.isnan(point.sqnr_db)
            assert math.isnan(point.mse)
            continue
        known += 1
        exact = finish(analyze(x, point.spec, bins=0))
        assert (point.lo, point.hi) == (exact.lo, exact.hi)
        low, high = point.bounds["sqnr_db"]
        assert low - 1e-6 <= sqnr_db(x, point.spec) <= high + 1e-6, point.spec.short
        if not math.isnan(point.clipped_fraction):
            low, high = point.bounds.get("clipped_fraction", (point.clipped_fraction,) * 2)
            assert low <= exact.metrics.clipped_fraction <= high
    assert known >= 2
    finite = x[np.isfinite(x)]
    assert survey.counts.sum() == finite.size
    assert (survey.bins.start, survey.bins.stop) == pytest.approx((finite.min(), finite.max()))
    verdict.checked(known)


@pytest.mark.parametrize("shape", [(64, 300, 9), (40_000,), (3, 30_001), (129, 513)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_estimates_of_other_shapes(shape, dtype):
    """Short last groups, several axes, halves with many equal values."""
    rng = np.random.default_rng(1)
    x = (rng.standard_t(4, size=shape) * 0.02).astype(dtype)
    glance, wide = Glance(Values.of(x)), x.astype(np.float32)
    for words in ("int8 channel:0", "uint8 affine group:50", "int4 last_axis:32", "nf4 block:3x64", "q4_0", "mxfp4",
                  "q5_1", "tq2_0", "nvfp4", "int4 full_span e8m0 channel:0", "int8 toward_zero group:64",
                  "nf4 group:64 double", "fp8_e4m3fn", "bf16", "int4 fixed:-0.01,0.02"):  # fmt: skip
        spec = QuantSpec.parse(words)
        found = finish(glance.estimate(spec))
        exact = finish(analyze(x, spec, bins=0))
        assert found is not None, words
        assert found.e2[0] * (1 - 1e-9) <= exact.sums.e2 <= found.e2[1] * (1 + 1e-9), words
        assert found.worst[0] * (1 - 1e-6) <= exact.metrics.max_abs_error <= found.worst[1], words
        assert found.x2 == pytest.approx(float((wide.astype(np.float64) ** 2).sum()), rel=1e-12)
        np.testing.assert_array_equal(np.abs(found.params.scale), np.abs(exact.params.scale))


def test_bounds_hold_as_often_as_they_say(monkeypatch):
    """Where a bound may be wrong once in ten times, it is not wrong more often than that."""
    monkeypatch.setattr("qexplorer.quant.glance.DOUBT", 0.1)
    wrong, spec = 0, QuantSpec.parse("int4 channel:0")
    for seed in range(60):
        monkeypatch.setattr("qexplorer.quant.glance.SEED", seed)
        x = np.random.default_rng(seed).standard_t(2, size=(64, 64)).astype(np.float32)
        found = finish(Glance(Values.of(x)).estimate(spec))
        wrong += not found.e2[0] <= finish(analyze(x, spec, bins=0)).sums.e2 <= found.e2[1]
    assert wrong <= 6
