"""A traced model run node by node, so that a run can be cut anywhere, branched off and gone on with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from qexplorer.engine.simulation.prepared import Prepared, layer_nodes

Values = dict[str, Any]
"""What is alive between two nodes, by the nodes' names."""
Swap = tuple[str, nn.Module]


@dataclass(frozen=True)
class Stage:
    """A layer: where its first call stands in the graph, and the name of the node that gives its input."""

    layer: str
    node: str
    at: int
    source: str


class Stages:
    """The graph of a traced model. `copy`s of the model have the same nodes, so each run names its module."""

    def __init__(self, prepared: Prepared) -> None:
        graph = prepared.module
        if not isinstance(graph, fx.GraphModule):
            raise TypeError("Only a traced model has stages.")
        self.nodes = list(graph.graph.nodes)
        places = {node.name: i for i, node in enumerate(self.nodes)}
        self.stages = [Stage(name, node.name, places[node.name], _source(node)) for node, name, _ in layer_nodes(graph)]
        self.end = len(self.nodes)
        self._dead: list[list[str]] = [[] for _ in self.nodes]
        seen: set[str] = set()
        for i in range(self.end - 1, -1, -1):
            for used in self.nodes[i].all_input_nodes:
                if used.name not in seen:
                    seen.add(used.name)
                    self._dead[i].append(used.name)

    def run(self, module: nn.Module, values: Values, start: int, stop: int, swap: Swap | None = None) -> Values:
        """Run the nodes `start` … `stop` − 1 of `module`, and return what is alive then; `values` stays as it is.

        `swap` names a layer and the module whose layer of that name is run in its stead.
        """
        alive = dict(values)
        for i in range(start, stop):
            node = self.nodes[i]
            own = swap[1] if swap is not None and node.target == swap[0] else module
            alive[node.name] = self._call(own, node, alive)
            for name in self._dead[i]:
                del alive[name]
        return alive

    def begin(self, x: Tensor) -> tuple[Values, int]:
        """What is alive before the first node that computes, and its place."""
        place = next(i for i, node in enumerate(self.nodes) if node.op == "placeholder")
        return {self.nodes[place].name: x}, place + 1

    def finish(self, module: nn.Module, values: Values, start: int, swap: Swap | None = None) -> Tensor:
        """Run to the end and return the output."""
        return self.run(module, values, start, self.end, swap)[self.nodes[-1].name]

    def _call(self, module: nn.Module, node: fx.Node, alive: Mapping[str, Any]) -> Any:
        args: Any = fx.map_arg(node.args, lambda n: alive[n.name])
        kwargs: Any = fx.map_arg(node.kwargs, lambda n: alive[n.name])
        target: Any = node.target
        match node.op:
            case "call_module":
                return module.get_submodule(target)(*args, **kwargs)
            case "call_function":
                return target(*args, **kwargs)
            case "call_method":
                return getattr(args[0], target)(*args[1:], **kwargs)
            case "get_attr":
                found: Any = module
                for part in target.split("."):
                    found = getattr(found, part)
                return found
            case "output":
                return args[0]
            case _:
                return args[0] if args else None  # a placeholder with a default


def _source(node: fx.Node) -> str:
    first = node.args[0]
    assert isinstance(first, fx.Node)  # noqa: S101  a layer's input is no constant
    return first.name
