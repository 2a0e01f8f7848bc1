"""AdaRound: learn which weights to round up and which down."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.simulation.repair_step import LayerTask, Repair
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from qexplorer.engine.simulation.gram import Gram
    from qexplorer.engine.simulation.grid import WeightGrid

GAMMA, ZETA = -0.1, 1.1
"""The sigmoid is stretched to γ … ζ and then clipped to 0 … 1."""
BETA = (20.0, 2.0)
"""The exponent of the regularizer, at first and at last."""
WARM_UP = 0.1
"""The share of the steps without regularizer."""
WEIGHT = 0.3
"""λ, for errors in units of a step. With a tenth of it h hardly leaves the weight itself, and is cut off at the end."""
RATE = 0.05
EVERY = 20
"""Optimizer steps between two steps of work."""


@repairs.register
@dataclass(frozen=True)
class AdaRound(Repair):
    """Nagel et al. 2020, “Up or Down?”: Ŵ = s·clip(⌊W/s⌋ + h(V), n, p) with h a stretched sigmoid; V minimizes the
    squared error of the layer's output plus λ·Σ(1 − |2h − 1|^β), which drives h to 0 or 1.

    The output is that before the activation function, so that the error depends on two matrices of products of
    inputs alone, and a step costs the same for any number of samples. Where the float inputs differ from those of the
    quantized model, the output of the float ones is aimed at.
    """

    iterations: int = setting(500, "Iterations", "Optimizer steps for each layer", minimum=1, maximum=100_000)
    name: ClassVar[str] = "adaround"
    title: ClassVar[str] = "AdaRound"
    help: ClassVar[str] = "Learns for each weight whether to round up or down, by the error of the layer's output"
    order: ClassVar[int] = 32
    offered: ClassVar[tuple[str, ...]] = ("fold,mse_clip,adaround:500",)
    needs_data: ClassVar[bool] = True
    chooses: ClassVar[str] = "codes"

    def adapt(self, spec: QuantSpec) -> QuantSpec:
        if not spec.format.uniform:
            raise UserError(f"AdaRound rounds to whole numbers; {spec.format.title} {spec.format.kind}.",
                            "Choose GPTQ, or an integer format.", field="repairs")  # fmt: skip
        return spec

    def choose(self, task: LayerTask) -> Steps[None]:
        from qexplorer.engine.simulation.gram import gram, grouped
        from qexplorer.engine.simulation.grid import WeightGrid

        yield Progress(f"AdaRound {task.name}")
        grid = WeightGrid(task.weight, task.quantizer)
        weights = grouped(task.layer, task.weight)
        chosen = yield from rounded(weights, gram(task), grid, self.iterations, task.name)
        task.chosen = chosen.reshape(task.weight.shape).to(task.weight.dtype)


def rounded(
    weights: "Tensor", products: "Gram", grid: "WeightGrid", iterations: int, name: str = ""
) -> "Steps[Tensor]":
    """Weights [g, out, K] on the grid; see `Gram` for the products.

    The error of each output channel is counted in units of that of a whole step of its weights, so that channels of
    all scales are pulled alike.
    """
    import torch

    with torch.no_grad():
        scale, low, high, offset = (part.reshape(weights.shape) for part in grid.whole())
        quotient = (weights - offset) * (1 / scale)
        floor = quotient.floor()
        aim = weights @ products.cross
        power = products.own.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-12)
        unit = scale.square().mean(dim=2, keepdim=True) * power[:, None, None]
        rest = ((quotient - floor) - GAMMA) / (ZETA - GAMMA)
        logits = torch.logit(rest.clamp(1e-4, 1 - 1e-4))
    v = logits.requires_grad_()
    optimizer = torch.optim.Adam([v], lr=RATE)
    for i in range(iterations):
        if i % EVERY == 0:
            yield Progress(f"AdaRound {name}", i, iterations)
        with torch.no_grad():
            h, slope = _soft(v)
            soft = (floor + h).clamp(low, high)
            free = ((floor + h) >= low) & ((floor + h) <= high)
            error = (soft * scale + offset) @ products.own - aim
            gradient = 2 * error * scale * free / unit
            v.grad = (gradient + _pull(h, i / iterations)) * slope
        optimizer.step()
    with torch.no_grad():
        h, _ = _soft(v)
        return (floor + (h >= 0.5)).clamp(low, high) * scale + offset


def _soft(v: "Tensor") -> "tuple[Tensor, Tensor]":
    """h(V) and its derivative."""
    import torch

    s = torch.sigmoid(v)
    stretched = s * (ZETA - GAMMA) + GAMMA
    inside = (stretched > 0) & (stretched < 1)
    return stretched.clamp(0, 1), s * (1 - s) * (ZETA - GAMMA) * inside


def _pull(h: "Tensor", done: float) -> "Tensor | float":
    """The derivative of λ·Σ(1 − |2h − 1|^β) in h, at this share of the steps."""
    if done < WARM_UP:
        return 0.0
    share = (done - WARM_UP) / (1 - WARM_UP)
    beta = BETA[1] + (BETA[0] - BETA[1]) * (1 + math.cos(share * math.pi)) / 2
    centred = 2 * h - 1
    return -WEIGHT * 2 * beta * centred.abs().pow(beta - 1) * centred.sign()
