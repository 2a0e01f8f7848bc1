"""Metrics, judged by closed forms and by definitions worked by hand."""

import math

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerGroup
from qexplorer.quant.metrics import ErrorSums, cosine, entropy_bits, sqnr_db
from qexplorer.quant.observers.fixed import Fixed

UNIFORM = (np.arange(1_000_000) + 0.5) / 500_000 - 1


def metrics(values, spec=None):
    return finish(analyze(np.asarray(values, np.float32), spec or QuantSpec())).metrics


@pytest.mark.parametrize(
    ("bits", "decibels"),
    [(2, 6.0206), (3, 15.5630), (4, 22.9226), (5, 29.5424), (6, 35.8478), (7, 42.0074), (8, 48.0967), (16, 96.3293)],
)
def test_a_uniform_source_has_the_exact_sqnr_of_theory(bits, decibels):
    m = metrics(UNIFORM, QuantSpec(formats[f"int{bits}"]))
    assert m.sqnr_db == pytest.approx(decibels, abs=2e-3)
    step = 1 / (2 ** (bits - 1) - 1)
    assert m.mse == pytest.approx(step**2 / 12, rel=1e-3)
    assert m.mae == pytest.approx(step / 4, rel=1e-3)
    assert m.max_abs_error == pytest.approx(step / 2, rel=1e-2)


@pytest.mark.parametrize(("name", "decibels"), [("fp16", 73.651), ("bf16", 55.589)])
def test_plain_casts_of_normal_values_have_the_exact_sqnr_of_theory(name, decibels, rng):
    assert metrics(rng.normal(size=1_000_000), QuantSpec(formats[name])).sqnr_db == pytest.approx(decibels, abs=0.02)


@pytest.mark.parametrize(("bits", "mse"), [(4, 0.01375188), (8, 4.177e-5)])
def test_groups_of_128_normal_values_have_the_exact_error_of_theory(bits, mse, rng):
    spec = QuantSpec(formats[f"int{bits}"], granularity=PerGroup(128))
    assert metrics(rng.normal(size=(7812, 128)), spec).mse == pytest.approx(mse, rel=0.01)


def test_the_figures_are_those_of_their_definitions(rng):
    x = rng.laplace(size=5000).astype(np.float32)
    spec = QuantSpec(formats["int4"], observer=Fixed(-2, 2))
    m = metrics(x, spec)
    step = np.float32(2 / 7)
    q = np.clip(np.rint(x * (np.float32(1) / step)), -7, 7)
    y = (q.astype(np.float32) * step).astype(np.float64)
    e = y - x
    assert m.mse == pytest.approx(np.mean(e**2), rel=1e-12)
    assert m.rmse == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-12)
    assert m.mae == pytest.approx(np.mean(np.abs(e)), rel=1e-12)
    assert m.max_abs_error == np.abs(e).max()
    assert m.sqnr_db == pytest.approx(10 * np.log10(np.sum(x.astype(np.float64) ** 2) / np.sum(e**2)), rel=1e-12)
    assert m.relative_rmse == pytest.approx(np.linalg.norm(e) / np.linalg.norm(x.astype(np.float64)), rel=1e-12)
    assert m.sqnr_db == pytest.approx(-20 * np.log10(m.relative_rmse), rel=1e-12)
    assert m.cosine == pytest.approx(y @ x / np.linalg.norm(y) / np.linalg.norm(x.astype(np.float64)), rel=1e-12)
    assert m.clipped_fraction == np.mean(np.abs(np.rint(x * (np.float32(1) / step))) > 7)
    assert (m.original_sparsity, m.sparsity) == (0, np.mean(q == 0))
    share = np.unique(q, return_counts=True)[1] / x.size
    assert m.code_entropy_bits == pytest.approx(-(share * np.log2(share)).sum(), rel=1e-12)
    assert m.code_utilization == len(share) / 16


def test_no_error_is_an_infinite_sqnr():
    m = metrics(np.arange(-127, 128))
    assert (m.mse, m.sqnr_db, m.cosine, m.max_abs_error) == (0, math.inf, pytest.approx(1), 0)


def test_nothing_but_error_is_a_sqnr_of_minus_infinity():
    assert sqnr_db(0.0, 1.0) == -math.inf
    assert sqnr_db(1.0, math.inf) == -math.inf
    assert sqnr_db(0.0, 0.0) == math.inf


def test_a_tensor_of_zeros_has_no_error_and_nothing_to_compare_it_with():
    m = metrics(np.zeros((3, 4)))
    assert (m.mse, m.max_abs_error, m.clipped_fraction) == (0, 0, 0)
    assert np.isnan([m.sqnr_db, m.cosine, m.relative_rmse]).all()
    assert (m.code_entropy_bits, m.code_utilization) == (0, 1 / 256)


