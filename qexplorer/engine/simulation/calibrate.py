"""Calibration: the ranges of what layers read, found in one pass over the samples and in memory that does not grow."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.watching import watching_inputs
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.quant.observers.moving_average import MovingAverage
from qexplorer.quant.ranges import params_of_sketch
from qexplorer.quant.sketch_stream import SketchStream
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.warm import load_kernels

Batches = Sequence[NDArray[np.float32]]
WORTH_KERNELS = 1 << 26
"""So many values take NumPy longer to count than the kernels need to load."""
RAN = 0.8
"""Where running the samples ends, as a fraction of the whole."""


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
        self.stream.add(x.detach().to(torch.float32).cpu().numpy())

    def quantizer(self) -> FakeQuantize:
        return FakeQuantize(self.spec, params_of_sketch(self.stream.sketch(), self.spec))


class Folded:
    """Many scales, or an observer that depends on the order of batches: its own fold."""

    def __init__(self, spec: QuantSpec) -> None:
        self._quantizer = FakeQuantize(spec)

    def see(self, x: Tensor) -> None:
        by = self._quantizer.spec.granularity
        shape = tuple(x.shape)
        if by.per_channel and not by.refusal(shape) and by.tiling(shape).matrix.axis == 0:
            raise UserError("Axis 0 counts the samples, of which the next batch may have others.")
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
    many = spec.granularity.within_channels  # as many groups as there are rows: no fold
    if dynamic or many or not spec.format.scaled:
        return Dynamic(spec)
    plain = spec.granularity.shared and not spec.format.learns
    return Sketched(spec) if plain and not isinstance(spec.observer, MovingAverage) else Folded(spec)


def calibrate(prepared: Prepared, specs: dict[str, QuantSpec], batches: Batches, *, dynamic: bool = False,
              ) -> Steps[dict[str, FakeQuantize]]:  # fmt: skip
    """What quantizes the input of each layer named in `specs`, calibrated on `batches` [n, C, H, W] of the float model.

    A batch is forgotten as soon as it was seen. A layer that no sample goes through has no range, and is left out.
    Raises `UserError` where what a layer reads does not fit its spec, and where there are no samples.
    """
    watchers = {name: watcher(spec, dynamic=dynamic) for name, spec in specs.items()}
    seen: Counter[str] = Counter()

    def see(name: str, x: Tensor) -> None:
        _see(name, watchers[name], x)
        seen[name] += x.numel()

    idle = all(isinstance(each, Dynamic) for each in watchers.values())
    if not idle and not any(map(len, batches)):
        raise UserError("Ranges of activations are found from samples, and there are none.",
                        "Add calibration samples.", field="calibration")  # fmt: skip
    with watching_inputs({name: prepared.layers[name] for name in specs}, see):
        for i, batch in enumerate([] if idle else batches):
            yield Progress("Calibrating", i, len(batches), RAN * i / len(batches))
            with torch.no_grad():
                prepared.module(torch.tensor(batch, device=prepared.device))
            if i == 0 and len(batches) * seen.total() >= WORTH_KERNELS:
                yield from load_kernels()
    found: dict[str, FakeQuantize] = {}
    for i, (name, each) in enumerate(watchers.items()):
        yield Progress("Finding ranges", i, len(watchers), RAN + (1 - RAN) * i / len(watchers))
        if seen[name] or isinstance(each, Dynamic):
            found[name] = each.quantizer().to(prepared.device)
    return found


def _see(name: str, watcher: Watcher, x: Tensor) -> None:
    try:
        watcher.see(x)
    except UserError as error:
        what = f"What {name} reads, {list(x.shape)}, does not fit its spec: {error.what}"
        raise UserError(what, "Choose another granularity, or give this layer another spec in Overrides.",
                        field="activation_spec") from error  # fmt: skip
