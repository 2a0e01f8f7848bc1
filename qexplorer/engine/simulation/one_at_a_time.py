"""What each layer alone does to the outputs: one quantized and the others float, or one float and the others quantized.

Up to the layer in question a run is the same as without it. So a traced model runs each batch once, and from every
layer on once more with that layer swapped: on average half of what running the whole model for every layer costs. The
same operations see the same inputs in the same shapes, so the outputs are those of the whole runs, bit for bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from qexplorer.engine.simulation.calibrate import Batches
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.stages import Stages
from qexplorer.progress import Progress, Steps

LEAST = 1e-30


def outputs_with_swaps(
    base: Prepared, other: Prepared, x: Tensor, layers: Sequence[str]
) -> Iterator[tuple[str, Tensor]]:
    """For each of `layers` in the order in which they run: its name, and the outputs of `base` for a batch `x` with
    that layer taken from `other`, a copy of `base` quantized otherwise.
    """
    if base.traced:
        yield from _staged(base, other, x, set(layers))
        return
    for name in layers:
        with swapped(base, other, name), torch.no_grad():
            outputs = base.module(x.clone())  # it may work in place
        yield name, outputs


def _staged(base: Prepared, other: Prepared, x: Tensor, layers: set[str]) -> Iterator[tuple[str, Tensor]]:
    stages = Stages(base)
    values, at = stages.begin(x)
    for stage in stages.stages:
        if stage.layer in layers:
            with torch.no_grad():
                values, at = stages.run(base.module, values, at, stage.at), stage.at
                outputs = stages.finish(base.module, values, at, (stage.layer, other.module))
            yield stage.layer, outputs


def output_errors(base: Prepared, other: Prepared, layers: Sequence[str], batches: Batches) -> Steps[dict[str, float]]:
    """For each layer the energy of the error that it alone, taken from `other`, makes in the outputs of `base`, as a
    share of the outputs' energy.
    """
    errors, signal = dict.fromkeys(layers, 0.0), 0.0
    for i, batch in enumerate(batches):
        x = torch.tensor(batch, device=base.device)
        with torch.no_grad():
            expected = base.module(x.clone())
        signal += float(expected.square().sum())
        for name, outputs in outputs_with_swaps(base, other, x, layers):
            yield Progress("Swapping layers", i, len(batches))
            errors[name] += float((outputs - expected).square().sum())
    return {name: error / max(signal, LEAST) for name, error in errors.items()}


@contextmanager
def swapped(base: Prepared, other: Prepared, name: str) -> Iterator[None]:
    """`base` with a layer of `other`, for a while."""
    base.module.set_submodule(name, other.layers[name])
    try:
        yield
    finally:
        base.module.set_submodule(name, base.layers[name])
