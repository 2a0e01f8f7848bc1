"""Values in blocks: the same sketch as that of all of them at once, in memory that does not grow."""

import sys
import tracemalloc

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.analysis import analyze_sketch
from qexplorer.quant.quantize import find_range
from qexplorer.quant.ranges import params_of_sketch
from qexplorer.quant.sketch import FEW, PIECE, Sketch, sketch
from qexplorer.quant.sketch_stream import SketchStream
from qexplorer.quant.tensor_source import Values
from qexplorer.quant.warm import KERNELS, load_kernels


def streamed(*blocks: np.ndarray) -> Sketch:
    stream = SketchStream()
    for block in blocks:
        stream.add(block)
    return stream.sketch()


def equal(a: Sketch, b: Sketch) -> bool:
    one, two = a.arrays(), b.arrays()
    return all(one[name].tobytes() == two[name].tobytes() for name in one)


def tails(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_t(3, size=n) * 0.7).astype(np.float32)


def test_blocks_in_any_order_and_of_any_size_give_one_sketch():
    x = tails(50_000)
    whole = streamed(x)
    assert equal(whole, streamed(*np.split(x, 10)))
    assert equal(whole, streamed(*np.split(x, 10)[::-1]))
    assert equal(whole, streamed(x[:1], x[1:1], x[1:].reshape(-1, 1)))
    assert whole.n == 50_000


def test_a_stream_is_the_sketch_of_the_whole_tensor():
    x = tails(FEW + 20_000)  # fewer are kept one by one
    assert equal(streamed(*np.array_split(x, 7)), finish(sketch(Values.of(x))))


def test_more_blocks_than_one_table_counts_are_folded():
    rng = np.random.default_rng(0)
    stream, total, n = SketchStream(), 0.0, 0
    x = rng.normal(size=PIECE + 5).astype(np.float32)
    for _ in range(17):
        stream.add(x)
        total += float(x.sum(dtype=np.float64))
        n += x.size
    found = stream.sketch()
    assert found.n == n == found.counts.sum()
    assert float((found.values.astype(np.float64) * found.counts).sum()) == pytest.approx(total, rel=1e-5, abs=n * 1e-8)
    assert (found.values[0], found.values[-1]) == (x.min(), x.max())


def test_memory_does_not_grow():
    block = np.tile(tails(1000), PIECE // 1000 + 1)[:PIECE]
    tracemalloc.start()
    try:
        stream, held = SketchStream(), []
        for _ in range(34):  # more than two tables can count
            stream.add(block)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[16] < 10_000  # once the first table was folded
    assert held[-1] < 4_000_000


@pytest.mark.parametrize("kernels", [False, True])
def test_zeros_are_counted_as_often_as_they_occur(kernels, monkeypatch):
    if kernels:
        finish(load_kernels())
    else:
        monkeypatch.delitem(sys.modules, KERNELS, raising=False)
    x = np.maximum(tails(100_000), 0)
    x[:3] = -0.0, 1e-45, -1e-45
    found = streamed(*np.array_split(x, 3))
    assert int(found.counts[np.abs(found.values) < 1e-40].sum()) == int((np.abs(x) < 1e-40).sum())
    assert int(found.counts.sum()) == x.size


def test_a_sketch_may_be_asked_for_in_between():
    a, b = tails(3000), tails(3000, 1)
    stream = SketchStream()
    stream.add(a)
    assert equal(stream.sketch(), streamed(a))
    assert equal(stream.sketch(), streamed(a))
    stream.add(b)
    assert equal(stream.sketch(), streamed(a, b))


def test_ends_are_exact_and_what_is_not_finite_is_left_out():
    x = np.array([3.5, -0.0, np.nan, np.inf, -np.inf, -1e-40, 0.1], np.float32)
    found = streamed(x[:3], x[3:])
    assert (found.n, found.nonfinite) == (4, 3)
    assert (found.values[0], found.values[-1]) == (np.float32(-1e-40), np.float32(3.5))


@pytest.mark.parametrize("blocks", [(), (np.zeros(0, np.float32),), (np.full(5, np.nan, np.float32),)])
def test_nothing_finite_is_an_empty_sketch(blocks):
    found = streamed(*blocks)
    assert found.n == 0
    params = params_of_sketch(found, QuantSpec.parse("uint8 affine"))
    assert params.zero_point.tolist() == [0]
    assert np.isfinite(params.scale).all()


def test_other_float_types_are_counted_as_float32():
    x = tails(1000).astype(np.float16)
    assert equal(streamed(x), streamed(x.astype(np.float32)))
    assert equal(streamed(x.astype(np.float64)), streamed(x.astype(np.float32)))


def test_a_slice_that_does_not_lie_together_is_counted_as_it_is():
    x = tails(1000).reshape(20, 50)
    assert equal(streamed(x[::2, 1::3]), streamed(x[::2, 1::3].copy()))
    assert equal(streamed(x.T), streamed(x))


@pytest.mark.parametrize("text", ["uint8 affine", "int8", "fp8_e4m3fn", "uint4 affine minmax"])
def test_extremes_of_a_stream_give_the_parameters_of_the_values(text):
    x, spec = tails(40_000), QuantSpec.parse(text)
    found = params_of_sketch(streamed(*np.split(x, 8)), spec)
    exact = spec.format.choose(*find_range(spec, x[None]), spec.choices)
    np.testing.assert_array_equal(found.scale, exact.scale)
    np.testing.assert_array_equal(found.zero_point, exact.zero_point)


@pytest.mark.parametrize("text", ["uint8 affine mse", "int4 mse", "uint8 affine percentile:99.9"])
def test_searched_ranges_of_a_stream_are_near_those_of_the_values(text):
    x, spec = tails(40_000), QuantSpec.parse(text)
    found = params_of_sketch(streamed(*np.split(x, 8)), spec)
    exact = spec.format.choose(*find_range(spec, x[None]), spec.choices)
    assert found.scale[0] == pytest.approx(exact.scale[0], rel=0.03)
    assert analyze_sketch(streamed(x), x.shape, spec, bins=0).params.scale[0] == found.scale[0]
