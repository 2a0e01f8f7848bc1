"""The compiled kernels, held to the NumPy reference: the same counts, and sums that differ only by rounding."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze, kernels
from qexplorer.quant import error_sums as measuring
from qexplorer.quant.bins import Bins, even_bins, step_bins
from qexplorer.quant.error_sums import measure, measure_reference
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel, PerGroup, PerTensor
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.params import QuantParams
from qexplorer.quant.piece_sums import PieceSums
from qexplorer.quant.quantize import find_range, params_for
from qexplorer.quant.rounding import roundings
from qexplorer.settings import values_of

ROOT = Path(__file__).parents[2]
PACKED = r"[yz]mm\d|v\d+\.(?:2d|4s|8h|16b)|(?:add|sub|mul|cmp\w*)p[sd]\b|p(?:add|max|min|cmp\w+)[wdq]\b"
"""Instructions on several values at once, of x86 and of ARM."""
INTEGERS = [form for form in formats if form.uniform]
COUNTS = ("code_counts", "original", "dequantized", "errors")
ROWS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 60)),
    elements=st.one_of(st.floats(-200, 200, width=32), st.floats(width=32), st.integers(-9, 9).map(float)),
)


def assert_same(ours: PieceSums, reference: PieceSums, size: int) -> None:
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(ours, name), getattr(reference, name), err_msg=name)
    for name in ("n", "clipped", "x_zeros", "y_zeros"):
        assert getattr(ours.sums, name) == getattr(reference.sums, name), name
    assert ours.sums.e_max == reference.sums.e_max
    for name in ("e2", "e1", "x2", "y2", "xy"):
        ours_sum, theirs = getattr(ours.sums, name), getattr(reference.sums, name)
        assert ours_sum == pytest.approx(theirs, rel=1e-12, abs=1e-300), name
    np.testing.assert_allclose(ours.row_x2, reference.row_x2, rtol=1e-12)
    np.testing.assert_allclose(ours.row_e2, reference.row_e2, rtol=1e-12)
    assert ours.code_counts.sum() == reference.sums.n <= size


def both(rows, form, params, bins, error_bins):
    return (
        kernels.measure(rows, params, bins, error_bins),
        measure_reference(rows, form, params, bins, error_bins),
    )


@st.composite
def parameters(draw, groups, form):
    qmin, qmax = (-(2 ** (form.bits - 1)), 2 ** (form.bits - 1) - 1) if form.signed else (0, 2**form.bits - 1)
    scale = st.floats(2.0**-20, 50, width=32).flatmap(lambda s: st.sampled_from([s, -s, 1.0, 0.25, -0.5]))
    scales = draw(hnp.arrays(np.float32, groups, elements=scale))
    zero_points = draw(hnp.arrays(np.int32, groups, elements=st.integers(qmin, qmax)))
    narrow = draw(st.booleans()) and form.bits > 2
    return QuantParams(scales, np.clip(zero_points, qmin + narrow, qmax), qmin + narrow, qmax,
                       division=draw(st.sampled_from(["reciprocal", "true"])))  # fmt: skip


@st.composite
def blocks(draw):
    rows = draw(ROWS)
    form = draw(st.sampled_from(INTEGERS))
    bins = draw(st.sampled_from([even_bins(-7, 9, 40), Bins(-4.5, 1.0, 9), Bins(0.0, 0.1, 70), even_bins(-99, -98, 3)]))
    return rows, form, draw(parameters(len(rows), form)), bins, draw(st.sampled_from([Bins(-0.5, 0.25, 4), bins]))


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@given(blocks())
def test_any_block_is_measured_as_the_reference_does(block):
    rows, form, params, bins, error_bins = block
    assert_same(*both(rows, form, params, bins, error_bins), rows.size)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0), PerGroup(128), PerGroup(32), PerGroup(100)],
                         ids=lambda g: g.text)  # fmt: skip
@pytest.mark.parametrize("name", ["int4", "int8", "uint8", "int16"])
@pytest.mark.parametrize("convention", ["restricted", "signed_extreme", None])
def test_schemes_are_measured_as_the_reference_does(granularity, name, convention, rng):
    x = rng.laplace(size=(70, 1030)).astype(np.float32)
    x[3, 5:9] = np.nan, np.inf, -np.inf, 0
    spec = QuantSpec(formats[name], "symmetric" if convention else "affine", convention or "restricted", granularity)
    rows = granularity.rows(x)
    params = params_for(spec, *find_range(spec, rows))
    step = float(np.abs(params.scale).max())
    bins, error_bins = step_bins(-8, 8, step, 0.0, 400), even_bins(-step, step, 401)
    assert_same(*both(rows, spec.format, params, bins, error_bins), rows.size)


@pytest.mark.parametrize("bins", [Bins(-1.0, 0.1, 20), Bins(0.0, 1 / 3, 9), even_bins(-0.7, 1.9, 333)])
def test_values_on_and_beside_every_edge_are_counted_as_np_histogram_does(bins):
    edges = bins.edges.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    rows = np.concatenate([edges, np.nextafter(edges, up), np.nextafter(edges, down)])[None]
    params = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), -8, 7)
    ours = kernels.measure(rows, params, bins, bins)
    np.testing.assert_array_equal(ours.original, np.histogram(rows.astype(np.float64), bins.edges)[0])


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (1, 1), (1, 5000), (5000, 1)])
def test_blocks_of_every_shape_are_measured(shape):
    rows = np.full(shape, 0.6, np.float32)
    params = QuantParams(np.full(shape[0], 0.25, np.float32), np.zeros(shape[0], np.int32), -8, 7)
    bins = Bins(-1.0, 0.25, 8)
    assert_same(*both(rows, formats["int4"], params, bins, bins), rows.size)


def test_read_only_and_strided_blocks_are_measured(rng):
    rows = rng.normal(size=(40, 60)).astype(np.float32)
    rows.setflags(write=False)
    bins = even_bins(-4, 4, 50)
    params = QuantParams(np.full(30, 0.05, np.float32), np.zeros(30, np.int32), -128, 127)
    for block in (rows[:30], rows.T[:30], rows[:30, ::2]):
        assert_same(*both(block, formats["int8"], params, bins, bins), block.size)


@given(blocks())
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_the_squared_error_of_every_group_is_the_references(block):
    rows, form, params, _, _ = block
    rows = np.where(np.abs(rows) < 1e6, rows, np.float32(np.nan))
    error = (form.dequantize(form.quantize(rows, params), params) - rows).astype(np.float64)
    expected = np.nansum(error**2, axis=1)
    np.testing.assert_allclose(kernels.squared_error(rows, params), expected, rtol=1e-12)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0), PerGroup(32)], ids=lambda g: g.text)
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_mse_chooses_the_same_range_with_and_without_kernels(granularity, scheme, rng, monkeypatch):
    x = rng.standard_t(4, size=(64, 640)).astype(np.float32)
    spec = QuantSpec(formats["int4"], scheme, granularity=granularity, observer=Mse())
    rows = granularity.rows(x)
    fast = find_range(spec, rows)
    monkeypatch.setattr(measuring, "WORTH_CALLING", x.size + 1)
    np.testing.assert_array_equal(find_range(spec, rows), fast)


def test_large_integer_blocks_are_compiled_and_all_else_is_left_to_numpy(rng, monkeypatch):
    used = []
    real = kernels.measure
    monkeypatch.setattr(kernels, "measure", lambda *arguments: used.append(1) or real(*arguments))
    large = rng.normal(size=(1, measuring.WORTH_CALLING)).astype(np.float32)
    bins = even_bins(-5, 5, 10)
    for rows, name, rounding in ((large[:, 1:], "int8", "half_even"), (large, "int8", "half_up"),
                                 (large, "fp16", "half_even"), (large, "int8", "half_even")):  # fmt: skip
        params = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), -128, 127, roundings.read(rounding))
        if name == "fp16":
            params = params_for(QuantSpec(formats["fp16"]), *np.zeros((2, 1), np.float32))
        measure(rows, formats[name], params, bins, bins)
        assert len(used) == (name == "int8" and rows is large and rounding == "half_even")


def test_an_analysis_says_the_same_with_and_without_kernels(rng, monkeypatch):
    x = rng.normal(size=(200, 400)).astype(np.float32)
    spec = QuantSpec(formats["int8"], "affine", granularity=PerGroup(64))
    fast = finish(analyze(x, spec))
    monkeypatch.setattr(measuring, "WORTH_CALLING", x.size + 1)
    slow = finish(analyze(x, spec))
    np.testing.assert_array_equal(fast.original, slow.original)
    np.testing.assert_array_equal(fast.dequantized, slow.dequantized)
    for name, value in values_of(slow.metrics).items():
        assert getattr(fast.metrics, name) == pytest.approx(value, rel=1e-12)


def test_several_threads_may_measure_at_once(rng):
    rows = rng.normal(size=(8, 50_000)).astype(np.float32)
    params = QuantParams(np.full(8, 0.03, np.float32), np.zeros(8, np.int32), -128, 127)
    bins = even_bins(-5, 5, 100)
    alone = kernels.measure(rows, params, bins, bins)
    with ThreadPoolExecutor(2) as pool:
        for beside in pool.map(lambda _: kernels.measure(rows, params, bins, bins), range(6)):
            assert beside.sums == alone.sums
            np.testing.assert_array_equal(beside.original, alone.original)


def python(*arguments: str, **environment: str) -> str:
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, *arguments], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_room_and_measuring_little_does_not_load_the_compiler():
    code = """
