"""No jump at a size: beyond each threshold of ours the answer is the one before it, and the one of the judges."""

import importlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.ao.quantization.observer import HistogramObserver

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze, ranges, weighted
from qexplorer.quant import pieces as pieces_module
from qexplorer.quant.analysis import analyze_sketch
from qexplorer.quant.error_sums import WORTH_CALLING
from qexplorer.quant.sketch import FEW, sketch
from qexplorer.quant.tensor_source import Values

JUDGE = "PyTorch's HistogramObserver, NumPy's quantiles, brute-force KL"

pytestmark = pytest.mark.usefixtures("quiet_torch_ao")
COUNTED = ("entropy", "histogram", "percentile:99", "percentile:99.99", "absmean", "aciq:gauss", "aciq:laplace")
"""Observers that count very many values themselves."""
SKETCHED = ("mse", "lp:3", "octav", "optimal", "hqq")


def draws(n: int = 60_001) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    yield "normal", rng.normal(size=n)
    yield "t3", rng.standard_t(3, size=n)
    yield "relu", np.maximum(rng.normal(size=n), 0)
    yield "outlier", np.append(rng.normal(size=n - 1), 40)
    yield "not finite", np.where(rng.random(n) < 0.1, np.nan, -rng.exponential(size=n))
    yield "close together", 1 + rng.random(n) * 1e-4


DATA = [pytest.param(x.astype(np.float32), id=name) for name, x in draws()]


def both_sides(x: np.ndarray, spec: QuantSpec, monkeypatch: pytest.MonkeyPatch) -> tuple[Analysis, Analysis]:
    """As many values as are just looked at together, and as are just not."""
    monkeypatch.setattr(ranges, "SKETCHED", x.size)
    below = finish(analyze(x, spec, bins=0))
    monkeypatch.setattr(ranges, "SKETCHED", x.size - 1)
    monkeypatch.setattr(pieces_module, "BLOCK", 7_000)
    return below, finish(analyze(x, spec, bins=0))


def spec_of(observer: str) -> QuantSpec:
    form = "ternary" if observer == "absmean" else "int4 affine" if observer == "hqq" else "int4"
    return QuantSpec.parse(f"{form} {observer}" if observer != "absmean" else "ternary")


@pytest.mark.parametrize("observer", COUNTED)
@pytest.mark.parametrize("x", DATA)
def test_an_observer_that_counts_for_itself_gives_the_same_range(x, observer, monkeypatch):
    below, above = both_sides(x, spec_of(observer), monkeypatch)
    assert (below.ranged, above.ranged) == ("values", "values")
    np.testing.assert_allclose(above.params.scale, below.params.scale, rtol=2e-7)


@pytest.mark.parametrize("observer", SKETCHED)
@pytest.mark.parametrize("x", DATA[:4])
def test_one_that_is_given_the_sketch_says_so_and_comes_near(x, observer, monkeypatch):
    below, above = both_sides(x, spec_of(observer), monkeypatch)
    assert (below.ranged, above.ranged, above.coverage) == ("values", "sketch", "exact")
    assert above.metrics.sqnr_db == pytest.approx(below.metrics.sqnr_db, abs=0.05)


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("x", DATA)
def test_the_histogram_observer_of_very_many_values_is_that_of_torch(x, scheme, monkeypatch):
    judge = HistogramObserver(dtype=torch.qint8, qscheme=getattr(torch, f"per_tensor_{scheme}"))
    judge(torch.from_numpy(x[np.isfinite(x)]))
    spec = QuantSpec.parse("int8 affine histogram" if scheme == "affine" else "int8 full_span histogram")
    _, ours = both_sides(x, spec, monkeypatch)
    assert float(ours.params.scale[0]) == float(judge.calculate_qparams()[0])


