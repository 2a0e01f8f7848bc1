"""Batch norm put into the layer before it (Jacob et al. 2018, section 3.2)."""

from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from qexplorer.engine.simulation.uses import readers, used_once

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def foldable(graph: fx.GraphModule) -> list[tuple[fx.Node, fx.Node]]:
    """The calls of each layer and of the batch norm that alone reads its output.

    A layer that is called again, or whose tensors something else reads, keeps the norm after it.
    """
    alone = used_once(graph)
    found: list[tuple[fx.Node, fx.Node]] = []
    for node in graph.graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or readers(before) != [node] or str(before.target) not in alone:
            continue
        if _fits(graph.get_submodule(str(before.target)), graph.get_submodule(str(node.target))):
            found.append((before, node))
    return found


def fold(graph: fx.GraphModule) -> int:
    """Put every batch norm that is `foldable` into its layer; how many there were."""
    found = foldable(graph)
    for before, node in found:
        layer, norm = graph.get_submodule(str(before.target)), graph.get_submodule(str(node.target))
        fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        graph.set_submodule(str(before.target), fuse(layer, norm))
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    return len(found)


def _fits(layer: nn.Module, norm: nn.Module) -> bool:
    """Whether a norm, with statistics of its own, has a channel for each output of the layer."""
    if not isinstance(norm, NORMS) or norm.running_mean is None:
        return False
    if isinstance(layer, nn.Linear):  # torch does not fuse a norm without weights into it
        return norm.num_features == layer.out_features and norm.weight is not None
    return isinstance(layer, CONVOLUTIONS) and norm.num_features == layer.out_channels
