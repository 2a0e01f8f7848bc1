"""GPTQ: round column after column, and let the columns to come make up for the error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.simulation.repair_step import LayerTask, Repair
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.quant.spec import QuantSpec

if TYPE_CHECKING:
    from torch import Tensor

    from qexplorer.engine.simulation.gram import Gram
    from qexplorer.engine.simulation.grid import WeightGrid

DAMPING = 0.01
"""Of the mean of H's diagonal, added to it."""
BLOCK = 64
"""Columns between two steps. The columns after a block learn of its errors when it is done, all at once."""


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
    offered: ClassVar[tuple[str, ...]] = ("fold,mse_clip,gptq",)
    needs_data: ClassVar[bool] = True
    chooses: ClassVar[str] = "codes"

    def adapt(self, spec: QuantSpec) -> QuantSpec:
        if spec.rounding.by_place:
            raise UserError("GPTQ makes up for each error, so chance cannot decide how a weight is rounded.",
                            "Choose another rounding, or leave GPTQ out.", field="repairs")  # fmt: skip
        return spec

    def choose(self, task: LayerTask) -> Steps[None]:
        from qexplorer.engine.simulation.gram import gram, grouped
        from qexplorer.engine.simulation.grid import WeightGrid

        yield Progress(f"GPTQ {task.name}")
        products = gram(task)
        weights = wanted(grouped(task.layer, task.weight), products)
        grid = WeightGrid(task.weight, task.quantizer)
        chosen = yield from rounded(weights, products.own, grid, task.name)
        task.chosen = chosen.reshape(task.weight.shape).to(task.weight.dtype)


def wanted(weights: "Tensor", products: "Gram") -> "Tensor":
    """The weights V [g, out, K] with the least ‖W·x − V·x̂‖² + λ‖W − V‖², λ being the damping: what to round so that
    the outputs are the float layer's, though its inputs are others.
    """
    import torch

    own, damping = products.own, _damping(products.own)
    right = weights @ products.cross + damping[:, None] * weights
    return torch.linalg.solve(own + torch.diag_embed(damping), right, left=False)


def rounded(weights: "Tensor", products: "Tensor", grid: "WeightGrid", name: str = "") -> "Steps[Tensor]":
    """Weights [g, out, K] on the grid, for products of inputs [g, K, K], which must have an inverse, or `UserError`."""
    upper = _factor(products)
    rest, n = weights.clone(), weights.shape[2]
    for start in range(0, n, BLOCK):
        yield Progress(f"GPTQ {name}", start, n)
        _round_block(rest, upper, grid, start, min(start + BLOCK, n))
    return rest


def _round_block(rest: "Tensor", upper: "Tensor", grid: "WeightGrid", start: int, stop: int) -> None:
    """Put the columns `start` … `stop` − 1 of `rest` on the grid, and take their errors from those after them."""
    import torch

    with torch.no_grad():
        errors = torch.zeros_like(rest[:, :, start:stop])
        for k in range(start, stop):
            column = rest[:, :, k]
            chosen = grid.nearest(column.reshape(-1), k).reshape(column.shape)
            error = (column - chosen) / upper[:, k, k, None]
            rest[:, :, k:stop] -= error[:, :, None] * upper[:, None, k, k:stop]
            rest[:, :, k] = chosen
            errors[:, :, k - start] = error
        rest[:, :, stop:] -= errors @ upper[:, start:stop, stop:]


def _factor(products: "Tensor") -> "Tensor":
    """The upper Cholesky factor of the inverse of the damped products, [g, K, K]; inputs never seen count as one."""
    import torch

    damped = products + torch.diag_embed(_damping(products))
    lower, failed = torch.linalg.cholesky_ex(damped)
    upper, failed_again = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if failed.any() or failed_again.any() or not upper.isfinite().all():
        raise UserError("The products of the layer's inputs have no inverse.", "Take more samples.",
                        field="calibration")  # fmt: skip
    return upper


def _damping(products: "Tensor") -> "Tensor":
    """What is added to the diagonal, [g, K]."""
    import torch

    mean = products.diagonal(dim1=1, dim2=2).mean(dim=1, keepdim=True)
    return torch.where(mean > 0, DAMPING * mean, torch.ones_like(mean)).expand(products.shape[:2])
