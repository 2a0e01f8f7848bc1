import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qexplorer.weights.strided import Strided, c_strides


@st.composite
def _views(draw: st.DrawFn) -> np.ndarray:
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    base = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    view = base.transpose(draw(st.permutations(range(len(shape)))))
    steps = [slice(draw(st.integers(0, n)), n, draw(st.integers(1, 3))) for n in view.shape]
    return view[tuple(steps)]


@settings(deadline=None, max_examples=200)
@given(_views(), st.integers(1, 40))
def test_any_view_is_read_in_the_order_of_its_indices(view: np.ndarray, elements: int) -> None:
    base = view
    while base.base is not None:
        base = base.base
    stored = np.ascontiguousarray(base).view(np.uint8).reshape(-1)
    offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0] if view.size else 0
    strided = Strided(offset, view.dtype, view.shape, tuple(n // 4 for n in view.strides))
    blocks = list(strided.blocks(lambda at, n: stored[at : at + n].copy(), elements))
    assert all(0 < len(block) <= elements for block in blocks)
    values = np.concatenate(blocks) if blocks else np.empty(0, view.dtype)
    np.testing.assert_array_equal(values, view.reshape(-1))


def test_a_column_is_read_without_what_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.strided._CHEAP_SPAN_BYTES", 64)
    base = np.arange(100 * 1000, dtype=np.float32).reshape(100, 1000)
    stored, read = base.view(np.uint8).reshape(-1), []

    def take(at: int, n: int) -> np.ndarray:
        read.append(n)
        return stored[at : at + n].copy()

    (block,) = Strided(20, base.dtype, (100,), (1000,)).blocks(take, 1000)
    np.testing.assert_array_equal(block, base[:, 5])
    assert sum(read) == 400


def test_a_large_transposed_matrix_is_read_with_bounded_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.strided._CHEAP_SPAN_BYTES", 64)
    monkeypatch.setattr("qexplorer.weights.strided._SPAN_BYTES", 4096)
    base = np.arange(300 * 200, dtype=np.float32).reshape(300, 200)
    stored, read = base.view(np.uint8).reshape(-1), []

    def take(at: int, n: int) -> np.ndarray:
        read.append(n)
        return stored[at : at + n].copy()

    blocks = Strided(0, base.dtype, (200, 300), (1, 200)).blocks(take, 1024)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), base.T.reshape(-1))
    assert max(read) <= 4096
    assert sum(read) <= 4 * base.nbytes


@pytest.mark.parametrize(("shape", "strides"), [((), ()), ((3,), (1,)), ((2, 3, 4), (12, 4, 1)), ((2, 0), (0, 1))])
def test_strides_follow_from_the_shape(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    assert c_strides(shape) == strides


@pytest.mark.parametrize(
    ("shape", "strides", "is_expanded"),
    [
        ((2, 3), (3, 1), False),
        ((2, 3), (0, 1), True),
        ((4, 4), (1, 1), True),
        ((1, 3), (0, 1), False),
        ((0, 9), (0, 0), False),
    ],
)
def test_a_view_with_more_elements_than_places_is_expanded(
    shape: tuple[int, ...], strides: tuple[int, ...], is_expanded: bool
) -> None:
    assert Strided(0, np.dtype("f4"), shape, strides).is_expanded == is_expanded
