"""AdaRound before judges: every rounding tried, and what it must leave alone."""

import itertools

import numpy as np
import pytest
import torch
from roundings import correlated, cost, grid_of, nearest
from small_nets import randn
from torch import Tensor

from qexplorer.engine.repair import adaround as adaround_room
from qexplorer.engine.simulation.gram import Gram
from qexplorer.progress import finish

pytestmark = pytest.mark.usefixtures("one_thread")


def adaround(weight: Tensor, products: Tensor, text: str, iterations: int = 400) -> Tensor:
    both = Gram(products, products)
    return finish(adaround_room.rounded(weight[None], both, grid_of(weight, text), iterations))[0]


def test_adaround_finds_nearly_the_best_of_all_roundings_of_a_neuron() -> None:
    ratios: list[tuple[float, float]] = []
    for seed in range(20):
        weight, products = randn(1, 12, seed=seed), correlated(64, 12, seed)
        scale, low, high, _ = (part[0] for part in grid_of(weight, "int4").whole())
        floor = (weight[0] / scale).floor()
        ways = torch.tensor(list(itertools.product((0.0, 1.0), repeat=12)))
        best = float(cost(weight, (floor + ways).clamp(low, high) * scale, products).min())
        found = float(cost(weight, adaround(weight, products, "int4"), products))
        assert found >= best * (1 - 1e-5)
        ratios.append((found / best, float(cost(weight, nearest(weight, "int4"), products)) / best))
    own, plain = np.array(ratios).T
    assert np.median(own) < 1.03
    assert own.mean() < 1.2
    assert own.mean() < 0.4 * plain.mean()


@pytest.mark.parametrize("text", ["int4 channel:0", "uint3 affine group:8", "int4 affine_float group:8", "ternary"])
def test_adaround_rounds_each_weight_up_or_down(text: str) -> None:
    weight = randn(6, 40)
    chosen = adaround(weight, correlated(200, 40), text, 60)
    scale, low, high, offset = grid_of(weight, text).whole()
    floor = ((weight - offset) * (1 / scale)).floor()
    level = ((chosen - offset) / scale).round()
    assert torch.equal(level * scale + offset, chosen)
    assert ((level == floor.clamp(low, high)) | (level == (floor + 1).clamp(low, high))).all()


def test_channels_of_all_scales_are_rounded_alike() -> None:
    weight, products = randn(3, 24), correlated(100, 24)
    factors = torch.tensor([[1.0], [1e-3], [1e3]])
    many = adaround(weight * factors, products, "int4 channel:0", 200)
    for i in range(3):
        alone = adaround(weight[i : i + 1], products, "int4 channel:0", 200)
        torch.testing.assert_close(many[i] / factors[i], alone[0], rtol=1e-4, atol=1e-6)


def test_adaround_aims_at_the_output_of_the_float_inputs() -> None:
    """Where the quantized model's inputs are 0.8 of the float model's, larger weights make up for it."""
    weight, products = randn(4, 32), correlated(200, 32)
    both = Gram(0.64 * products, 0.8 * products)
    grid = grid_of(weight, "int4 channel:0")
    aware = finish(adaround_room.rounded(weight[None], both, grid, 300))[0]
    blind = adaround(weight, products, "int4 channel:0", 300)
    error = [float(cost(weight, 0.8 * w, products).sum()) for w in (aware, blind)]
    assert error[0] < 0.9 * error[1]


def test_adaround_leaves_torch_as_it_found_it() -> None:
    state = torch.random.get_rng_state()
    weight, products = randn(2, 8), correlated(40, 8)
    steps = adaround_room.rounded(weight[None], Gram(products, products), grid_of(weight, "int4"), 60)
    for _ in steps:
        assert torch.is_grad_enabled()
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(adaround(weight, products, "int4", 60), adaround(weight, products, "int4", 60))
