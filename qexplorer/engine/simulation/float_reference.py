"""The float model in the form in which it is timed: what int8 is compared with must not be slow for other reasons."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.runs.run_spec import FloatTiming
from qexplorer.progress import Progress, Steps

if TYPE_CHECKING:
    from torch import nn

TOLERANCE = 1e-4
"""How far outputs may differ, in units of the largest one, or of 1 where all are smaller."""
CHECKED = 64
"""The most images on which outputs are compared."""


@dataclass(frozen=True)
class Reference:
    """A module to time in place of the float model, a sentence that says so, and the form that it has."""

    module: "nn.Module"
    note: str
    timing: FloatTiming


def float_reference(module: "nn.Module", x: NDArray[np.float32]) -> Steps[Reference]:
    """A fused, channels-last copy of `module`, which is left as it is.

    An int8 graph is fused and channels-last too. Where the model cannot be fused, the copy is only channels-last; a
    copy whose outputs for the first images of `x` [N, C, H, W] are not the model's is not used.
    """
    import torch

    from qexplorer.engine.networks.channels_last import ChannelsLast
    from qexplorer.engine.simulation.prepared import prepare

    yield Progress("Preparing the float model for timing")
    prepared = prepare(module, torch.tensor(x[:2]))
    form = "fused, channels-last" if prepared.folded else "channels-last"
    fused = [(form, prepared.module)] if prepared.traced else []
    for form, own in (*fused, ("channels-last, not fused", copy.deepcopy(module))):
        candidate = ChannelsLast(own)
        difference = largest_difference(module, candidate, x[:CHECKED])
        if difference <= TOLERANCE:
            timing = FloatTiming(form, difference, len(x[:CHECKED]))
            return Reference(candidate, f"Timed as a {form} copy with the same outputs.", timing)
    return Reference(module, "Timed as given: no faster copy of it has the same outputs.", FloatTiming("as given"))


def largest_difference(module: "nn.Module", other: "nn.Module", x: NDArray[np.float32]) -> float:
    """max |a - b| / max(1, max |a|) of the outputs a and b of two modules; NaN where either has one."""
    import torch

    with torch.inference_mode():
        images = torch.tensor(x)
        a, b = module(images.clone()), other(images)  # a model may change its input
        return float((a - b).abs().max() / a.abs().max().clamp(min=1))
