"""Sensitivity and bit budgets worked out anew: plain torch runs the whole model for every layer, and every choice is
tried.
"""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from qexplorer.engine.datasets import open_dataset
from qexplorer.engine.jobs import jobs
from qexplorer.engine.models import models
from qexplorer.progress import finish

JUDGE = "own torch code and brute force (sensitivity, bit budget)"
LIMIT, CALIBRATION, WIDTHS = 48, 32, (2, 4, 8)
SETTINGS: dict[str, Any] = {
    "model": "vit_digits", "limit": LIMIT, "threads": 1, "timing": "off", "calibration": CALIBRATION,
    "weight_spec": "int4 channel:0",
}  # fmt: skip
FREE = ("patches", "blocks.0.attention.qkv", "blocks.1.attention.proj", "blocks.2.mlp.2", "head")
SCALE_BITS, TARGET = 32, 7.4
CELLS = 20_000
"""The knapsack counts sizes in so many units between the least and the most, rounded up."""


def quantized(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Symmetric, restricted, one scale for each output channel, which covers its largest magnitude."""
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().flatten(1).amax(dim=1).reshape(-1, *[1] * (weight.ndim - 1)) / most
    return torch.clamp(torch.round(weight / scale), -most, most) * scale


def outputs(model: torch.nn.Module, x: torch.Tensor, bits: dict[str, int]) -> torch.Tensor:
    """Those of a copy of the model in which some layers' weights are quantized."""
    own = copy.deepcopy(model)
    with torch.no_grad():
        for name, width in bits.items():
            layer: Any = own.get_submodule(name)
            layer.weight.copy_(quantized(layer.weight, width))
        return own(x)


def energy(x: torch.Tensor) -> float:
    return float(x.double().square().sum())


@pytest.fixture(scope="module")
def vit() -> torch.nn.Module:
    model = models["vit_digits"]()
    return finish(model.load(model.resolve(None))).eval()


@pytest.fixture(scope="module")
def weights(vit: torch.nn.Module) -> dict[str, torch.Tensor]:
    kinds = torch.nn.Conv2d | torch.nn.Linear
    return {name: layer.weight for name, layer in vit.named_modules() if isinstance(layer, kinds)}


def test_the_sensitivity_of_a_layer_is_that_of_the_whole_model_with_that_layer_quantized(vit, weights, verdict):
    result = finish(jobs["sensitivity"](**SETTINGS, modes="both").run())
    data = finish(open_dataset("digits"))
    x, labels = torch.tensor(data.x_test[:LIMIT]), data.y_test[:LIMIT]
    expected = outputs(vit, x, {})
    before = expected.argmax(dim=1).numpy()
    assert {layer.name for layer in result.layers} == set(weights)
    for layer in result.layers:
        others = {name: 4 for name in weights if name != layer.name}
        for kind, bits in (("", {layer.name: 4}), ("rest_", others)):
            y = outputs(vit, x, bits)
            classes = y.argmax(dim=1).numpy()
            assert getattr(layer, f"{kind}output_error") == pytest.approx(
                energy(y - expected) / energy(expected), rel=1e-3
            )
            assert getattr(layer, f"{kind}top1") == np.mean(classes == labels)
            assert getattr(layer, f"{kind}flips") == np.sum(classes != before)
            verdict.checked(3)
    errors = [layer.output_error for layer in result.layers]
    assert errors == sorted(errors, reverse=True)


def test_no_choice_of_bits_beats_that_of_the_bit_budget(vit, weights, verdict):
    locked = "; ".join(f"{name}=int8 channel:0" for name in weights if name not in FREE)
    own = {"target": f"{TARGET} bits", "widths": "2,4,8", "checked": 0, "overrides": locked}
    result = finish(jobs["bit-budget"](**SETTINGS, **own).run())
    data = finish(open_dataset("digits"))
    x = torch.tensor(data.x_train[np.random.default_rng(0).permutation(len(data.x_train))[:CALIBRATION]])
    expected = outputs(vit, x, {})
    errors = [[energy(outputs(vit, x, {name: b}) - expected) / energy(expected) for b in WIDTHS] for name in FREE]
    found = {layer.name: layer.errors for layer in result.layers if layer.errors}
    assert set(found) == set(FREE)
    for name, row in zip(FREE, errors, strict=True):
        assert found[name] == pytest.approx(row, rel=1e-3)

    sizes = {name: [w.numel() * b + len(w) * SCALE_BITS for b in WIDTHS] for name, w in weights.items()}
    total, fixed = sum(w.numel() for w in weights.values()), sum(s[-1] for name, s in sizes.items() if name not in FREE)
    every = [
        (sum(sizes[name][k] for name, k in zip(FREE, ks, strict=True)),
         sum(row[k] for row, k in zip(errors, ks, strict=True)))
        for ks in itertools.product(range(len(WIDTHS)), repeat=len(FREE))
    ]  # fmt: skip

    def least(size: float) -> float:
        return min(error for own, error in every if own <= size)

    room = len(FREE) * (max(every)[0] - min(every)[0]) / CELLS
    chosen = result.findings.front[result.findings.chosen]
    budget = TARGET * total - fixed
    assert chosen.average_bits <= TARGET
    assert least(budget) * 0.999 <= chosen.error <= least(budget - room) * 1.001
    for point in result.findings.front:
        size = point.average_bits * total - fixed
        assert any(abs(size - own) < 1 and error == pytest.approx(point.error, rel=1e-3) for own, error in every)
        assert point.error <= least(size - room) * 1.001 if size - room > min(every)[0] else True
    verdict.checked(len(every))
