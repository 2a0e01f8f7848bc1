"""Weights in any format, activations in float."""

from dataclasses import dataclass
from typing import Any, ClassVar

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.simulated_job import SimulatedJob, simulated_row
from qexplorer.engine.runs.results import RunResult
from qexplorer.progress import Steps

SHARED = ("model", "data", "weights", "weight_spec", "activation_spec")
"""What it takes over from another run."""


@jobs.register
@dataclass(frozen=True)
class WeightOnly(SimulatedJob):
    """Quantize the weights alone, layer by layer, and see what is left of the accuracy."""

    name: ClassVar[str] = "weight-only"
    title: ClassVar[str] = "Weight only"
    help: ClassVar[str] = "Quantize the weights alone, in any format"
    order: ClassVar[int] = 30
    trainable: ClassVar[bool] = True
    required: ClassVar[str] = "weight_spec"

    def convert(self, context: JobContext) -> Steps[Conversion]:
        return (yield from simulated_row(self, context))


def weight_only_after(result: RunResult, **settings: Any) -> WeightOnly:
    """The job with these settings on the model and the data of a run, with its specs. Raises `UserError`."""
    own = {name: result.settings[name] for name in SHARED if name in result.settings}
    return WeightOnly(**own, **settings)
