"""What a layer's output error depends on: the products of its inputs, summed over samples and places."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.simulation.layers import kind_of
from qexplorer.engine.simulation.repair_step import LayerTask
from qexplorer.errors import UserError
from qexplorer.quant.layer_kinds import TRANSPOSED

MOST_PLACES = 4096
"""Places of a batch that are looked at: of more, so many drawn by chance, for every n-th would favour some columns."""
CONVOLUTIONS = nn.Conv1d | nn.Conv2d | nn.Conv3d


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
    """The products for a task. Raises `UserError` where there are no samples."""
    own = cross = None
    places = 0
    for x, twin in zip(task.inputs, task.visit.float_inputs, strict=True):
        a, b = columns(task.layer, x), columns(task.float_layer, twin)
        places += a.shape[2]
        own = a @ a.mT if own is None else own + a @ a.mT
        cross = b @ a.mT if cross is None else cross + b @ a.mT
    if own is None or cross is None or not places:
        raise UserError(f"{task.name} has seen no samples.", "Add calibration samples.", field="calibration")
    return Gram(own / places, cross / places)


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """What each output place of a layer is computed from: inputs → [g, K, P], always the same places. Raises
    `UserError` for a transposed convolution, whose places differ in what they are computed from.
    """
    if kind_of(layer) is TRANSPOSED:
        raise UserError("It is not made for transposed convolutions.", "Leave it out.", field="repairs")
    x = x.to(torch.float32)
    if not isinstance(layer, CONVOLUTIONS):
        rows = x.reshape(-1, x.shape[-1])
        return rows[_chosen(len(rows))].T[None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, _padding(layer), mode=mode)
    dims = len(layer.kernel_size)
    for i, (size, step, gap) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)):
        x = x.unfold(2 + i, gap * (size - 1) + 1, step)[..., ::gap]
    x = x.movedim(1, 1 + dims)  # [N, places, C, kernel]
    shape = x.shape[: 1 + dims]
    places = torch.unravel_index(_chosen(math.prod(shape)), shape)
    patches = x[places]
    wide = math.prod(patches.shape[1:]) // layer.groups
    return patches.reshape(len(patches), layer.groups, wide).permute(1, 2, 0)


def grouped(layer: nn.Module, weight: Tensor) -> Tensor:
    """Weights [out, …] as [g, out/g, K] float32."""
    groups = int(getattr(layer, "groups", 1))
    return weight.to(torch.float32).reshape(groups, len(weight) // groups, -1)


def _chosen(places: int) -> Tensor:
    if places <= MOST_PLACES:
        return torch.arange(places)
    chance = torch.Generator().manual_seed(0)
    return torch.randperm(places, generator=chance)[:MOST_PLACES].sort().values


def _padding(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[int]:
    """As `F.pad` takes it: the last axis first."""
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
    elif layer.padding == "valid":
        pairs = []
    else:
        pairs = [(int(p), int(p)) for p in layer.padding]
    return [side for pair in reversed(pairs) for side in pair]
