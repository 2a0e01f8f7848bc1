"""What works in place becomes steps with results of their own, or is not traced."""

from typing import Any

import pytest
import torch
from small_nets import output, randn, settled
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.simulation.prepared import prepare

pytestmark = pytest.mark.usefixtures("one_thread")


class InPlace(nn.Module):
    """A layer after something that works in place by `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.relu, self.linear, self.how = nn.ReLU(inplace=True), nn.Linear(4, 4), how

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "module":
                return self.linear(self.relu(x)) + x  # x is what relu made of it
            case "module whose result nobody takes":
                self.relu(x)
                return self.linear(x)
            case "method":
                return self.linear(x.sub_(0.3).div_(0.5)) * x
            case "method whose result nobody takes":
                y = self.linear(x)
                y.clamp_(max=0.1)
                return y + x
            case "function":
                y = F.relu(x, inplace=True)
                return self.linear(y) - x
            case "function with an underscore":
                torch.relu_(x)
                return self.linear(x)
            case _:
                y = self.linear(x)
                y += x
                return y


@pytest.mark.parametrize(
    "how",
    ["module", "module whose result nobody takes", "method", "method whose result nobody takes", "function",
     "function with an underscore", "operator"],
)  # fmt: skip
def test_steps_in_place_become_steps_with_results_of_their_own(how: str) -> None:
    net, x = settled(InPlace(how)), randn(3, 4, seed=1)
    found = prepare(net, x)
    assert found.traced
    assert torch.equal(output(found.module, x), output(net, x))
    given = x.clone()
    with torch.no_grad():
        found.module(given)
    assert torch.equal(given, x)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(lambda x: x.zero_(), "zero_ works in place"), (lambda x: x[:, :2].add_(3), "other outputs")],
)
def test_what_works_in_place_otherwise_is_not_traced(change: Any, reason: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            change(x)
            return y + x

    net = settled(Net())
    found = prepare(net, randn(3, 4, seed=1))
    assert not found.traced
    assert reason in found.note
    assert torch.equal(output(found.module, randn(3, 4, seed=1)), output(net, randn(3, 4, seed=1)))
