"""The float model alone: its size, how often it is right, and how long it takes."""

from dataclasses import dataclass
from typing import ClassVar

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.model_job import ModelJob
from qexplorer.progress import Steps


@jobs.register
@dataclass(frozen=True)
class Evaluate(ModelJob):
    """Measure a model as it is."""

    name: ClassVar[str] = "evaluate"
    title: ClassVar[str] = "Evaluate"
    help: ClassVar[str] = "Size, accuracy and latency of the float model"
    order: ClassVar[int] = 90

    def convert(self, context: JobContext) -> Steps[Conversion]:
        del context
        yield from ()
        return Conversion()
