"""Bias correction: put right the mean of a layer's output that quantization has shifted."""

from dataclasses import dataclass
from typing import Any, ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.simulation.repair_step import LayerTask, Repair
from qexplorer.progress import Progress, Steps


@repairs.register
@dataclass(frozen=True)
class BiasCorrection(Repair):
    """b ← b + E[W·x] − E[Ŵ·x̂], the means over the calibration samples (Nagel et al. 2019, section 4.2, empirical)."""

    name: ClassVar[str] = "bias_correction"
    title: ClassVar[str] = "Bias correction"
    help: ClassVar[str] = "Puts each channel's mean output back to that of the float model"
    order: ClassVar[int] = 40
    offered: ClassVar[tuple[str, ...]] = ("fold,mse_clip,bias_correction", "fold,cle,bias_correction")
    needs_data: ClassVar[bool] = True

    def after(self, task: LayerTask) -> Steps[None]:
        import torch
        from torch import nn

        from qexplorer.engine.simulation.layers import by_channel

        yield Progress(f"Bias correction {task.name}")
        layer: Any = task.layer
        outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        total = torch.zeros(outputs, device=task.weight.device)
        count = 0
        with torch.no_grad():
            for x, twin in zip(task.visit.inputs, task.visit.float_inputs, strict=True):
                # the layer's own hook quantizes x
                difference = by_channel(layer, (task.float_layer(twin) - layer(x)).float())
                total += difference.sum(dim=1)
                count += difference.shape[1]
            shift = (total / max(count, 1)).nan_to_num(0.0, 0.0, 0.0)  # of outputs that overflow there is no mean
            before = 0 if layer.bias is None else layer.bias.detach()
            layer.bias = nn.Parameter((before + shift).to(layer.weight.dtype), requires_grad=False)
        task.bias_shift = float(shift.abs().max())
