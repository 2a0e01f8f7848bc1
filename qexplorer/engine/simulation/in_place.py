"""Steps of a traced model that work in place, turned into steps with a result of their own."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F  # noqa: N812  torch's own name for it

OPERATORS: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
}


def remove_in_place(graph: fx.GraphModule) -> None:
    """Leave the inputs of every step as they are; what later steps read of a changed tensor, they read of the result.

    What is changed through a view of a tensor is not followed: outputs have to be compared. Raises `ValueError` for a
    step that has no other form.
    """
    for node in graph.graph.nodes:
        if _replaced(graph, node):
            changed = node.args[0] if node.args else node.kwargs["input"]
            for user in [user for user in changed.users if user > node]:
                user.replace_input_with(changed, node)
    for module in graph.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def _replaced(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a step worked in place, and does not any more."""
    if node.op == "call_module":
        return getattr(graph.get_submodule(str(node.target)), "inplace", False) is True
    before = node.target
    if node.op == "call_method":
        node.target = _method(str(node.target))
    elif node.op == "call_function":
        node.target = _function(node.target)
    asked = node.kwargs.get("inplace") is True
    if asked:
        node.kwargs = {**node.kwargs, "inplace": False}
    return asked or node.target is not before


def _plain(name: str) -> str:
    """The name without the underscore that says “in place”; empty where there is none."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else ""


def _method(name: str) -> str:
    plain = _plain(name)
    if plain and not callable(getattr(Tensor, plain, None)):
        raise ValueError(f"{name} works in place")
    return plain or name


def _function(target: Any) -> Any:
    if target in OPERATORS:
        return OPERATORS[target]
    operation = isinstance(target, torch._ops.OpOverload)
    plain = _plain(target.overloadpacket.__name__ if operation else getattr(target, "__name__", ""))
    if not plain:
        return target
    if operation:
        packet = getattr(getattr(torch.ops, target.namespace), plain, None)
        found = getattr(packet, target._overloadname, None)
    else:
        found = getattr(torch, plain, None) or getattr(F, plain, None)
    if found is None:
        raise ValueError(f"{plain}_ works in place")
    return found
