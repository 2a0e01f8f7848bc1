"""From the settings of a simulation to a row of the result."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qexplorer.engine.jobs.model_job import Conversion, Workshop
from qexplorer.engine.jobs.simulated_job import SimulatedJob, row_name
from qexplorer.engine.measuring.row import Made
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.runs.results import SIMULATED
from qexplorer.progress import Steps

if TYPE_CHECKING:
    from qexplorer.engine.simulation.simulate import Simulated

ON_DISK = "The file holds float32 stand-ins; packed it takes the theoretical size."


def simulated_row(job: SimulatedJob, shop: Workshop, *, dynamic: bool = False, name: str = "") -> Steps[Conversion]:
    """Quantize by the settings of a job: one row, SIMULATED."""
    from qexplorer.engine.simulation.simulate import simulate

    prepared = job.prepared(shop)
    plan = replace(job.plan(shop, dynamic=dynamic), always=prepared.traced)  # else it would run anew for each layer
    every = job.recipe().every
    name = name or row_name(every.weights, every.activations)
    made = yield from simulate(prepared, plan, shop.journal, name)
    spec: dict[str, Any] = {
        "layers": job.recipe().to_json(),
        "repairs": [step.text for step in parse_repairs(job.repairs)],
        "traced": prepared.traced,
        "folded": prepared.folded,
        "average_bits": made.average_bits,
    }
    row = simulated(name, made, shop, plan.note)
    layers = [{"row": name, **layer} for layer in made.layers]
    findings = {"repairs": made.repairs} if made.repairs else {}
    return Conversion((row,), spec, layers, plan.decided_by, findings=findings)


def simulated(name: str, made: "Simulated", shop: Workshop, *remarks: str) -> Made:
    """The row of a simulation; its note says what stays float, and what its file holds."""
    note = " ".join(filter(None, (made.float_model.note, *remarks, ON_DISK)))
    return Made(name, SIMULATED, str(shop.device), made.model.module, made.bytes_theoretical, note)
