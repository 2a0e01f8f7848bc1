"""Layer by layer through a float model and its quantized copy at once, so that a layer can be mended knowing what it
will read: the inputs of both, up to where the copy is quantized already.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qexplorer.engine.simulation.calibrate import Batches
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.stages import Stages


@dataclass(frozen=True)
class Visit:
    """A layer and its inputs, a tensor a batch: in the float model, and in the quantized one as it is so far."""

    name: str
    float_inputs: list[Tensor]
    inputs: list[Tensor]


def walk(model: Prepared, quantized: Prepared, batches: Batches) -> Iterator[Visit]:
    """Visit every layer in order. What the visitor changes in `quantized` at a layer, later layers read.

    A traced model is run through once; the batches lie in memory as far as they are alive. One that is not traced is
    run up to each layer anew.
    """
    with torch.no_grad():
        yield from _staged(model, quantized, batches) if model.traced else _hooked(model, quantized, batches)


def _staged(model: Prepared, quantized: Prepared, batches: Batches) -> Iterator[Visit]:
    stages = Stages(model)
    runs: list[list[tuple[dict[str, Any], int]]] = []
    for batch in batches:
        x = torch.tensor(batch, device=model.device)
        runs.append([stages.begin(x), stages.begin(x)])
    for stage in stages.stages:
        with torch.no_grad():
            for run in runs:
                for i, prepared in enumerate((model, quantized)):
                    values, at = run[i]
                    run[i] = (stages.run(prepared.module, values, at, stage.at), stage.at)
        yield Visit(stage.layer, *([run[i][0][stage.source] for run in runs] for i in (0, 1)))


class _Seen(Exception):  # noqa: N818  no error: it ends a run that has gone far enough
    pass


def _hooked(model: Prepared, quantized: Prepared, batches: Batches) -> Iterator[Visit]:
    for name in model.layers:
        float_inputs, inputs = (_inputs(p, name, batches) for p in (model, quantized))
        if float_inputs and inputs:  # a layer may be there without being used
            yield Visit(name, float_inputs, inputs)


def _inputs(prepared: Prepared, name: str, batches: Batches) -> list[Tensor]:
    """What a layer reads first of all in each run."""
    found: list[Tensor] = []

    def look(layer: nn.Module, args: tuple[Any, ...]) -> None:
        del layer
        found.append(args[0])
        raise _Seen

    handle = prepared.layers[name].register_forward_pre_hook(look, prepend=True)
    try:
        for batch in batches:
            try:
                prepared.module(torch.tensor(batch, device=prepared.device))
            except _Seen:
                continue
    finally:
        handle.remove()
    return found
