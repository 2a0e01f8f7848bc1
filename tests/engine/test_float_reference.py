from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qexplorer.engine.jobs import jobs
from qexplorer.engine.models import models
from qexplorer.engine.simulation.float_reference import TOLERANCE, float_reference, largest_difference
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.progress import finish

IMAGES = np.random.default_rng(0).random((5, 3, 8, 8), np.float32)


class Net(nn.Module):
    """A convolution whose batch norm does something, of three channels, so that the layout matters."""

    def __init__(self, *, branches: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.branches = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), branches
        self.norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
        self.norm.running_var.copy_(torch.tensor([0.5, 1.5, 2.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        return (y if not self.branches or y.sum() > 0 else -y).flatten(1)


def test_the_copy_is_fused_and_channels_last_and_computes_the_same() -> None:
    net = Net().eval()
    found = finish(float_reference(net, IMAGES))
    assert found.timing.form == "fused, channels-last"
    assert found.timing.compared_n == 5
    assert found.timing.max_difference <= TOLERANCE
    assert largest_difference(net, found.module, IMAGES) == found.timing.max_difference
    kinds = [type(m).__name__ for m in found.module.modules()]
    assert "BatchNorm2d" not in kinds
    (conv,) = (m for m in found.module.modules() if isinstance(m, nn.Conv2d))
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert found.note == "Timed as a fused, channels-last copy with the same outputs."


def test_the_model_itself_is_left_as_it_is() -> None:
    net = finish(models["mobilenet_v2_digits"]().load(None))
    before = {name: (t.clone(), t.stride()) for name, t in net.state_dict().items()}
    finish(float_reference(net, np.zeros((2, 1, 32, 32), np.float32)))
    assert {name: t.stride() for name, t in net.state_dict().items()} == {n: s for n, (_, s) in before.items()}
    assert all(torch.equal(t, before[name][0]) for name, t in net.state_dict().items())


def test_a_model_that_cannot_be_fused_is_at_least_channels_last() -> None:
    found = finish(float_reference(Net(branches=True).eval(), IMAGES))
    assert found.note == "Timed as a channels-last, not fused copy with the same outputs."
    assert found.timing.form == "channels-last, not fused"


def test_a_fused_copy_with_other_outputs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_the_norm(module: Any, example: Tensor) -> Prepared:
        del example
        wrong = nn.Sequential(module.conv, nn.ReLU(), nn.Flatten())
        return Prepared(wrong, {"0": module.conv}, traced=True)

    monkeypatch.setattr("qexplorer.engine.simulation.prepared.prepare", without_the_norm)
    assert finish(float_reference(Net().eval(), IMAGES)).timing.form == "channels-last, not fused"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_no_copy_has_the_same_outputs_the_model_is_timed_as_given() -> None:
    class Noise(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(1)

    net = Noise().eval()
    found = finish(float_reference(net, IMAGES))
    assert found.module is net
    assert found.note == "Timed as given: no faster copy of it has the same outputs."


def test_nothing_is_left_in_inference_mode() -> None:
    for _ in float_reference(Net().eval(), IMAGES):
        assert not torch.is_inference_mode_enabled()


def test_a_run_that_is_not_timed_prepares_no_copy_for_it() -> None:
    phases: list[str] = []
    job = jobs["evaluate"](model="vit_digits", limit=8, threads=1, timing="off")  # pyright: ignore[reportCallIssue]
    result = finish(job.run(), lambda step: phases.append(step.phase))
    assert "Evaluating images" in phases
    assert not [phase for phase in phases if "timing" in phase]
    assert (result.spec.float_timing.form, result.rows[0].note) == ("", "")
