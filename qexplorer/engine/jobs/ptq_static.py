"""Static post-training quantization to int8: calibrated once, no training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.backends import ENGINES, choose_engine
from qexplorer.engine.datasets import Data
from qexplorer.engine.jobs import jobs, setting
from qexplorer.engine.jobs.model_job import BACKEND, Conversion, ModelJob
from qexplorer.progress import Steps, within

if TYPE_CHECKING:
    from torch import nn

PRESETS = tuple(preset.name for preset in BACKEND.presets)
BATCH = 32
"""Calibration samples a step."""


@jobs.register
@dataclass(frozen=True)
class PtqStatic(ModelJob):
    """Fuse, calibrate and convert a float model to int8 kernels, and compare size, accuracy and speed."""

    preset: str = setting("both", "Preset", "Which observers and scales", choices=("both", *PRESETS))
    engine: str = setting("auto", "Engine", "The int8 kernels; auto: the best supported", choices=("auto", *ENGINES))
    calibration: int = setting(320, "Calibration samples", "Training images, chosen by the seed", minimum=1, minor=True)

    name: ClassVar[str] = "ptq-static"
    title: ClassVar[str] = "PTQ static"
    help: ClassVar[str] = "Convert to int8 with calibrated activations; no training"
    order: ClassVar[int] = 10

    def int8_engine(self) -> str:
        return choose_engine(self.engine)

    def convert(self, module: "nn.Module", data: Data) -> Steps[Conversion]:
        names = PRESETS if self.preset == "both" else (self.preset,)
        batches = self._calibration(data)
        modules: dict[str, nn.Module] = {}
        specs: dict[str, Any] = {}
        layers: list[dict[str, Any]] = []
        for i, name in enumerate(names):
            steps = BACKEND().quantize(module, name, batches)
            made = yield from within(steps, i / len(names), (i + 1) / len(names))
            modules[name], specs[name] = made.module, made.spec
            layers += [{"row": name, **layer} for layer in made.layers]
        return Conversion(modules, {"presets": specs}, layers, sum(map(len, batches)), BACKEND.kind)

    def _calibration(self, data: Data) -> list[NDArray[np.float32]]:
        """Batches of the seed's choice of training images, each drawn once."""
        n = min(self.calibration, len(data.x_train))
        chosen = np.random.default_rng(self.seed).permutation(len(data.x_train))[:n]
        return [data.x_train[chosen[start : start + BATCH]] for start in range(0, n, BATCH)]