import sys, numpy as np
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
finish(analyze(np.ones((9, 9), np.float32), QuantSpec()))
print("numba" in sys.modules)
"""
    assert python("-c", code) == "False\n"


def test_warming_compiles_into_the_cache_once_and_says_how_long_it_took(tmp_path):
    kept = []
    for _ in range(2):
        said = python("-m", "qexplorer.quant.warm", NUMBA_CACHE_DIR=str(tmp_path))
        assert re.fullmatch(r"Kernels ready after \d+\.\d s\.\n", said)
        kept.append({path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")})
    assert any("_measure_rows" in name for name in kept[0])
    assert kept[1] == kept[0]


def test_what_a_power_cut_has_left_of_the_compiled_loops_is_compiled_again(tmp_path):
    code = "import logging; logging.basicConfig(stream=sys.stdout); from qexplorer.quant import cells; print('done')"
    said = [python("-c", f"import sys; {code}", NUMBA_CACHE_DIR=str(tmp_path))]
    for i, path in enumerate(sorted(tmp_path.rglob("*.nb?"))):
        path.write_bytes((b"", b"\xe6garbage", path.read_bytes()[: path.stat().st_size // 2])[i % 3])
    said += [python("-c", f"import sys; {code}", NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert (said[0], said[2]) == ("done\n", "done\n")
    assert said[1].endswith("done\n")
    assert "_cost is damaged" in said[1]


def test_kernels_are_compiled_without_a_cache_where_there_is_no_room_for_one():
    code = """
import numpy as np
from qexplorer.quant import kernels
from qexplorer.quant.params import QuantParams
params = QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), -8, 7)
print(kernels.squared_error(np.full((1, 4), 0.5, np.float32), params))
for name in sys.argv[1:]:
    print(name, bool(re.search(VECTOR, "".join(getattr(kernels, name).inspect_asm().values()))))
"""
    nowhere = {"NUMBA_CACHE_DIR": "", "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    vectorized = ["_load_wide", "_load_half", "_quantize_each", "_add_sums", "_worst", "_count", "_count_tuples",
                  "_extremes_wide", "_extremes_half", "_square_sum"]  # fmt: skip
    said = python("-c", f"import re, sys\nVECTOR = {PACKED!r}\n{code}", *vectorized, **nowhere)
    assert said == "".join(["[1.]\n", *(f"{name} True\n" for name in vectorized)])
