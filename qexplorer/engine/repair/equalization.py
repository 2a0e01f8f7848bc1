"""Cross-layer equalization: let neighbouring layers have channel ranges that are alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.runs.findings import RepairStep
from qexplorer.engine.simulation.repair_step import Repair
from qexplorer.progress import Progress, Steps

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qexplorer.engine.simulation.calibrate import Batches
    from qexplorer.engine.simulation.prepared import Prepared

ROUNDS = 20
SETTLED = 1e-3
"""The rounds end when no scale differs from 1 by more."""


@repairs.register
@dataclass(frozen=True)
class CrossLayerEqualization(Repair):
    """Nagel et al. 2019, section 4.1: for layers W1, ReLU, W2 and the ranges r1, r2 of the channel between them,
    s = √(r1·r2)/r2; W1 and b1 are divided by s and W2 is multiplied by it. ReLU lets it pass, so outputs stay.
    """

    name: ClassVar[str] = "cle"
    title: ClassVar[str] = "Cross-layer equalization"
    help: ClassVar[str] = "Makes channel ranges of neighbouring layers alike; the float model computes the same"
    order: ClassVar[int] = 10

    def transform_model(self, model: "Prepared", recipe: Any, batches: "Batches") -> Steps[list[RepairStep]]:
        from qexplorer.engine.simulation.graph import pairs

        del recipe, batches
        found = list(pairs(model))
        spread = {p.first: _spread(model.layers[p.first]) for p in found}
        for done in range(ROUNDS):
            yield Progress("Equalizing", done, ROUNDS)
            farthest = max((equalize(model.layers[p.first], model.layers[p.second]) for p in found), default=0.0)
            if farthest < SETTLED:
                break
        if not found:
            why = "no layer alone reads another's output" if model.traced else "the model does not trace"
            return [RepairStep(self.name, note=f"Nothing to equalize: {why}.")]
        return [
            RepairStep(self.name, p.first, p.second, spread[p.first], _spread(model.layers[p.first])) for p in found
        ]


def equalize(first: "nn.Module", second: "nn.Module") -> float:
    """Equalize one pair; how far the scales were from 1."""
    import torch

    one: Any = first.weight
    two: Any = second.weight
    groups = int(getattr(second, "groups", 1))
    with torch.no_grad():
        r1, r2 = _ranges(one), _split(two, groups).abs().amax(dim=(1, 3)).flatten()
        s = torch.where((r1 > 0) & (r2 > 0), torch.sqrt(r1 * r2) / r2, torch.ones_like(r1))
        one.div_(s.reshape(-1, *[1] * (one.ndim - 1)))
        if first.bias is not None:
            first.bias.div_(s)  # pyright: ignore[reportCallIssue]
        two.copy_((_split(two, groups) * s.reshape(groups, 1, -1, 1)).reshape(two.shape))
    return float((s - 1).abs().max())


def _ranges(weight: "Tensor") -> "Tensor":
    """The largest magnitude of each output channel, [out]."""
    return weight.detach().flatten(1).abs().amax(dim=1)


def _split(weight: "Tensor", groups: int) -> "Tensor":
    """Weights by the input channels of each group: [out, in/g, …] as [g, out/g, in/g, the rest]."""
    return weight.detach().reshape(groups, len(weight) // groups, weight.shape[1], -1)


def _spread(layer: "nn.Module") -> float:
    """The greatest channel range over the median one."""
    weight: Any = layer.weight
    ranges = _ranges(weight)
    return float(ranges.max() / ranges.median().clamp(min=1e-12))
