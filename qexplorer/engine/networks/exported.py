"""An exported program as a plain graph of modules, in which tools find its layers."""

from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.fx.graph import CodeGen

from qexplorer.engine.networks.aten_layers import BUILDERS, TENSORS, arguments_of, layer_for

aten = torch.ops.aten


def inputs_of(program: ExportedProgram) -> list[Any]:
    """What the program takes, as tensors without numbers; a size of theirs that is an `int` is fixed."""
    names = set(program.graph_signature.user_inputs)
    return [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]


def trains(program: ExportedProgram) -> bool:
    """Whether it computes as in training: drops values at random, or normalizes each batch by itself."""
    for node in program.graph.nodes:
        arguments = arguments_of(node)
        norm = arguments.get("running_mean") is not None and arguments.get("training")
        drops = arguments.get("dropout_p") or (arguments.get("p") and arguments.get("train"))
        if norm or drops:
            return True
    return False


def as_modules(program: ExportedProgram) -> fx.GraphModule:
    """A module in eval mode that computes what a program of one input and one output does.

    Convolutions, linear layers and batch norms become modules named after their parameters; every other operator
    stays. So does one whose tensors are computed, have names of their own or belong to several layers, and what shares
    the tensors of another.
    """
    root: nn.Module = program.module(check_guards=False)
    graph: fx.Graph = root.graph  # pyright: ignore[reportAssignmentType]
    for node in list(graph.nodes):
        if node.target in (aten.addmm.default, aten.mm.default):
            _as_linear(node)
        elif node.target is aten.sym_size.int:
            node.op, node.target = "call_method", "size"  # by which tools know that it is a whole number
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in BUILDERS:
            _replace(root, node)
    output = graph.output_node()
    output.args = (output.args[0][0] if isinstance(output.args[0], list | tuple) else output.args[0],)
    graph.set_codegen(CodeGen())
    for node in list(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    made = fx.GraphModule(root, graph)
    for name, _ in list(made.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        if name not in program.state_dict:  # a constant, which no file of weights has
            made.get_submodule(owner)._non_persistent_buffers_set.add(leaf)
    return made.eval()


def _as_linear(node: fx.Node) -> None:
    """Write x Wᵀ + b, into which a program may have been taken apart, as one operator again."""
    arguments = arguments_of(node)
    turned, rows, bias = arguments["mat2"], arguments.get("mat1"), arguments["self"]
    if rows is None:
        rows, bias = bias, None
    scaled = arguments.get("alpha", 1) != 1 or arguments.get("beta", 1) != 1
    if scaled or not _is_turned(turned) or (bias is not None and bias.op != "get_attr"):
        return
    node.target, node.args, node.kwargs = aten.linear.default, (rows, turned.args[0], bias), {}
    if not turned.users:
        node.graph.erase_node(turned)


def _is_turned(node: fx.Node) -> bool:
    """Whether it is the transpose of a matrix that is stored."""
    arguments = arguments_of(node)
    if node.target is aten.permute.default:
        turned = [size % 2 for size in arguments["dims"]] == [1, 0]
    else:
        turned = node.target is aten.t.default
    return turned and arguments["self"].op == "get_attr"


def _replace(root: nn.Module, node: fx.Node) -> None:
    """Put a layer in the place of an operator, where there is one that does the same."""
    arguments = arguments_of(node)
    nodes = {name: arguments[name] for name in TENSORS if arguments.get(name) is not None}
    paths = {name: str(tensor.target).rpartition(".") for name, tensor in nodes.items()}
    owners = {path[0] for path in paths.values()}
    usual = all(nodes[name].op == "get_attr" and path[2] == name for name, path in paths.items())
    results = _results(node)
    if len(owners) != 1 or not usual or results is None:
        return
    owner = owners.pop()
    before = root.get_submodule(owner)
    values = {name: getattr(before, name) for name in nodes}
    more = any(getattr(before, name, None) is not None for name in TENSORS if name not in values)
    dimensions = getattr(arguments["input"].meta.get("val"), "ndim", 0)  # 0 where the program does not say it
    layer = layer_for(node.target, {**arguments, **values, "dimensions": dimensions})
    if layer is None or more or type(before) not in (nn.Module, type(root)):  # they are another layer's
        return
    name = owner or node.name  # a program that is a single layer has no name for it
    if owner:
        for part in ("_parameters", "_buffers", "_modules"):  # what else goes by that name
            getattr(layer, part).update({k: v for k, v in getattr(before, part).items() if k not in values})
    root.set_submodule(name, layer)
    with node.graph.inserting_before(node):
        call = node.graph.call_module(name, (arguments["input"],))
    for result in results:
        call.meta = dict(result.meta)
        result.replace_all_uses_with(call)
    for old in dict.fromkeys([*node.users, node]):
        node.graph.erase_node(old)


def _results(node: fx.Node) -> list[fx.Node] | None:
    """The nodes that stand for a layer's output; None where more than that is used of what an operator returns."""
    if node.target is not aten._native_batch_norm_legit_no_training.default:
        return [node]
    used = [user for user in node.users if user.users]
    return used if all(user.args[1] == 0 for user in used) else None
