"""Groups: which values share a scale, and the way back into the tensor's shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.errors import UserError
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import LastAxis, PerChannel, PerGroup, PerTensor, granularities
from qexplorer.quant.layer_kinds import EXPERTS, KERNEL, LINEAR, TRANSPOSED, VECTOR
from qexplorer.quant.quantize import quantize

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)


def numbered(shape):
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@given(SHAPES)
def test_a_tensor_is_one_row_and_comes_back(shape):
    x = numbered(shape)
    rows = PerTensor().rows(x)
    assert rows.shape == (1, x.size)
    np.testing.assert_array_equal(PerTensor().restore(rows, shape), x)


@given(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=7), st.data())
def test_each_channel_is_a_row_and_comes_back(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbered(shape)
    rows = PerChannel(axis).rows(x)
    assert len(rows) == shape[axis]
    for c in range(shape[axis]):
        np.testing.assert_array_equal(rows[c], np.take(x, c, axis).ravel())
    np.testing.assert_array_equal(PerChannel(axis).restore(rows, shape), x)


@given(SHAPES, st.integers(1, 9))
def test_groups_run_along_the_last_axis_and_come_back(shape, size):
    x = numbered(shape)
    rows = LastAxis(size).rows(x)
    np.testing.assert_array_equal(rows[~np.isnan(rows)], x.ravel())
    if x.size:
        line = shape[-1] if shape else 1
        assert len(rows) == x.size // line * -(-line // size)
    np.testing.assert_array_equal(LastAxis(size).restore(rows, shape), x)


@given(SHAPES, st.integers(1, 9), st.sampled_from([LINEAR, TRANSPOSED, EXPERTS]))
def test_groups_run_along_the_flattened_inputs_of_each_output_channel(shape, size, kind):
    x = numbered(shape)
    by = PerGroup(size).for_kind(kind if len(shape) > 1 else VECTOR)
    rows = by.rows(x)
    if x.size:
        channels = channels_of(x, kind)
        assert len(rows) == len(channels) * -(-channels.shape[1] // size)
        parts = [channel[i : i + size] for channel in channels for i in range(0, len(channel), size)]
        for row, expected in zip(rows, parts, strict=True):
            np.testing.assert_array_equal(row[~np.isnan(row)], expected)
    np.testing.assert_array_equal(by.restore(rows, shape), x)


def channels_of(x, kind):
    """Each output channel's values, as the kind of layer says what a channel is."""
    if x.ndim < 2:
        return x.reshape(1, -1)
    if kind is EXPERTS:
        return np.array([line.ravel() for line in x.reshape(-1, x.shape[-1])])
    axis = int(kind is TRANSPOSED)
    return np.array([np.take(x, c, axis).ravel() for c in range(x.shape[axis])])


@given(SHAPES, st.sampled_from([LINEAR, TRANSPOSED, EXPERTS]))
def test_a_channel_is_one_of_the_output_axis_of_the_kind(shape, kind):
    x = numbered(shape)
    by = PerChannel().for_kind(kind if len(shape) > 1 else VECTOR)
    rows = by.rows(x)
    if x.size:
        np.testing.assert_array_equal(rows, channels_of(x, kind))
    np.testing.assert_array_equal(by.restore(rows, shape), x)


@pytest.mark.parametrize("text", ["channel", "group:32", "block:4x16", "channel:1", "channel:-1", "group:32,0",
                                  "last_axis:7", "tensor"])  # fmt: skip
@pytest.mark.parametrize("kind", [LINEAR, TRANSPOSED, EXPERTS, VECTOR, KERNEL], ids=lambda kind: kind.name)
def test_what_was_done_is_a_text_that_reads_back_whatever_the_kind(text, kind):
    applied = granularities.parse(text).for_kind(kind)
    assert granularities.parse(applied.text) == applied
    assert applied.for_kind(kind) == applied


@pytest.mark.parametrize("text", ["channel", "channel:1", "group:32", "group:32,1", "block:4x16", "block:4x16x1",
                                  "block:4x16xrows", "channel:rows", "last_axis:32"])  # fmt: skip
def test_a_text_is_what_is_written_again(text):
    assert granularities.parse(text).text == text


def test_the_last_group_of_a_line_may_be_short():
    rows = PerGroup(32).rows(numbered((4, 70)))
    assert rows.shape == (12, 32)
    assert np.isfinite(rows).sum(axis=1).tolist() == [32, 32, 6] * 4


def test_half_precision_and_strided_tensors_become_float32_rows():
    x = numbered((6, 8)).astype(np.float16).T[::2]
    for granularity in (PerTensor(), PerChannel(1), PerGroup(4)):
        rows = granularity.rows(x)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(granularity.restore(rows, x.shape), x)


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_channel_is_quantized_as_if_it_were_alone(scheme, axis, rng):
    x = rng.normal(size=(5, 4, 7)).astype(np.float32) * np.logspace(-3, 2, 4, dtype=np.float32)[:, None]
    codes, values, params = quantize(x, QuantSpec(scheme=scheme, granularity=PerChannel(axis)))
    for c in range(x.shape[axis]):
        alone, alone_values, alone_params = quantize(np.take(x, c, axis), QuantSpec(scheme=scheme))
        np.testing.assert_array_equal(np.take(codes, c, axis), alone)
        np.testing.assert_array_equal(np.take(values, c, axis), alone_values)
        assert params.scale[c] == alone_params.scale[0]
        assert params.zero_point[c] == alone_params.zero_point[0]


@pytest.mark.parametrize("shape", [(3, 1), (1, 5), (1,), (4,)])
def test_channels_of_one_value_are_quantized(shape):
    x = np.linspace(-2, 3, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    _, values, params = quantize(x, QuantSpec(granularity=PerChannel(0)))
    assert params.scale.shape == (shape[0],)
    np.testing.assert_allclose(values, x, atol=3 / 127)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3), (1,)])
@pytest.mark.parametrize("name", ["int8", "uint4", "fp16"])
def test_scalars_and_empty_tensors_keep_their_shape(shape, name):
    for granularity in (PerTensor(), PerGroup(4)):
        if not formats[name].scaled and granularity != PerTensor():
            continue
        codes, values, _ = quantize(np.ones(shape, np.float32), QuantSpec(formats[name], granularity=granularity))
        assert codes.shape == values.shape == shape


@pytest.mark.parametrize(("axis", "shape"), [(2, (3, 4)), (-3, (3, 4)), (0, ())])
def test_an_axis_that_is_not_there_is_refused(axis, shape):
    assert "not there" in PerChannel(axis).refusal(shape)


def test_axes_that_are_there_are_not_refused():
    assert [PerChannel(axis).refusal((3, 4)) for axis in (0, 1, -1, -2)] == [""] * 4


def test_a_group_of_no_values_is_refused():
    with pytest.raises(UserError, match="1 or more") as refused:
        PerGroup(0)
    assert refused.value.field == "size"
