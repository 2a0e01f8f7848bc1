"""Layers as `torch.nn` has them for those operators of torch that compute one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

aten = torch.ops.aten
TENSORS = ("weight", "bias", "running_mean", "running_var")
"""What operators and layers both call their tensors."""
CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
"""By the number of dimensions of the weight."""
BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
"""By the number of dimensions of the input."""
Arguments = Mapping[str, Any]


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """All arguments of an operator by their names, those that have their default too; none for another function."""
    schema = getattr(node.target, "_schema", None)
    given: dict[str, Any] = {}
    for i, argument in enumerate(schema.arguments if schema is not None else ()):
        given[argument.name] = (
            node.args[i] if i < len(node.args) else node.kwargs.get(argument.name, argument.default_value)
        )
    return given


def layer_for(target: Any, arguments: Arguments) -> nn.Module | None:
    """A layer that computes what the operator does, or None where there is none.

    `arguments` are the operator's, with numbers in place of the nodes that are called as in `TENSORS`, and
    `dimensions`, how many its input has. The layer shares those tensors.
    """
    build = BUILDERS.get(target)
    layer = build(arguments) if build is not None else None
    if layer is not None:
        for name in TENSORS:
            value = arguments.get(name)
            if value is not None:
                as_parameter = name in ("weight", "bias") and not isinstance(value, nn.Parameter)
                setattr(layer, name, nn.Parameter(value, requires_grad=False) if as_parameter else value)
    return layer


def _convolution(arguments: Arguments) -> nn.Module | None:
    weight: Tensor = arguments["weight"]
    if arguments.get("transposed") or weight.ndim not in CONVOLUTIONS:
        return None
    groups, kernel = arguments["groups"], tuple(weight.shape[2:])
    stride, dilation = (_each(arguments[name], len(kernel)) for name in ("stride", "dilation"))
    padding: Any = arguments["padding"]
    padding = in_pixels(padding, kernel, dilation) if isinstance(padding, str) else _each(padding, len(kernel))
    channels, bias = (weight.shape[1] * groups, weight.shape[0]), arguments["bias"] is not None
    kind: Any = CONVOLUTIONS[weight.ndim]
    return kind(*channels, kernel, stride, padding, dilation, groups, bias, device="meta")


def _each(value: Sequence[int], n: int) -> tuple[int, ...]:
    """A size for each of n dimensions."""
    return tuple(value) * (n if len(value) == 1 else 1)


def in_pixels(word: str, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> str | tuple[int, ...]:
    """A padding called `same` or `valid` in numbers, which int8 kernels need; the word where the sides differ."""
    total = [d * (k - 1) if word == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
    return word if any(size % 2 for size in total) else tuple(size // 2 for size in total)


def _linear(arguments: Arguments) -> nn.Module | None:
    weight: Tensor = arguments["weight"]
    if weight.ndim != 2:
        return None
    return nn.Linear(weight.shape[1], weight.shape[0], arguments["bias"] is not None, device="meta")


def _batch_norm(arguments: Arguments) -> nn.Module | None:
    mean, weight, bias = (arguments[name] for name in ("running_mean", "weight", "bias"))
    kind = BATCH_NORMS.get(arguments["dimensions"])
    if kind is None or mean is None or (weight is None) != (bias is None) or arguments.get("training"):
        return None
    norm = kind(len(mean), arguments["eps"], arguments["momentum"], affine=weight is not None, device="meta")
    norm.num_batches_tracked = torch.zeros((), dtype=torch.int64)
    return norm


BUILDERS: dict[Any, Callable[[Arguments], nn.Module | None]] = {
    aten.conv1d.default: _convolution,
    aten.conv1d.padding: _convolution,
    aten.conv2d.default: _convolution,
    aten.conv2d.padding: _convolution,
    aten.conv3d.default: _convolution,
    aten.conv3d.padding: _convolution,
    aten.convolution.default: _convolution,
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    aten._native_batch_norm_legit_no_training.default: _batch_norm,
}
