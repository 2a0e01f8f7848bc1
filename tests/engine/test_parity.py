"""Int8 layers against the same in float arithmetic: which are compared, and what is said of the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from qexplorer.engine.backends import BACKEND, supported_engines
from qexplorer.engine.jobs import jobs
from qexplorer.engine.models.trust import trust
from qexplorer.progress import finish
from tests.few_digits import few_digits

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # torch's own
NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "reflect": (nn.Conv2d(2, 4, 3, padding=2, stride=2, padding_mode="reflect"), (8, 8)),
    "reflect, grouped": (nn.Conv2d(2, 4, 3, padding=1, groups=2, padding_mode="reflect"), (8, 8)),
    "reflect, with ReLU": (nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()), (8, 8)),
    "dilated": (nn.Conv2d(2, 4, 3, padding=1, dilation=2, bias=False), (8, 8)),
    "1-D": (nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU()), (8,)),
    "1-D, reflect": (nn.Conv1d(2, 4, 3, padding=1, padding_mode="reflect"), (8,)),
    "3-D": (nn.Conv3d(2, 4, 3, padding=1), (5, 5, 5)),
    "transposed, 1-D": (nn.ConvTranspose1d(2, 2, 4, stride=2, padding=1), (8,)),
    "transposed, 2-D": (nn.ConvTranspose2d(2, 2, 4, stride=3, output_padding=1, bias=False), (8, 8)),
    "transposed, 3-D": (nn.ConvTranspose3d(2, 2, 2), (4, 4, 4)),
    "linear": (nn.Sequential(nn.Linear(8, 5), nn.ReLU()), (8,)),
}


@pytest.fixture
def fbgemm() -> Iterator[None]:
    before = torch.backends.quantized.engine
    if "fbgemm" not in supported_engines():
        pytest.skip("no fbgemm here")
    torch.backends.quantized.engine = "fbgemm"
    yield
    torch.backends.quantized.engine = before


@pytest.mark.usefixtures("fbgemm")
@pytest.mark.parametrize(("layer", "size"), NETS.values(), ids=NETS)
def test_a_layer_in_float_gives_the_codes_of_its_kernel(layer: nn.Module, size: tuple[int, ...]) -> None:
    x = torch.randn(4, 2, *size, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for each in layer.modules():
            if hasattr(each, "reset_parameters"):
                each.reset_parameters()  # pyright: ignore[reportCallIssue]
    made = finish(BACKEND().quantize(nn.Sequential(layer).eval(), "x86", [x.numpy()])).module
    kernels, others = BACKEND().kernels(made)
    assert (len(kernels), others) == (1, [])
    seen: list[Any] = []
    kernels[0].module.register_forward_hook(lambda _, args, y: seen.extend((args[0], y)))
    with torch.inference_mode():
        made(x)
        wanted = kernels[0].compute(seen[0].dequantize())
    assert wanted.abs().max() > 0.1
    codes = torch.quantize_per_tensor(wanted, kernels[0].scale, kernels[0].zero_point, torch.quint8).int_repr()
    assert int((codes.int() - seen[1].int_repr().int()).abs().max()) <= 1


OWN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=4, padding=1, padding_mode="reflect")
        self.norm, self.own = nn.LayerNorm(8), nn.Parameter(torch.randn(4, 4, 1, 1))
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        x = nn.functional.conv2d(self.norm(self.stem(x)), self.own, None, (1, 1), (0, 0), (1, 1), 1)
        return self.head(x.flatten(1))
"""


def test_int8_layers_that_are_not_compared_are_named(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN)
    trust(own)
    settings: dict[str, Any] = {"model": f"{own}:Net", "data": few_digits(), "calibration": 16, "compared": 8,
                                "limit": 8, "threads": 1, "timing": "off"}  # fmt: skip
    result = finish(jobs["parity"](**settings).run())
    assert [layer.name for layer in result.layers] == ["stem", "head"]
    assert all(layer.largest_lsb <= 1 for layer in result.layers)
    assert np.isclose(result.findings.equal, 1, atol=0.01)
    assert result.rows[1].note == "Int8 layers that are not compared: norm, conv2d."