def test_zeros_are_counted_before_and_after():
    m = metrics([0.0, -0.0, 0.01, -0.01, 1.0, np.nan, np.inf, 0.5], QuantSpec(formats["int4"]))
    assert (m.original_sparsity, m.sparsity) == (2 / 6, 4 / 6)
    assert metrics([0.0, 3.0], QuantSpec(formats["binary"])).sparsity == 0


def test_a_channel_of_zeros_has_no_sqnr():
    rows = np.array([[0, 0, 0], [1.0, -0.3, 0.77], [127, -127, 0]], np.float32)
    found = finish(analyze(rows, QuantSpec.from_json({"granularity": "channel:0"}))).channel_sqnr_db
    assert np.isnan(found[0])
    assert found[2] == math.inf
    assert 40 < found[1] < 60


def test_cosine_is_zero_where_one_is_zero():
    assert cosine(ErrorSums(n=2, x2=1.0)) == 0
    assert cosine(ErrorSums(n=2, x2=1.0, y2=math.inf, xy=math.inf)) == 0
    assert cosine(ErrorSums(n=1, x2=4.0, y2=9.0, xy=-6.0)) == -1


def test_values_that_are_not_finite_are_counted_and_left_out(rng):
    clean = rng.normal(size=1000)
    dirty = np.concatenate([clean, [np.nan, np.inf, -np.inf]])
    a, b = metrics(clean), metrics(dirty)
    assert (b.n, b.nonfinite, a.nonfinite) == (1003, 3, 0)
    for name in ("mse", "mae", "max_abs_error", "sqnr_db", "code_entropy_bits", "code_utilization"):
        assert getattr(b, name) == pytest.approx(getattr(a, name), rel=1e-12)


def test_a_cast_that_overflows_has_an_infinite_error():
    m = metrics([1.0, 1e6], QuantSpec(formats["fp16"]))
    assert (m.mse, m.sqnr_db, m.cosine, m.clipped_fraction) == (math.inf, -math.inf, 0, 0.5)


def test_entropy_of_equal_counts_is_the_logarithm_of_their_number():
    assert entropy_bits(np.array([5, 0, 5, 5, 5])) == 2
    assert entropy_bits(np.array([7])) == 0
    assert entropy_bits(np.zeros(4, np.int64)) == 0


@pytest.mark.parametrize(
    ("name", "scheme", "size", "bits"),
    [
        ("int4", "symmetric", 64, 4 + 32 / 64),
        ("int4", "symmetric", 128, 4 + 32 / 128),
        ("int4", "affine", 128, 4 + (32 + 4) / 128),
        ("int8", "affine", 32, 8 + (32 + 8) / 32),
    ],
)
def test_scales_and_zero_points_are_part_of_the_size(name, scheme, size, bits):
    m = metrics(np.ones((256, 256)), QuantSpec(formats[name], scheme, granularity=PerGroup(size)))
    assert m.bits_per_weight == bits
    assert m.bytes == bits * 256 * 256 / 8


def test_a_short_last_group_has_a_scale_of_its_own_and_no_codes_for_its_filling():
    m = metrics(np.ones((4, 70)), QuantSpec(formats["int4"], granularity=PerGroup(32)))
    assert m.bytes == (4 * 70 * 4 + 12 * 32) // 8
    assert (m.n, m.nonfinite) == (280, 0)


def test_half_bytes_are_rounded_up_and_casts_have_no_overhead():
    assert metrics([1, 2, 3], QuantSpec(formats["int4"])).bytes == -(-(3 * 4 + 32) // 8)
    m = metrics(np.ones(10), QuantSpec(formats["fp16"]))
    assert (m.bytes, m.bits_per_weight, m.original_bytes) == (20, 16, 40)


@pytest.mark.parametrize("k", [-20, -3, 1, 12])
@pytest.mark.parametrize("spec", [QuantSpec(), QuantSpec(formats["int4"], "affine")], ids=["symmetric", "affine"])
def test_relative_figures_do_not_change_when_values_are_scaled_by_a_power_of_two(k, spec, rng):
    x = rng.normal(size=2000).astype(np.float32) * 64
    a, b = metrics(x, spec), metrics(x * np.float32(2.0**k), spec)
    for name in ("sqnr_db", "cosine", "relative_rmse", "code_entropy_bits", "clipped_fraction"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-12)
    assert b.mse == pytest.approx(a.mse * 4.0**k, rel=1e-12)
