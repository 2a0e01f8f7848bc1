"""Layer by layer through a float model and its quantized copy at once, so that a layer can be mended knowing what it
will read: the inputs of both, up to where the copy is quantized already.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qexplorer.engine.simulation.calibrate import Batches
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.stages import Stages, Values
from qexplorer.engine.simulation.watching import watching_inputs


@dataclass(frozen=True)
class Visit:
    """A layer and its inputs, a tensor a batch: in the float model, and in the quantized one as it is so far."""

    name: str
    float_inputs: list[Tensor]
    inputs: list[Tensor]


def walk(model: Prepared, quantized: Prepared, batches: Batches) -> Iterator[Visit]:
    """Visit every layer in order. What the visitor changes in `quantized` at a layer, later layers read.

    A layer that is called several times is visited at its first call. A traced model is run through once; the batches
    lie in memory as far as they are alive. One that is not traced is run up to each layer anew.
    """
    return _staged(model, quantized, batches) if model.traced else _hooked(model, quantized, batches)


def _staged(model: Prepared, quantized: Prepared, batches: Batches) -> Iterator[Visit]:
    stages = Stages(model)
    runs: list[list[tuple[Values, int]]] = []
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
        pairs = [(_input(model, name, batch), _input(quantized, name, batch)) for batch in batches]
        seen = [(a, b) for a, b in pairs if a is not None and b is not None]
        if seen:  # a layer may be there without being used
            yield Visit(name, [a for a, _ in seen], [b for _, b in seen])


def _input(prepared: Prepared, name: str, batch: NDArray[np.float32]) -> Tensor | None:
    """What a layer reads first of all when a batch is run; None where the run does not come to it."""
    found: list[Tensor] = []

    def see(_: str, x: Tensor) -> None:
        found.append(x)
        raise _Seen

    layer = {name: prepared.layers[name]}
    with suppress(_Seen), watching_inputs(layer, see, first=True), torch.no_grad():
        prepared.module(torch.tensor(batch, device=prepared.device))
    return found[0] if found else None
