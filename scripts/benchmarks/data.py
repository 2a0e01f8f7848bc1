"""What is measured: one tensor of made-up weights, the same every time, and what both sides need to begin with."""

from functools import cache
from typing import Any

import numpy as np
import torch

from qexplorer.quant.pool import cores
from qexplorer.quant.tensor_source import Values

SIDE, QUICK_SIDE = 8192, 2048
FEW, RUNS = 3, 5


def side(quick: bool) -> int:
    """Rows and columns of the tensor."""
    return QUICK_SIDE if quick else SIDE


def runs(quick: bool) -> int:
    """How often everything is timed after the warm-up."""
    return FEW if quick else RUNS


def threads() -> int:
    """All cores that this process may use; torch is told so."""
    n = cores()
    torch.set_num_threads(n)
    return n


@cache
def float32(quick: bool) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A square of normal values with standard deviation 0.02; float32, 268 MB."""
    n = side(quick)
    threads()
    values = np.random.default_rng(0).standard_normal(n * n, dtype=np.float32).reshape(n, n)
    values *= np.float32(0.02)
    return values


@cache
def bfloat16(quick: bool) -> torch.Tensor:
    """The same tensor, rounded."""
    return torch.from_numpy(float32(quick)).bfloat16()


def values_of(tensor: torch.Tensor) -> Values:
    """A tensor as ours takes it, without a copy."""
    if tensor.dtype == torch.bfloat16:
        return Values.of(tensor.view(torch.uint16).numpy(), dtype="bfloat16")
    return Values.of(tensor.numpy())


def described(quick: bool, dtype: str = "float32") -> str:
    """How the tensor is called in the table."""
    return f"{side(quick) ** 2:,} {dtype}"
