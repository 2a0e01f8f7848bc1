"""Calibration: the ranges of what layers read, found in one pass over the samples and in memory that does not grow."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.progress import Progress, Steps
from qexplorer.quant.analysis import params_of_sketch
from qexplorer.quant.granularity import PerGroup, PerTensor
from qexplorer.quant.observers.moving_average import MovingAverage
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.stream import SketchStream

Batches = Sequence[NDArray[np.float32]]


class Watcher(Protocol):
    """What sees the inputs of one layer and then knows their range."""

    def see(self, x: Tensor) -> None:
        """Take one more batch of inputs."""

    def quantizer(self) -> FakeQuantize:
        """What quantizes like inputs from now on."""
        ...


class Sketched:
    """One scale for all: values are counted by their upper bits, whatever the observer."""

    def __init__(self, spec: QuantSpec) -> None:
        self.spec, self.stream = spec, SketchStream()

    def see(self, x: Tensor) -> None:
        self.stream.add(x.detach().cpu().numpy())

    def quantizer(self) -> FakeQuantize:
        return FakeQuantize(self.spec, params_of_sketch(self.stream.sketch(), self.spec))


class Folded:
    """Many scales, or an observer that depends on the order of batches: its own fold."""

    def __init__(self, spec: QuantSpec) -> None:
        self._quantizer = FakeQuantize(spec)

    def see(self, x: Tensor) -> None:
        self._quantizer.observe(x)

    def quantizer(self) -> FakeQuantize:
        return self._quantizer.freeze()


class Dynamic:
    """Each input has parameters of its own: nothing is remembered."""

    def __init__(self, spec: QuantSpec) -> None:
        self.spec = spec

    def see(self, x: Tensor) -> None:
        pass

    def quantizer(self) -> FakeQuantize:
        return FakeQuantize(self.spec)


def watcher(spec: QuantSpec, *, dynamic: bool = False) -> Watcher:
    """What finds the range for a spec; one without a scale needs none."""
    if dynamic or not spec.format.scaled or isinstance(spec.granularity, PerGroup):  # as many groups as rows: no fold
        return Dynamic(spec)
    plain = isinstance(spec.granularity, PerTensor) and not spec.format.learns
    return Sketched(spec) if plain and not isinstance(spec.observer, MovingAverage) else Folded(spec)


def calibrate(prepared: Prepared, specs: dict[str, QuantSpec], batches: Batches, *, dynamic: bool = False,
              ) -> Steps[dict[str, FakeQuantize]]:  # fmt: skip
    """What quantizes the input of each layer named in `specs`, calibrated on `batches` [n, C, H, W] of the float model.

    A batch is forgotten as soon as it was seen.
    """
    watchers = {name: watcher(spec, dynamic=dynamic) for name, spec in specs.items()}
    handles = [prepared.layers[name].register_forward_pre_hook(_Look(each)) for name, each in watchers.items()]
    idle = all(isinstance(each, Dynamic) for each in watchers.values())
    try:
        for i, batch in enumerate([] if idle else batches):
            yield Progress("Calibrating", i, len(batches))
            with torch.inference_mode():
                prepared.module(torch.tensor(batch, device=prepared.device))
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, FakeQuantize] = {}
    for name, each in watchers.items():
        yield Progress("Finding ranges", len(found), len(watchers))
        found[name] = each.quantizer().to(prepared.device)
    return found


class _Look:
    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def __call__(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        del layer
        self._watcher.see(args[0])
