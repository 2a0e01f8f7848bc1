"""A float model made ready to be quantized: a copy of its own, traced and with batch norm folded where possible."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize

from qexplorer.engine.networks.encoders import call_layers
from qexplorer.engine.simulation.folding import NORMS
from qexplorer.engine.simulation.folding import fold as fold_norms
from qexplorer.engine.simulation.in_place import remove_in_place
from qexplorer.engine.simulation.watching import watching_inputs
from qexplorer.text import first_few

__all__ = ["LAYERS", "NORMS", "Prepared", "is_layer", "layer_nodes", "prepare"]

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED, nn.Linear)
COMPUTE = ("forward", "_conv_forward")
"""The methods in which a layer computes."""
TOLERANCE = 1e-4
"""How far outputs of the traced copy may be from the model's, in units of the largest one, or of 1 if that is less."""
UNTRACED = "The model cannot be traced ({reason}); layers are quantized with hooks and batch norm is not folded."
LEFT = "Not quantized ({share:.1%} of all values): {names}."


@dataclass(frozen=True)
class Prepared:
    """A module in eval mode and its layers by name, in the order in which they run.

    A layer is a convolution or a linear map. `note` says in sentences why the module could not be traced, and which
    of its weights belong to no layer.
    """

    module: nn.Module
    layers: dict[str, nn.Module]
    traced: bool
    folded: int = 0
    note: str = ""

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.module.parameters()).device

    def copy(self) -> "Prepared":
        """The same with tensors of its own."""
        module = copy.deepcopy(self.module)
        layers = {name: module.get_submodule(name) for name in self.layers}
        return Prepared(module, layers, self.traced, self.folded, self.note)


def prepare(module: nn.Module, example: Tensor, *, fold: bool = True) -> Prepared:
    """A copy of `module`, which is left as it is. `example` [N, …] is what outputs are compared with.

    Where it cannot be traced by torch.fx, or the traced copy gives other outputs, it is only copied.
    """
    plain = copy.deepcopy(module).eval()
    call_layers(plain)
    for each in list(plain.modules()):
        if parametrize.is_parametrized(each):
            _settle(each)
    reason = ""
    for folding in dict.fromkeys((fold, False)):  # where folding spoils the outputs the norms stay
        try:
            graph, folded = _traced(plain, folding)
            if _alike(graph, plain, example):
                layers = {name: layer for _, name, layer in layer_nodes(graph)}
                return Prepared(graph, layers, True, folded, _left(plain, layers))
            reason = "the traced copy gives other outputs"
        except Exception as error:  # noqa: BLE001  tracing runs the model's own code
            reason = f"{type(error).__name__}: {error}".split("\n")[0][:120]
    layers = _as_they_run(plain, example)
    note = " ".join(filter(None, (UNTRACED.format(reason=reason), _left(plain, layers))))
    return Prepared(plain, layers, False, note=note)


def is_layer(module: nn.Module) -> bool:
    """Whether a module computes as torch's own convolutions and linear layers do.

    The last step of torch's attention is no layer: its weights are read, but it is never called.
    """
    kind = next((cls for cls in LAYERS if isinstance(module, cls)), None)
    if kind is None or isinstance(module, NonDynamicallyQuantizableLinear):
        return False
    return all(getattr(type(module), name, None) is getattr(kind, name, None) for name in COMPUTE)


def layer_nodes(graph: fx.GraphModule) -> Iterator[tuple[fx.Node, str, nn.Module]]:
    """The first call of every layer, in order, with its name and its module."""
    seen: set[int] = set()
    for node in graph.graph.nodes:
        if node.op == "call_module":
            module = graph.get_submodule(str(node.target))
            if is_layer(module) and id(module) not in seen:
                seen.add(id(module))
                yield node, str(node.target), module


class _Tracer(fx.Tracer):
    """Layers are what a trace ends at; what torch puts together from layers is traced through. The model has one input:
    its other arguments have their defaults.
    """

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        del is_module, concrete_args
        return root_fn, [self.root, self.create_proxy("placeholder", "x", (), {})]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        composed = any(is_layer(each) for each in m.modules() if each is not m)
        return is_layer(m) or (super().is_leaf_module(m, module_qualified_name) and not composed)


def _traced(plain: nn.Module, fold: bool) -> tuple[fx.GraphModule, int]:
    """A traced copy without steps in place, and how many norms were folded."""
    root = copy.deepcopy(plain)
    graph = fx.GraphModule(root, _Tracer().trace(root))
    remove_in_place(graph)
    for node, _, _ in layer_nodes(graph):
        if not node.args:
            node.args, node.kwargs = (node.kwargs["input"],), {}
    folded = fold_norms(graph) if fold else 0
    graph.recompile()
    return graph, folded


def _alike(graph: fx.GraphModule, plain: nn.Module, example: Tensor) -> bool:
    """Whether a graph gives the outputs of a model, for all samples and for the first alone."""
    for inputs in (example, example[:1]):
        with torch.no_grad():
            found, expected = graph(inputs.clone()), plain(inputs.clone())  # either may work on its input in place
        scale = expected.abs().max().clamp(min=1)
        if found.shape != expected.shape or not bool((expected - found).abs().max() / scale <= TOLERANCE):
            return False
    return True


def _settle(module: nn.Module) -> None:
    """Make parameters of what a module computes from others; torch's own way would change the module copied from."""
    parts: Any = module.parametrizations
    values = {name: getattr(module, name).detach() for name in parts}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))


def _as_they_run(module: nn.Module, example: Tensor) -> dict[str, nn.Module]:
    """The layers of a module that is not traced: those first that the example goes through, in that order."""
    layers = {name: each for name, each in module.named_modules() if is_layer(each)}
    order: dict[str, nn.Module] = {}

    def see(name: str, _: Tensor) -> None:
        order.setdefault(name, layers[name])

    with watching_inputs(layers, see), torch.no_grad():
        module(example.clone())
    return order | layers


def _left(plain: nn.Module, layers: dict[str, nn.Module]) -> str:
    """A sentence on the weights, of two axes or more, that are none of the `layers`'."""
    own = {f"{name}.weight" for name in layers}
    sizes = {name: each.numel() for name, each in plain.named_parameters() if each.ndim > 1 and name not in own}
    everything = sum(each.numel() for each in plain.parameters())
    return LEFT.format(names=first_few(list(sizes), 3), share=sum(sizes.values()) / everything) if sizes else ""
