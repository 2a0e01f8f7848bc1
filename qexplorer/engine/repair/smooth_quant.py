"""SmoothQuant: move outliers of activations into the weights that read them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.runs.findings import RepairStep
from qexplorer.engine.simulation.repair_step import Repair
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.settings import setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qexplorer.engine.simulation.calibrate import Batches
    from qexplorer.engine.simulation.prepared import Prepared

LEAST = 1e-5


@repairs.register
@dataclass(frozen=True)
class SmoothQuant(Repair):
    """Xiao et al. 2023: s = max|X|^α / max|W|^(1 − α) for each channel between a layer norm and the linear layers that
    read it; the norm's weight and bias are divided by s and the linear weights multiplied. Outputs stay.
    """

    alpha: float = setting(0.5, "Alpha", "How much of the outliers moves: 0 none of it, 1 all", minimum=0, maximum=1)
    name: ClassVar[str] = "smooth_quant"
    title: ClassVar[str] = "SmoothQuant"
    help: ClassVar[str] = "Moves outliers of activations behind a layer norm into the weights that read them"
    order: ClassVar[int] = 12
    offered: ClassVar[tuple[str, ...]] = ("fold,smooth_quant:0.5",)
    needs_data: ClassVar[bool] = True

    def transform_model(self, model: "Prepared", recipe: Any, batches: "Batches") -> Steps[list[RepairStep]]:
        import torch

        from qexplorer.engine.simulation.graph import norm_readers
        from qexplorer.engine.simulation.watching import watching_outputs

        del recipe
        found = list(norm_readers(model))
        if not found:
            return [RepairStep(self.name, note="Nothing to smooth: no layer norm is read by linear layers alone.")]
        if not any(map(len, batches)):
            raise UserError("SmoothQuant looks at activations, and there are no samples.", "Add calibration samples.",
                            field="calibration")  # fmt: skip
        peaks: dict[int, Tensor] = {}

        def see(i: int, _: "Tensor", y: "Tensor") -> None:
            own = y.detach().abs().reshape(-1, y.shape[-1]).amax(dim=0)
            peaks[i] = peaks[i].maximum(own) if i in peaks else own

        with watching_outputs(dict(enumerate(norm for norm, _ in found)), see):
            for i, batch in enumerate(batches):
                yield Progress("Looking for outliers", i, len(batches))
                with torch.no_grad():
                    model.module(torch.tensor(batch, device=model.device))
        done: list[RepairStep] = []
        for i, (norm, readers) in enumerate(found):
            largest = peaks[i]
            s = smooth(norm, [model.layers[name] for name in readers], largest, self.alpha)
            spread, after = _ratio(largest), _ratio(largest / s)
            done += [RepairStep(self.name, name, activation_spread=spread, activation_spread_after=after)
                     for name in readers]  # fmt: skip
        return done


def smooth(norm: "nn.LayerNorm", readers: "list[nn.Module]", largest: "Tensor", alpha: float) -> "Tensor":
    """Smooth the channels whose largest magnitudes are `largest` [C]; returns s [C]."""
    import torch

    weights: list[Any] = [reader.weight for reader in readers]
    with torch.no_grad():
        columns = torch.stack([w.abs().amax(dim=0) for w in weights]).amax(dim=0).clamp(min=LEAST)
        s = (largest.clamp(min=LEAST) ** alpha / columns ** (1 - alpha)).clamp(min=LEAST)
        norm.weight.div_(s)
        if norm.bias is not None:
            norm.bias.div_(s)
        for w in weights:
            w.mul_(s)
    return s


def _ratio(largest: "Tensor") -> float:
    return float(largest.max() / largest.median().clamp(min=1e-12))
