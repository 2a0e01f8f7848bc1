"""What a layer's output error depends on: the products of its inputs, summed over samples and places."""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.repair import LayerTask
from qexplorer.errors import UserError

MOST_PLACES = 4096
"""Places of a batch that are looked at: of more, every n-th."""


@dataclass(frozen=True)
class Gram:
    """With X [g, K, P] what the layer reads and X' what its float twin reads, at P places of g groups of channels:
    `own` = X·Xᵀ / P and `cross` = X'·Xᵀ / P, both [g, K, K].

    Of weights W [g, out/g, K] and their stand-ins Ŵ the mean squared error of the output, summed over channels, is
    tr(Ŵ·own·Ŵᵀ) − 2·tr(W·cross·Ŵᵀ) + what does not depend on Ŵ.
    """

    own: Tensor
    cross: Tensor


def gram(task: LayerTask) -> Gram:
    """The products for a task. Raises `UserError` for a layer whose inputs are no images, sequences or vectors."""
    own = cross = None
    places = 0
    for x, twin in zip(task.inputs, task.visit.float_inputs, strict=True):
        a, b = columns(task.layer, x), columns(task.float_layer, twin)
        step = math.ceil(a.shape[2] / MOST_PLACES)
        a, b = a[:, :, ::step], b[:, :, ::step]
        places += a.shape[2]
        own = a @ a.mT if own is None else own + a @ a.mT
        cross = b @ a.mT if cross is None else cross + b @ a.mT
    if own is None or cross is None:
        raise UserError(f"{task.name} has seen no samples.", "Take calibration samples.", field="calibration")
    return Gram(own / places, cross / places)


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """What each output place of a layer is computed from: inputs → [g, K, P]."""
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1]).T[None]
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        flat = isinstance(layer, nn.Conv1d)
        x = x[:, :, None] if flat else x
        size, stride, dilation = ((1, *t) if flat else t for t in (layer.kernel_size, layer.stride, layer.dilation))
        if isinstance(layer, nn.Conv1d):
            stride, dilation = (1, layer.stride[0]), (1, layer.dilation[0])
        padding = _padding(layer, flat=flat)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        patches = F.unfold(F.pad(x, padding, mode=mode), size, dilation, 0, stride)  # [N, C·k, L]
        n, wide, places = patches.shape
        parts = patches.reshape(n, layer.groups, wide // layer.groups, places)
        return parts.permute(1, 2, 0, 3).reshape(layer.groups, wide // layer.groups, n * places)
    raise UserError(f"{type(layer).__name__} is no layer whose rounding can be chosen by its inputs.", field="repairs")


def grouped(layer: nn.Module, weight: Tensor) -> Tensor:
    """Weights [out, …] as [g, out/g, K]."""
    groups = int(getattr(layer, "groups", 1))
    return weight.reshape(groups, len(weight) // groups, -1)


def _padding(layer: nn.Conv1d | nn.Conv2d, *, flat: bool) -> list[int]:
    """As `F.pad` takes it: the last axis first."""
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
    else:
        pairs = [(0, 0) if isinstance(p, str) else (p, p) for p in layer.padding]
    pairs = [(0, 0), *pairs] if flat and len(pairs) == 1 else pairs
    return [side for pair in reversed(pairs) for side in pair]
