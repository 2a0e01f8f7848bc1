"""What makes real int8 kernels of a float model: each file here wraps one library that does."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.run_spec import KernelSpec
from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import Choice

if TYPE_CHECKING:
    from torch import Tensor, nn

ENGINES = {
    "x86": "it needs an x86 processor with AVX2",
    "fbgemm": "it needs an x86 processor with AVX2",
    "qnnpack": "it needs a torch that was built with QNNPACK",
    "onednn": "it needs a torch that was built with oneDNN",
}
"""torch's int8 kernel libraries, the first that is supported being the default, and why one may be missing."""
ENGINE_CHOICES = (Choice("auto", "Automatic"), *map(Choice, ENGINES))


@dataclass(frozen=True)
class Preset:
    """A named choice of observers for weights and activations."""

    name: str
    title: str
    help: str


@dataclass(frozen=True)
class Quantized:
    """A converted module, what its preset resolved to, and per layer the spec and the error of its weights; the spec of
    one that stayed float32 is `float`.

    `kept` names all whose weights are float32, whether they are layers of simulations or not; a weight that is no
    layer's goes by its own name. `bytes_theoretical` is given where the module's state does not show its numbers.
    """

    module: "nn.Module"
    spec: KernelSpec
    layers: tuple[LayerFigures, ...]
    kept: list[str]
    bytes_theoretical: int | None = None


Weights = Mapping[str, QuantSpec | None]
"""Specs, out of `Backend.weights`, for the weights of single layers by name; None: the layer stays float32."""


class Backend(Plugin):
    """A way from a float32 module to one that computes in int8."""

    presets: ClassVar[tuple[Preset, ...]]
    kind: ClassVar[str]
    """`REAL` or `SIMULATED`, as in `Row`."""
    weights: ClassVar[tuple[str, ...]]
    """The specs that the weights of single layers can be given."""

    @abstractmethod
    def quantize(self, module: "nn.Module", preset: str, batches: Sequence[NDArray[np.float32]],
                 weights: Weights | None = None) -> Steps[Quantized]:  # fmt: skip
        """Fuse, prepare, calibrate on `batches` [n, C, H, W], convert; `module` itself is left as it is.

        The kernels are those of torch's current quantized engine. Layers named in `weights` are not as the preset has
        them. Raises `UserError` where the module does not fit, a layer cannot be as it is asked for, or there is
        nothing for the kernels.
        """
        raise NotImplementedError

    @abstractmethod
    def quantize_dynamic(self, module: "nn.Module", kept: Iterable[str] = ()) -> Quantized:
        """A copy whose Linear and LSTM layers, but for those `kept`, have int8 weights and quantize their input anew
        each time.

        `layers` is empty where there are none.
        """
        raise NotImplementedError

    @abstractmethod
    def kernels(self, module: "nn.Module") -> "tuple[list[Kernel], list[str]]":
        """The int8 layers of a module that `quantize` made, in the order in which they run, and the names of those
        that are not taken apart.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Kernel:
    """An int8 layer taken apart: `compute` is the same in float, from dequantized inputs and weights, before its output
    is quantized with `scale` and `zero_point` to uint8 codes.
    """

    name: str
    module: "nn.Module"
    compute: "Callable[[Tensor], Tensor]"
    scale: float
    zero_point: int


backends = Registry[Backend]("backend")


def supported_engines() -> list[str]:
    """The engines that this machine and its torch support, the best first."""
    import torch

    return [name for name in ENGINES if name in torch.backends.quantized.supported_engines]


def choose_engine(wanted: str) -> str:
    """The engine of that name, or the best supported one for `auto`; a `UserError` says why one cannot be had."""
    supported = supported_engines()
    if wanted == "auto" and supported:
        return supported[0]
    if wanted in supported:
        return wanted
    remedy = f"Supported here: {', '.join(supported) or 'none'}."
    if wanted in ENGINES:
        raise UserError(f"The engine {wanted} is not supported here: {ENGINES[wanted]}.", remedy, field="engine")
    raise UserError(f"There is no engine “{wanted}”.", remedy, field="engine")


backends.discover(__name__, list(__path__))

BACKEND = backends["graph_mode"]
"""The one that jobs use."""
