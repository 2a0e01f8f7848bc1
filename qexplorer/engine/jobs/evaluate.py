"""The float model alone: its size, how often it is right, and how long it takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.datasets import Data
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.model_job import Conversion, ModelJob
from qexplorer.progress import Steps

if TYPE_CHECKING:
    from torch import nn


@jobs.register
@dataclass(frozen=True)
class Evaluate(ModelJob):
    """Measure a model as it is."""

    name: ClassVar[str] = "evaluate"
    title: ClassVar[str] = "Evaluate"
    help: ClassVar[str] = "Size, accuracy and latency of the float model"
    order: ClassVar[int] = 90

    def convert(self, module: "nn.Module", data: Data) -> Steps[Conversion]:
        yield from ()
        return Conversion()
