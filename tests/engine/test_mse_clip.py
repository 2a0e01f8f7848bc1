"""MSE clipping: the range is the best of those tried, by the outputs that layers really give."""

from typing import Any

import numpy as np
import pytest
import torch
from small_nets import batches, chain, output, ready, simulated
from torch import Tensor, nn

from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.repair.clip import SHARES
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.observers import extremes
from qexplorer.quant.quantize import params_for, quantize
from qexplorer.quant.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def narrowed(weight: Tensor, text: str, share: float) -> Tensor:
    spec = QuantSpec.parse(text)
    lo, hi = extremes(spec.granularity.rows(weight.numpy()))
    params = params_for(spec, lo * np.float32(share), hi * np.float32(share))
    return torch.tensor(quantize(weight.numpy(), spec, params)[1])


@pytest.mark.parametrize(
    ("text", "each"),
    [("int3 channel:0", True), ("uint4 affine channel:0", True), ("int4 group:8", True), ("nf4 group:5", True),
     ("int4", False), ("int4 channel:1", False)],
)  # fmt: skip
def test_no_other_range_gives_outputs_nearer_to_the_float_ones(text: str, each: bool) -> None:
    net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 9))
    model, _ = ready(net, 4, 12)
    data = batches(64, 12, n=2)
    made = simulated(model, text, steps="mse_clip", data=data)
    x = torch.tensor(np.concatenate(data))
    first: Any = made.model.layers["0"]
    last: Any = made.model.layers["2"]
    own: Any = made.float_model.layers["2"]
    with torch.no_grad():
        seen, wanted = torch.relu(first(x)), made.float_model.module(x)
        trials = [narrowed(own.weight, text, share) for share in SHARES]
        errors = torch.stack([(wanted - seen @ trial.T - own.bias).square().sum(dim=0) for trial in trials]).double()
    if each:
        best = [trials[int(k)][row] for row, k in enumerate(errors.argmin(dim=0))]
        assert torch.equal(last.weight.detach(), torch.stack(best))
    else:
        assert torch.equal(last.weight.detach(), trials[int(errors.sum(dim=1).argmin())])


@pytest.mark.parametrize("text", ["int3 channel:0", "int4", "uint4 affine group:6", "fp4_e2m1 channel:0"])
def test_outputs_are_nearer_than_with_the_observers_of_weights_alone(text: str) -> None:
    model, x = ready(chain(), 32, 2, 8, 8)
    data = batches(16, 2, 8, 8)
    wanted = output(model, x)
    made = [
        simulated(model, spec, steps=r, data=data) for spec, r in ((text, ""), (f"{text} mse", ""), (text, "mse_clip"))
    ]
    plain, mse, clip = [float((output(each, x) - wanted).square().mean()) for each in made]
    assert clip < 0.9 * min(plain, mse)


def test_what_was_chosen_is_kept_with_its_grid() -> None:
    model, _ = ready(chain(), 4, 2, 8, 8)
    plan = Plan(Recipe.parse("int3 channel:0", "", ""), parse_repairs("mse_clip,gptq"), batches(8, 2, 8, 8))
    journal = Journal()
    first, again = (finish(simulate(model, plan, journal, "it")) for _ in range(2))
    assert first.grids.keys() == model.layers.keys()
    for name, grid in first.grids.items():
        own: Any = again.model.layers[name]
        values = own.weight.detach().flatten(1)
        assert np.array_equal(grid.scale, again.grids[name].scale)
        levels = values.numpy() / grid.scale[:, None]
        assert np.abs(levels - np.rint(levels)).max() < 1e-4


def test_only_one_step_chooses_the_range() -> None:
    with pytest.raises(UserError, match="HQQ and MSE clipping each choose the range"):
        parse_repairs("hqq,mse_clip")
