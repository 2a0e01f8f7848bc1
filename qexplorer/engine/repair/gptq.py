"""GPTQ: round column after column, and let the columns to come make up for the error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.repair import LayerTask, Repair, repairs
from qexplorer.progress import Progress, Steps

if TYPE_CHECKING:
    from torch import Tensor

    from qexplorer.engine.simulation.grid import WeightGrid

DAMPING = 0.01
"""Of the mean of H's diagonal, added to it."""
EVERY = 64
"""Columns between two steps."""


@repairs.register
@dataclass(frozen=True)
class Gptq(Repair):
    """Frantar et al. 2022, “GPTQ”: H = X·Xᵀ, U the upper Cholesky factor of H⁻¹; of each column k in turn the error
    (w − q)/U_kk times U_k,k… is taken from the columns from k on.
    """

    name: ClassVar[str] = "gptq"
    title: ClassVar[str] = "GPTQ"
    help: ClassVar[str] = "Rounds column by column; later columns make up for the error of earlier ones"
    order: ClassVar[int] = 30
    needs_data: ClassVar[bool] = True

    def choose(self, task: LayerTask) -> Steps[None]:
        from qexplorer.engine.simulation.gram import gram, grouped
        from qexplorer.engine.simulation.grid import WeightGrid

        yield Progress(f"GPTQ {task.name}")
        weights = grouped(task.layer, task.weight)
        grid = WeightGrid(task.weight, task.quantizer)
        chosen = yield from rounded(weights, gram(task).own, grid, task.name)
        task.chosen = chosen.reshape(task.weight.shape)


def rounded(weights: "Tensor", products: "Tensor", grid: "WeightGrid", name: str = "") -> "Steps[Tensor]":
    """Weights [g, out, K] on the grid, for products of inputs [g, K, K]."""
    import torch

    with torch.no_grad():
        upper = _factor(products)
        rest, result = weights.clone(), torch.empty_like(weights)
        n = weights.shape[2]
        for k in range(n):
            if k % EVERY == 0:
                yield Progress(f"GPTQ {name}", k, n)
            column = rest[:, :, k]
            result[:, :, k] = grid.nearest(column.reshape(-1), k).reshape(column.shape)
            error = (column - result[:, :, k]) / upper[:, k, k, None]
            rest[:, :, k:] -= error[:, :, None] * upper[:, None, k, k:]
    return result


def _factor(products: "Tensor") -> "Tensor":
    """The upper Cholesky factor of the inverse of the damped products, [g, K, K]; inputs never seen count as one."""
    import torch

    damped = products.clone()
    diagonal = damped.diagonal(dim1=1, dim2=2)
    mean = diagonal.mean(dim=1, keepdim=True)
    diagonal += torch.where(mean > 0, DAMPING * mean, torch.ones_like(mean))
    lower = torch.linalg.cholesky(damped)
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
