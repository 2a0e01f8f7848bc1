"""What a person writes into a notebook: fake-quantize, error, three histograms. No metrics and no code counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from qexplorer.quant.bins import Bins

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Histograms:
    """The counts of a tensor, of what it becomes, and of the error."""

    original: Array
    dequantized: Array
    errors: Array


def numpy_notebook(x: Array, most: int, bins: Bins, error_bins: Bins) -> Histograms:
    """Symmetric integers −`most` … `most` with one scale, by NumPy and `np.histogram`."""
    scale = max(-x.min(), x.max()) / np.float32(most)
    y = np.clip(np.rint(x * (np.float32(1) / scale)), -most, most) * scale
    return Histograms(numpy_counts(x, bins), numpy_counts(y, bins), numpy_counts(y - x, error_bins))


def torch_notebook(x: torch.Tensor, most: int, bins: Bins, error_bins: Bins) -> Histograms:
    """The same by torch and `torch.histc`, which counts in float32: no counts to be compared with."""
    lo, hi = x.aminmax()
    y = torch.fake_quantize_per_tensor_affine(
        x, torch.maximum(-lo, hi) / most, torch.zeros(1, dtype=torch.int32), -most, most
    )
    return Histograms(torch_counts(x, bins), torch_counts(y, bins), torch_counts(y - x, error_bins))


def torch_rows_notebook(rows: torch.Tensor, most: int, bins: Bins, error_bins: Bins) -> Histograms:
    """The same with a scale for each row."""
    scale = rows.abs().amax(1) / most
    zero = torch.zeros(len(scale), dtype=torch.int32)
    y = torch.fake_quantize_per_channel_affine(rows, scale, zero, 0, -most, most)
    return Histograms(torch_counts(rows, bins), torch_counts(y, bins), torch_counts(y - rows, error_bins))


def weighted_notebook(values: Array, counts: Array, most: int, bins: Bins, error_bins: Bins) -> Histograms:
    """The NumPy notebook on distinct values that occur `counts` times."""
    scale = max(-values.min(), values.max()) / np.float32(most)
    y = np.clip(np.rint(values * (np.float32(1) / scale)), -most, most) * scale
    return Histograms(
        numpy_counts(values, bins, counts),
        numpy_counts(y, bins, counts),
        numpy_counts(y - values, error_bins, counts),
    )


def numpy_counts(x: Array, bins: Bins, weights: Array | None = None) -> Array:
    """`np.histogram` over the very same edges: they are given in float64, or it would round them to float32."""
    return np.histogram(x, bins.count, (np.float64(bins.start), np.float64(bins.stop)), weights=weights)[0]


def torch_counts(x: torch.Tensor, bins: Bins) -> Array:
    """`torch.histc` over the same range."""
    return torch.histc(x, bins.count, bins.start, bins.stop).numpy()
