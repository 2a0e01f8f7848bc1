"""Which layers follow which in a traced model, as far as repairs need to know."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.simulation.layers import kind_of
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.uses import readers, used_once
from qexplorer.quant.layer_kinds import TRANSPOSED

RELUS = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout)
"""Modules f with f(s·x) = s·f(x) for s > 0."""
RELU_FUNCTIONS: set[Any] = {F.relu, F.leaky_relu, torch.relu, torch.ops.aten.relu.default,
                            torch.ops.aten.leaky_relu.default}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two layers of one kind of which the second alone reads the first's output, through nothing but what scales with
    its input; nothing else reads their tensors.
    """

    first: str
    second: str


def pairs(model: Prepared) -> Iterator[Pair]:
    """All of them, in the order in which they run."""
    graph = model.module
    if not isinstance(graph, fx.GraphModule):
        return
    alone = used_once(graph)
    for node in graph.graph.nodes:
        first = str(node.target) if node.op == "call_module" else ""
        second = _follower(model, node) if first in model.layers else None
        if second is None or not {first, second} <= alone:
            continue
        one, other = (kind_of(model.layers[name]) for name in (first, second))
        if one == other != TRANSPOSED:  # else channels of the one are not those of the other
            yield Pair(first, second)


def _follower(model: Prepared, node: fx.Node) -> str | None:
    """The layer that alone reads a node's output, if there is one."""
    while len(found := readers(node)) == 1:
        node = found[0]
        if node.op == "call_module" and str(node.target) in model.layers:
            return str(node.target)
        if not _scales(model.module, node):
            return None
    return None


def _scales(module: nn.Module, node: fx.Node) -> bool:
    """Whether a step's output is as many times larger as its input is, if that is a number above zero."""
    match node.op:
        case "call_module":
            return isinstance(module.get_submodule(str(node.target)), RELUS)
        case "call_function":
            return node.target in RELU_FUNCTIONS
        case _:
            return node.op == "call_method" and node.target == "relu"


def norm_readers(model: Prepared) -> Iterator[tuple[nn.LayerNorm, list[str]]]:
    """Each layer norm with weights whose output goes to linear layers only, and their names; all are called once."""
    graph = model.module
    if not isinstance(graph, fx.GraphModule):
        return
    alone = used_once(graph)
    for node in graph.graph.nodes:
        norm = graph.get_submodule(str(node.target)) if node.op == "call_module" and str(node.target) in alone else None
        if not isinstance(norm, nn.LayerNorm) or norm.weight is None or len(norm.normalized_shape) != 1:
            continue
        names = [str(user.target) if user.op == "call_module" else "" for user in readers(node)]
        if names and all(isinstance(model.layers.get(name), nn.Linear) and name in alone for name in names):
            yield norm, names
