"""Int8 of what is called without a module of its own, and of clamps between convolutions: on every engine."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.backends import BACKEND, supported_engines
from qexplorer.engine.models.state_dict import theoretical_bytes
from qexplorer.errors import UserError
from qexplorer.progress import finish

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")


class Net(nn.Module):
    def __init__(self, clamp: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.clamp, self.last = nn.Conv2d(3, 8, 3), clamp, nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.clamp(self.first(x)))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(64, 3, 3, 3)), nn.Parameter(torch.randn(64))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, self.weight, self.bias, (1, 1), (0, 0), (1, 1), 1))


@pytest.fixture
def kernels() -> Iterator[None]:
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


CLAMPS = {"ReLU6": nn.ReLU6(), "Hardtanh": nn.Hardtanh(), "relu6": F.relu6, "hardtanh": F.hardtanh,
          "hardtanh_": F.hardtanh_, "clamp": lambda x: torch.clamp(x, 0, 6), "method": lambda x: x.clamp(-1, 6),
          "clip": lambda x: torch.clip(x, 0, 6)}  # fmt: skip


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("engine", supported_engines())
@pytest.mark.parametrize("clamp", CLAMPS.values(), ids=CLAMPS)
def test_clamps_are_near_the_float_ones(engine: str, clamp: Callable[[Tensor], Tensor]) -> None:
    net = Net(clamp).eval()
    x = 3 * torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.backends.quantized.engine = engine
    made = finish(BACKEND().quantize(net, "pytorch_default", [x.numpy()])).module
    with torch.no_grad():
        wanted, found = net(x), made(x)
    assert float((found - wanted).abs().mean() / wanted.abs().mean()) < 0.1


@pytest.mark.usefixtures("kernels")
@pytest.mark.skipif("qnnpack" not in supported_engines(), reason="this torch has no QNNPACK")
def test_what_no_kernel_does_is_refused_when_it_is_converted() -> None:
    torch.backends.quantized.engine = "qnnpack"
    with pytest.raises(UserError, match=r"cannot be converted to int8 kernels.*clamp"):
        finish(BACKEND().quantize(Net(lambda x: x.clamp(min=0)).eval(), "x86", [torch.randn(4, 3, 8, 8).numpy()]))


def test_weights_of_functions_are_counted() -> None:
    made = finish(BACKEND().quantize(Functional().eval(), "x86", [torch.randn(8, 3, 8, 8).numpy()])).module
    codes, scales, biases, between = 64 * 27, 64 * 4, 64 * 4, 2 * (4 + 1)
    assert theoretical_bytes(made.state_dict()) == codes + scales + biases + between
