"""Weights on their grid, inputs that are alike, and what a rounding costs on them."""

import torch
from small_nets import randn
from torch import Tensor

from qexplorer.engine.simulation.grid import WeightGrid
from qexplorer.engine.simulation.layers import dequantized, weight_quantizer
from qexplorer.quant import QuantSpec


def grid_of(weight: Tensor, text: str) -> WeightGrid:
    return WeightGrid(weight, weight_quantizer("a layer", weight, QuantSpec.parse(text)))


def nearest(weight: Tensor, text: str) -> Tensor:
    return dequantized(weight, weight_quantizer("a layer", weight, QuantSpec.parse(text)))


def correlated(n: int, k: int, seed: int = 0) -> Tensor:
    """Products of inputs of which each is like its neighbours, [1, K, K]."""
    mix = torch.eye(k) + 0.6 * randn(k, k, seed=seed) / k**0.5 + 0.4
    x = randn(n, k, seed=seed + 1) @ mix
    return (x.T @ x / n)[None]


def cost(weight: Tensor, other: Tensor, products: Tensor) -> Tensor:
    """ΔW·H·ΔWᵀ of each output channel, [out]."""
    error = (weight - other).double()
    return ((error @ products[0].double()) * error).sum(dim=1)
