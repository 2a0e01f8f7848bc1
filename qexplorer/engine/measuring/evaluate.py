"""How often a classifier is right, and how sure that figure is."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps

if TYPE_CHECKING:
    import torch
    from torch import nn

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Evaluation:
    """`top1` and `top5` are fractions of `n` samples; `predictions` [n] holds the class with the largest output.

    Of equal outputs, which int8 gives often, the first class comes first, as with `argmax`.
    """

    top1: float
    top5: float
    n: int
    predictions: NDArray[np.int64]

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95 % interval of `top1`."""
        return wilson_interval(round(self.top1 * self.n), self.n)


def evaluate(
    module: "nn.Module", x: NDArray[np.float32], y: NDArray[np.int64], batch_size: int = 64
) -> Steps[Evaluation]:
    """Classify `x` [N, C, H, W] and compare with the labels `y` [N]. The module must be in eval mode."""
    import torch

    device, dtype = place_of(module)
    first = second = 0
    predictions = np.empty(len(y), np.int64)
    for start in range(0, len(x), batch_size):
        yield Progress("Evaluating images", start, len(x))
        part = slice(start, start + batch_size)
        with torch.inference_mode():
            logits = module(torch.tensor(x[part]).to(device, dtype)).float().cpu()
            if not torch.isfinite(logits).all():
                raise UserError(f"The model's outputs are not finite at samples {start} to {start + len(logits)}.")
            best = logits.sort(dim=1, descending=True, stable=True).indices[:, :5].numpy()
        predictions[part] = best[:, 0]
        first += int((best[:, 0] == y[part]).sum())
        second += int((best == y[part, None]).any(axis=1).sum())
    return Evaluation(first / len(y), second / len(y), len(y), predictions)


def place_of(module: "nn.Module") -> "tuple[torch.device, torch.dtype]":
    """Where a module's weights lie and in which float type; the CPU and float32 for int8 kernels."""
    import torch

    first = next(module.parameters(), None)
    if first is None or not first.is_floating_point():
        return torch.device("cpu"), torch.float32
    return first.device, first.dtype


def wilson_interval(correct: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion of which `correct` of `n` were seen, as fractions; a mean need not be whole.

    Wilson 1927, “Probable inference, the law of succession, and statistical inference”, J. Am. Stat. Assoc. 22:
    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with z = 1.96. Unlike p ± z √(p(1-p)/n) it is not empty at 100 %.
    """
    p, z2 = correct / n, Z95 * Z95
    middle = p + z2 / (2 * n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)
    return min(max(0.0, low), p), max(min(1.0, high), p)  # p lies inside, also after rounding
