"""A float model made ready to be quantized: a copy of its own, traced and with batch norm folded where possible."""

import copy
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
TOLERANCE = 1e-4
"""How far outputs of the traced copy may be from the model's, in units of the largest one, or of 1 if that is less."""
IN_PLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul}
UNTRACED = "It does not trace ({reason}), so its layers are quantized by hooks: batch norm stays apart."


@dataclass(frozen=True)
class Prepared:
    """A module in eval mode and its layers by name, in the order in which they run where it was `traced`.

    A layer is a convolution or a linear map. `note` says in a sentence why the module could not be traced.
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
    with torch.inference_mode():
        expected = module(example)
    try:
        graph = fx.symbolic_trace(copy.deepcopy(module).eval())
        _without_in_place(graph)
        folded = _fold(graph) if fold else 0
        graph.recompile()
        with torch.inference_mode():
            found = [graph(example), graph(example[:1])]
            right = all(_alike(expected[: len(own)], own) for own in found)
        reason = "" if right else "the traced copy gives other outputs"
    except Exception as error:  # noqa: BLE001  tracing runs the model's own code
        reason, graph, folded = f"{type(error).__name__}: {error}".split("\n")[0][:120], None, 0
    if reason or graph is None:
        plain = copy.deepcopy(module).eval()
        found_layers: dict[str, nn.Module] = {n: m for n, m in plain.named_modules() if isinstance(m, LAYERS)}
        return Prepared(plain, found_layers, traced=False, note=UNTRACED.format(reason=reason))
    layers = {name: m for _, name, m in layer_nodes(graph)}
    return Prepared(graph, layers, traced=True, folded=folded)


def layer_nodes(graph: fx.GraphModule) -> Iterator[tuple[fx.Node, str, nn.Module]]:
    """The first call of every layer, in order, with its name and its module."""
    seen: set[int] = set()
    for node in graph.graph.nodes:
        if node.op == "call_module":
            module = graph.get_submodule(str(node.target))
            if isinstance(module, LAYERS) and id(module) not in seen:
                seen.add(id(module))
                yield node, str(node.target), module


def _alike(expected: Tensor, found: Tensor) -> bool:
    scale = expected.abs().max().clamp(min=1)
    return expected.shape == found.shape and bool(((expected - found).abs().max() / scale) <= TOLERANCE)


def _without_in_place(graph: fx.GraphModule) -> None:
    """Give every step a result of its own, so that the inputs of a step can be used again."""
    for module in graph.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in IN_PLACE:
            node.target = IN_PLACE[node.target]
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        name = str(node.target)
        if node.op == "call_method" and name.endswith("_") and not name.endswith("__") and hasattr(Tensor, name[:-1]):
            node.target = name[:-1]
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            _functional(node)


def _functional(node: fx.Node) -> None:
    """The form of an ATen operator that leaves its input as it is."""
    assert isinstance(node.target, torch._ops.OpOverload)  # noqa: S101
    packet = node.target.overloadpacket.__name__
    own = getattr(torch.ops.aten, packet[:-1], None) if packet.endswith("_") and not packet.endswith("__") else None
    if own is not None and node.target.namespace == "aten":
        node.target = getattr(own, node.target._overloadname)


def _fold(graph: fx.GraphModule) -> int:
    """Put every batch norm that follows a layer, alone, into it; how many there were."""
    uses: dict[str, int] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            uses[str(node.target)] = uses.get(str(node.target), 0) + 1
    modules = dict(graph.named_modules())
    folded = 0
    for node in list(graph.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        before = node.args[0] if isinstance(norm, NORMS) and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        name = str(before.target)
        layer = modules[name]
        if not isinstance(layer, LAYERS) or uses[name] != 1 or not isinstance(norm, NORMS) or norm.running_mean is None:
            continue
        fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        fused = fuse(layer, norm)  # pyright: ignore[reportArgumentType]
        parent, _, leaf = name.rpartition(".")
        setattr(graph.get_submodule(parent), leaf, fused)
        modules[name] = fused
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
        folded += 1
    graph.delete_all_unused_submodules()
    return folded
