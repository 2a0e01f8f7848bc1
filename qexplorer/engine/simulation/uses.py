"""How often the modules of a traced model are called, and whether anything else reads their tensors."""

from collections import Counter
from operator import attrgetter

from torch import fx

ASKED = ("shape", "size", "dim", "ndim", "dtype", "device", "numel", "__len__")
"""What can be asked of a tensor without reading its values."""


def used_once(graph: fx.GraphModule) -> set[str]:
    """The modules that are called once and whose tensors are no one else's: changing them changes one step alone."""
    nodes = list(graph.graph.nodes)
    calls = Counter(str(node.target) for node in nodes if node.op == "call_module")
    owners: Counter[int] = Counter()
    for name in calls:
        owners.update({id(tensor) for tensor in graph.get_submodule(name).parameters()})
    owners.update(id(attrgetter(target)(graph)) for target in {str(n.target) for n in nodes if n.op == "get_attr"})
    return {
        name
        for name, times in calls.items()
        if times == 1 and all(owners[id(tensor)] == 1 for tensor in graph.get_submodule(name).parameters())
    }


def readers(node: fx.Node) -> list[fx.Node]:
    """The steps that read the values of a step's result, and not its shape alone."""
    return [user for user in node.users if not _asks(user)]


def _asks(user: fx.Node) -> bool:
    if user.op == "call_method":
        return user.target in ASKED
    return user.op == "call_function" and user.target is getattr and user.args[1] in ASKED
