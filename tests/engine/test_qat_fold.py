"""Which batch norms training folds: only those whose folding leaves the outputs as they are."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qexplorer.engine.qat.model import qat_model
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.quant.recipe import Recipe


class Tokens(nn.Module):
    """A norm over the tokens, of which there are as many as channels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.norm.running_mean = torch.randn(6)
        self.norm.running_var = torch.rand(6) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


@pytest.mark.parametrize(("shape", "folded"), [((3, 4), True), ((3, 6, 4), False)])
def test_a_norm_is_folded_only_over_channels(shape: tuple[int, ...], folded: bool) -> None:
    module = Tokens().eval()
    x = torch.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    prepared = prepare(module, x, fold=False)
    assert (prepare(module, x).folded == 1) is folded
    model = qat_model(prepared, Recipe.parse("int8 channel:0", "", ""), learn=False, fold=folded)
    own: Any = model.module.eval()
    with torch.no_grad():
        assert torch.allclose(own(x), module(x), atol=0.05)
