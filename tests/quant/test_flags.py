"""What is odd about a tensor, judged by numpy and torch on the values as they are stored."""

import numpy as np
import pytest
import torch

from qexplorer.progress import finish
from qexplorer.quant.flags import Flags, flags_of
from qexplorer.quant.tensor_source import Values

BELL = np.random.default_rng(5).normal(size=40_000).astype(np.float32)  # more than are sorted


def flags(array: np.ndarray, dtype: str = "") -> Flags:
    return finish(flags_of(Values.of(array, dtype)))


def bfloat16(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()


def spoiled(*odd: float) -> np.ndarray:
    return np.concatenate([BELL, np.array(odd, np.float32)])


@pytest.mark.parametrize(
    ("array", "names", "text"),
    [
        (BELL, (), ""),
        (np.zeros(0, np.float32), (), ""),
        (np.zeros((30, 1000), np.float32), ("zero",), "all zero"),
        (np.array([0.0, -0.0], np.float32), ("zero",), "all zero"),
        (np.full((4, 8), 0.5, np.float16), ("constant",), "all equal to 0.5"),
        (np.array([0.5], np.float32), (), ""),
        (spoiled(np.nan, np.inf, np.nan), ("nan", "inf"), "2 NaN, 1 infinite"),
        (spoiled(-np.inf, np.inf), ("inf",), "2 infinite"),
        (np.full(5, np.nan, np.float32), ("nan",), "5 NaN"),
        (np.array([np.nan, 0, 0], np.float32), ("nan", "zero"), "1 NaN, all zero"),
        (spoiled(1e-40, -1e-45), ("subnormal",), "2 subnormal"),
        (spoiled(0.0, 2**-126), (), ""),
        (BELL.astype(np.float64), (), ""),
        (np.array([1e300, -1e300, 1, 2]), ("beyond_float32",), "2 beyond float32"),
        (np.array([1e300, np.nan, 1, 2]), ("nan", "beyond_float32"), "1 NaN, 1 beyond float32"),
        (np.linspace(-1e-300, 1e-300, 64), ("beyond_float32",), "64 too small for float32"),
        (1 + np.arange(64) * 1e-12, ("beyond_float32",), "all 1 in float32"),
    ],
)
def test_what_is_odd_is_named_and_counted(array: np.ndarray, names: tuple[str, ...], text: str) -> None:
    found = flags(array)
    assert (found.names, found.text) == (names, text)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("n", [3_000, 60_000, 2_500_000])
def test_nan_and_infinity_are_told_apart_in_every_type(dtype: str, n: int, rng: np.random.Generator) -> None:
    values = rng.normal(size=n).astype(np.float32)
    odd = rng.choice(n, 90, replace=False)
    values[odd[:30]], values[odd[30:70]], values[odd[70:]] = np.nan, np.inf, -np.inf
    stored = bfloat16(values) if dtype == "bfloat16" else values.astype(dtype)
    found = flags(stored, dtype)
    assert (found.n, found.nan, found.inf) == (n, np.isnan(values).sum(), np.isinf(values).sum())
    assert found.names == ("nan", "inf")
