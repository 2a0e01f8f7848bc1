"""What a job works with, and what it makes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.datasets import Data
from qexplorer.engine.measuring.row import Measured, Test, Variant
from qexplorer.engine.runs.curve_points import CurvePoint
from qexplorer.engine.runs.findings import Findings
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from qexplorer.engine.simulation.prepared import Prepared

CALIBRATION_BATCH = 32


@dataclass(frozen=True)
class Conversion:
    """What a job made of a float module: models, what its settings resolved to, figures per layer, points of curves
    such as epochs, and what else it found.
    """

    variants: tuple[Variant, ...] = ()
    spec: RunSpec = field(default_factory=RunSpec)
    layers: tuple[LayerFigures, ...] = ()
    calibration_n: int = 0
    history: tuple[CurvePoint, ...] = ()
    findings: Findings | None = None


@dataclass(frozen=True)
class JobContext:
    """The float module, which is to be left as it is, on the CPU; the data; the float model's measurement; the device
    for simulations; where finished steps are entered.
    """

    module: "nn.Module"
    data: Data
    test: Test
    first: Measured
    device: "torch.device"
    journal: Journal
    seed: int

    @property
    def example(self) -> "torch.Tensor":
        """Two images, to try a module on."""
        import torch

        return torch.tensor(self.data.x_test[:2])

    def prepared(self, *, fold: bool) -> "Prepared":
        """The float model, made ready on the device, its norms folded or not. Raises `UserError` without any layer."""
        from qexplorer.engine.simulation.prepared import prepare

        prepared = prepare(self.module, self.example, fold=fold)
        if not prepared.layers:
            what = "The model has no layer that could be quantized."
            raise UserError(what, "Layers are convolutions and linear maps.", field="model")
        prepared.module.to(self.device)
        return prepared

    def batches(self, n: int, size: int = CALIBRATION_BATCH) -> list[NDArray[np.float32]]:
        """The seed's choice of `n` training images in batches, each image drawn once."""
        chosen = self.chosen(n)
        return [self.data.x_train[chosen[start : start + size]] for start in range(0, len(chosen), size)]

    def chosen(self, n: int) -> NDArray[np.int64]:
        """The places of the seed's choice of `n` training images."""
        total = len(self.data.x_train)
        return np.random.default_rng(self.seed).permutation(total)[: min(n, total)]
