"""Which layers follow which in a traced model, as far as repairs need to know."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import fx, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.simulation.prepared import Prepared

RELUS = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout)
"""Modules f with f(s·x) = s·f(x) for s > 0."""
RELU_FUNCTIONS: tuple[Callable[..., object], ...] = (F.relu, F.leaky_relu)


@dataclass(frozen=True)
class Pair:
    """Two layers of which the second alone reads the first's output, through nothing but what scales with its input."""

    first: str
    second: str


def pairs(model: Prepared) -> Iterator[Pair]:
    """All of them, in the order in which they run."""
    if not isinstance(model.module, fx.GraphModule):
        return
    called = [str(node.target) for node in model.module.graph.nodes if node.op == "call_module"]
    for node in model.module.graph.nodes:
        if node.op != "call_module" or str(node.target) not in model.layers or called.count(str(node.target)) > 1:
            continue
        after = _follower(model, node)
        if after is not None and called.count(after) == 1:
            yield Pair(str(node.target), after)


def _follower(model: Prepared, node: fx.Node) -> str | None:
    """The layer that alone reads a node's output, if there is one."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node.op == "call_module" and str(node.target) in model.layers:
            return str(node.target)
        if node.op == "call_module" and isinstance(model.module.get_submodule(str(node.target)), RELUS):
            continue
        name = getattr(node.target, "__name__", str(node.target))
        if node.op in ("call_function", "call_method") and (node.target in RELU_FUNCTIONS or name.startswith("relu.")):
            continue
        if node.op == "call_method" and name == "relu":
            continue
        return None
    return None


def norm_readers(model: Prepared) -> Iterator[tuple[nn.LayerNorm, list[str]]]:
    """Each layer norm with weights whose output goes to linear layers only, and their names."""
    if not isinstance(model.module, fx.GraphModule):
        return
    for node in model.module.graph.nodes:
        norm = model.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.LayerNorm) or norm.weight is None or len(norm.normalized_shape) != 1:
            continue
        readers = [str(user.target) for user in node.users if user.op == "call_module"]
        linear = all(isinstance(model.layers.get(name), nn.Linear) for name in readers)
        if readers and linear and len(readers) == len(node.users):
            yield norm, readers