def divergence(counts: np.ndarray, kept: int, levels: int) -> float:
    """KL(P‖Q) where so many bins are kept, as TensorRT's slides have it, bin by bin."""
    p, q = counts[:kept].copy(), np.zeros(kept)
    p[-1] += counts[kept:].sum()
    for level in range(levels):
        part = slice(level * kept // levels, (level + 1) * kept // levels)
        filled = counts[part] > 0
        if filled.any():
            q[part][filled] = counts[part].sum() / filled.sum()
    if not q.sum() or (q[p > 0] == 0).any():
        return np.inf
    p, q = p[p > 0] / p.sum(), q[p > 0] / q.sum()
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize("x", DATA[:4])
def test_the_entropy_observer_of_very_many_values_is_that_of_every_clip_tried(x, monkeypatch):
    most, levels = float(np.abs(x).max()), 8
    counts = np.histogram(np.abs(x).astype(np.float64), 2048, (0, most))[0].astype(float)
    tried = {kept: divergence(counts, kept, levels) for kept in range(levels, 2049)}
    _, ours = both_sides(x, QuantSpec.parse("int4 entropy"), monkeypatch)
    kept = min(round(float(ours.params.scale[0]) * 7 / most * 2048 - 0.5), 2048)
    assert tried[kept] <= min(tried.values()) + 1e-12


@pytest.mark.parametrize("x", DATA)
def test_the_percentile_of_very_many_values_is_that_of_numpy(x, monkeypatch):
    _, ours = both_sides(x, QuantSpec.parse("uint8 affine_float percentile:98"), monkeypatch)
    assert ours.params.offset is not None
    low, high = np.quantile(x[np.isfinite(x)].astype(np.float64), [0.01, 0.99])
    assert float(ours.params.offset[0]) == pytest.approx(low, rel=2e-7)
    assert float(ours.params.scale[0]) == pytest.approx((high - low) / 255, rel=1e-5 * abs(low) / (high - low) + 1e-6)


def test_the_optimum_of_more_distinct_values_than_are_told_apart_comes_near(monkeypatch):
    x = np.random.default_rng(2).standard_t(3, size=6_000).astype(np.float32)
    spec = QuantSpec.parse("int4 optimal")
    every = finish(analyze(x, spec, bins=0)).metrics.sqnr_db
    monkeypatch.setattr("qexplorer.quant.observers.sweep.TOGETHER", 2_000)
    alone = finish(analyze(x, spec, bins=0)).metrics.sqnr_db
    monkeypatch.setattr(weighted, "MOST_DISTINCT", 1_000)
    together = finish(analyze(x, spec, bins=0)).metrics.sqnr_db
    assert alone == pytest.approx(every, abs=1e-9)
    assert every >= together >= every - 0.001


@pytest.mark.parametrize("spec", ["int8", "int4 affine", "nf4", "fp8_e4m3fn", "int4 percentile:99", "int4 channel:0"])
@pytest.mark.parametrize("x", DATA)
@pytest.mark.parametrize("n", [FEW, WORTH_CALLING])
def test_one_value_more_than_a_threshold_of_speed_changes_no_figure(x, spec, n):
    """Sorting or counting, NumPy or compiled code: one more value that is in the middle of the others."""
    importlib.import_module("qexplorer.quant.kernels")
    x = np.nan_to_num(x[: n + 1], nan=0.5)
    x[[0, 1, n]] = x.min(), x.max(), np.median(x)
    wide = (1, -1) if "channel" in spec else (-1,)
    below, above = (finish(analyze(x[:m].reshape(wide), QuantSpec.parse(spec), bins=0)).metrics for m in (n, n + 1))
    for name in ("mse", "sqnr_db", "max_abs_error", "clipped_fraction", "code_entropy_bits", "sparsity"):
        assert getattr(above, name) == pytest.approx(getattr(below, name), rel=2e-3, abs=1e-4), name


@pytest.mark.parametrize("spec", ["int8", "int4 affine", "nf4", "fp8_e4m3fn", "ternary"])
@pytest.mark.parametrize("x", DATA)
def test_a_sketch_of_one_value_more_than_are_sorted_holds_the_exact_figures(x, spec):
    x = np.nan_to_num(x[: FEW + 1], nan=0.5)
    for n in (FEW, FEW + 1):
        quick = analyze_sketch(finish(sketch(Values.of(x[:n]))), (n,), QuantSpec.parse(spec))
        exact = finish(analyze(x[:n], QuantSpec.parse(spec), bins=0)).metrics
        assert (n > FEW) == bool(quick.bounds)
        for name, (low, high) in quick.bounds.items():
            slack = 1e-9 * max(abs(low), abs(high))
            assert low - slack <= getattr(exact, name) <= high + slack, (n, name)
        if not quick.bounds:
            assert quick.metrics.sqnr_db == pytest.approx(exact.sqnr_db, rel=1e-9)
