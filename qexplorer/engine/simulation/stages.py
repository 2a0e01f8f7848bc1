"""A traced model run node by node, so that a run can be cut anywhere, branched off and gone on with."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from qexplorer.engine.simulation.prepared import Prepared, layer_nodes

Values = dict[fx.Node, Any]
"""What is alive between two nodes: what earlier ones gave."""
Swap = tuple[str, nn.Module]


@dataclass(frozen=True)
class Stage:
    """A layer: where its first call stands in the graph, and the node that gives its input."""

    layer: str
    at: int
    source: fx.Node


class Stages:
    """The graph of a traced model. `copy`s of the model have the same nodes, so each run names its module."""

    def __init__(self, prepared: Prepared) -> None:
        graph = prepared.module
        if not isinstance(graph, fx.GraphModule):
            raise TypeError("Only a traced model has stages.")
        self._graph = graph.graph
        self.nodes = list(graph.graph.nodes)
        places = {node: i for i, node in enumerate(self.nodes)}
        self.stages = [Stage(name, places[node], _source(node)) for node, name, _ in layer_nodes(graph)]
        self.end = len(self.nodes)
        self._dead: list[list[fx.Node]] = [[] for _ in self.nodes]
        seen: set[fx.Node] = set()
        for i in range(self.end - 1, -1, -1):
            for used in self.nodes[i].all_input_nodes:
                if used not in seen:
                    seen.add(used)
                    self._dead[i].append(used)

    def run(self, module: nn.Module, values: Values, start: int, stop: int, swap: Swap | None = None) -> Values:
        """Run the nodes `start` … `stop` − 1 of `module`, and return what is alive then; `values` stays as it is.

        `swap` names a layer and the module whose layer of that name is run in its stead.
        """
        piece = _Piece(module, self._graph, values, swap)
        for i in range(start, stop):
            piece.env[self.nodes[i]] = piece.run_node(self.nodes[i])
            for dead in self._dead[i]:
                del piece.env[dead]
        return piece.env

    def begin(self, x: Tensor) -> tuple[Values, int]:
        """What is alive before the first node that computes, and its place."""
        place = next(i for i, node in enumerate(self.nodes) if node.op == "placeholder")
        return {self.nodes[place]: x}, place + 1

    def finish(self, module: nn.Module, values: Values, start: int, swap: Swap | None = None) -> Tensor:
        """Run to the end and return the output."""
        return self.run(module, values, start, self.end, swap)[self.nodes[-1]]


class _Piece(fx.Interpreter):
    """Runs single nodes of a graph with the modules of a copy, and a swapped layer with those of another one."""

    def __init__(self, module: nn.Module, graph: fx.Graph, values: Values, swap: Swap | None) -> None:
        super().__init__(module, garbage_collect_values=False, graph=graph)
        self.env, self._swap = dict(values), swap

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        own = self._swap[1] if self._swap is not None and target == self._swap[0] else self.module
        return own.get_submodule(target)(*args, **kwargs)


def _source(node: fx.Node) -> fx.Node:
    first = node.args[0]
    assert isinstance(first, fx.Node)  # noqa: S101  a layer's input is no constant
    return first
