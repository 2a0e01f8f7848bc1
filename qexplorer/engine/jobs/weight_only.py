"""Weights in any format, activations in float."""

from dataclasses import dataclass
from typing import ClassVar

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.model_job import Conversion, Workshop
from qexplorer.engine.jobs.simulated_job import SimulatedJob, require_spec
from qexplorer.engine.jobs.simulations import simulated_row
from qexplorer.progress import Steps


@jobs.register
@dataclass(frozen=True)
class WeightOnly(SimulatedJob):
    """Quantize the weights alone, layer by layer, and see what is left of the accuracy."""

    name: ClassVar[str] = "weight-only"
    title: ClassVar[str] = "Weight only"
    help: ClassVar[str] = "Quantize the weights alone, in any format"
    order: ClassVar[int] = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        require_spec(self.weight_spec, "weight_spec")

    def convert(self, shop: Workshop) -> Steps[Conversion]:
        return (yield from simulated_row(self, shop))
