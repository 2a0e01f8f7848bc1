"""From the settings of a simulation to a row of the result."""

from dataclasses import replace
from typing import TYPE_CHECKING

from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.simulated_job import SimulatedJob, row_name
from qexplorer.engine.measuring.row import Variant
from qexplorer.engine.runs.findings import Repaired
from qexplorer.engine.runs.results import SIMULATED
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.progress import Steps

if TYPE_CHECKING:
    from qexplorer.engine.simulation.simulate import Simulated

ON_DISK = "The file holds float32 stand-ins; packed it takes the theoretical size."


def simulated_row(
    job: SimulatedJob, context: JobContext, *, dynamic: bool = False, name: str = ""
) -> Steps[Conversion]:
    """Quantize by the settings of a job: one row, SIMULATED."""
    from qexplorer.engine.simulation.simulate import simulate

    prepared = job.prepared(context)
    plan = replace(job.plan(context, dynamic=dynamic), always=prepared.traced)  # else it would run anew for each layer
    every = job.recipe().every
    name = name or row_name(every.weights, every.activations)
    made = yield from simulate(prepared, plan, context.journal, name)
    spec = RunSpec(
        layers=job.recipe().to_json(),
        traced=prepared.traced,
        folded=prepared.folded,
        average_bits=made.average_bits,
    )
    row = simulated(name, made, context, plan.note)
    layers = tuple(replace(layer, row=name) for layer in made.layers)
    findings = Repaired(made.repairs) if made.repairs else None
    return Conversion((row,), spec, layers, plan.decided_by, findings=findings)


def simulated(name: str, made: "Simulated", context: JobContext, *remarks: str) -> Variant:
    """The row of a simulation; its note says what stays float, and what its file holds."""
    note = " ".join(filter(None, (made.float_model.note, *remarks, ON_DISK)))
    return Variant(name, SIMULATED, str(context.device), made.model.module, made.bytes_theoretical, note)
