"""Clipping for the least mean squared error of a layer's output."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.simulation.repair_step import LayerTask, Repair
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.observers import extremes, zero_if_empty
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.spec import QuantSpec

if TYPE_CHECKING:
    from torch import Tensor

    from qexplorer.engine.fake_quant import FakeQuantize

SHARES = tuple(k / 100 for k in range(100, 29, -2))
"""The fractions of the min/max range that are tried."""


@repairs.register
@dataclass(frozen=True)
class MseClip(Repair):
    """Of some fractions of each min/max range the one with the least ‖W·x − Ŵ·x̂‖², x̂ what the quantized layer reads
    and x what its float twin does; one for each output channel where no two share a scale.

    The least ‖W − Ŵ‖², the observer `mse`, pulls the largest weights in on one side; layer after layer, outputs shrink
    with them. It is taken where a layer has seen no samples.
    """

    name: ClassVar[str] = "mse_clip"
    title: ClassVar[str] = "MSE clipping"
    help: ClassVar[str] = "Chooses each weight range for the least error of the layer's output"
    order: ClassVar[int] = 20
    offered: ClassVar[tuple[str, ...]] = ("fold,mse_clip",)
    needs_data: ClassVar[bool] = True
    chooses: ClassVar[str] = "range"

    def adapt(self, spec: QuantSpec) -> QuantSpec:
        if spec.applies("observer"):
            raise UserError(f"{spec.format.title} has no range that could be clipped.", "Leave MSE clipping out.",
                            field="repairs")  # fmt: skip
        return spec.adopt("observer", Mse())

    def choose(self, task: LayerTask) -> Steps[None]:
        import torch

        from qexplorer.engine.simulation.gram import gram, grouped
        from qexplorer.engine.simulation.layers import dequantized

        ranges, weights = _Ranges(task), grouped(task.layer, task.weight)
        yield Progress(f"Clipping {task.name}")
        seen = gram(task)
        wanted = weights @ seen.cross
        errors: list[Tensor] = []
        for k, share in enumerate(SHARES):
            yield Progress(f"Clipping {task.name}", k, len(SHARES))
            with torch.no_grad():
                trial = grouped(task.layer, dequantized(task.weight, ranges.quantizer(torch.tensor([share]))))
                errors.append(((trial @ seen.own - 2 * wanted) * trial).sum(dim=2).flatten())
        table = torch.stack(errors)
        least = (table if ranges.by_channel else table.sum(dim=1, keepdim=True)).argmin(dim=0)
        task.quantizer = ranges.quantizer(torch.tensor(SHARES)[least.cpu()])


class _Ranges:
    """The min/max ranges of a layer's weights, to be narrowed."""

    def __init__(self, task: LayerTask) -> None:
        self.spec, self._device = task.quantizer.spec, task.weight.device
        self._rows = self.spec.granularity.rows(task.weight.detach().cpu().float().numpy())
        self._ends = zero_if_empty(*extremes(self._rows))
        own = self.spec.granularity
        self.by_channel = own.separates_channels
        """Whether every output channel has scales of its own."""

    def quantizer(self, shares: "Tensor") -> "FakeQuantize":
        """With these fractions of the ranges: one for all, or one for each output channel."""
        from qexplorer.engine.fake_quant import FakeQuantize

        own = shares.numpy().repeat(len(self._rows) // len(shares))
        lo, hi = (end * own for end in self._ends)
        params = finish(self.spec.format.fit(self._rows, lo, hi, self.spec.choices))
        return FakeQuantize(self.spec, params).to(self._device)
