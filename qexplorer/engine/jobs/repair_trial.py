"""What each repair does to one layer, before it is applied to all."""

from dataclasses import dataclass, replace
from typing import ClassVar

from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.model_job import calibration_setting
from qexplorer.engine.jobs.presentation import FollowUp, Presentation, presentation_of
from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, SPEC_HELP, WEIGHT_SPECS, SimulatedJob
from qexplorer.engine.jobs.weight_only import weight_only_after
from qexplorer.engine.repair import parse_repairs, repairs
from qexplorer.engine.runs.findings import Repaired, RepairStep
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.errors import UserError
from qexplorer.progress import Steps, within
from qexplorer.settings import setting

CHOSEN, NEAREST = "as chosen", "rounding to nearest"


@jobs.register
@dataclass(frozen=True)
class RepairPreview(SimulatedJob):
    """Quantize one layer alone: rounded to nearest, with each repair by itself, and with those that are chosen."""

    weight_spec: str = setting("int4 channel", "Weight spec", SPEC_HELP, offers=WEIGHT_SPECS)
    activation_spec: str = setting("float", "Activation spec", "What the layer reads", offers=ACTIVATION_SPECS)
    layer: str = setting("", "Layer", "The layer's name; empty: the one whose weights are hurt most",
                         empty="the worst one")  # fmt: skip
    calibration: int = calibration_setting(128)

    name: ClassVar[str] = "repair"
    title: ClassVar[str] = "Repair preview"
    help: ClassVar[str] = "What each repair does to one layer's output"
    order: ClassVar[int] = 42
    required: ClassVar[str] = "weight_spec"

    @classmethod
    def present(cls, result: RunResult) -> Presentation:
        shown, found = presentation_of(result, result.spec.layer), result.findings
        repaired = trials(str(result.settings["repairs"]))

        def with_repair(trial: str, job: Job) -> Job | None:
            if trial not in repaired:
                return None
            if not isinstance(job, SimulatedJob) or job.recipe().every.weights is None:
                return weight_only_after(result, repairs=repaired[trial])
            return replace(job, repairs=repaired[trial])

        use = FollowUp("use_repair", "Use this repair", "Put the selected repair into the Repairs of the next job",
                       with_repair, "with this repair")  # fmt: skip
        remarks = tuple(step.note for step in found.repairs) if isinstance(found, Repaired) else ()
        title = f"{cls.title} of {result.spec.layer}"
        return replace(shown, title=title, what="Repair", remarks=remarks, follow_up=use)

    def convert(self, context: JobContext) -> Steps[Conversion]:
        from qexplorer.engine.simulation.simulate import simulate

        prepared, plan = self.prepared(context), self.plan(context)
        layer = self.layer
        if not layer:
            made = yield from within(simulate(prepared, replace(plan, repairs=())), 0.0, 0.1)
            layer = min(made.layers, key=lambda each: each.weight_sqnr_db or 0.0).name
        if layer not in prepared.layers:
            known = ", ".join(list(prepared.layers)[:3])
            raise UserError(f"No layer is called “{layer}”.", f"Layers are {known} …", field="layer")
        tries = trials(self.repairs)
        tried: list[LayerFigures] = []
        notes: list[RepairStep] = []
        for i, (title, text) in enumerate(tries.items()):
            part = (0.1 + 0.9 * i / len(tries), 0.1 + 0.9 * (i + 1) / len(tries))
            try:
                steps = simulate(prepared, replace(plan, repairs=parse_repairs(text), only=layer, always=True))
                made = yield from within(steps, *part)
            except UserError as error:
                notes.append(RepairStep(title, note=f"{title}: {error.what}"))
                continue
            figures = next(each for each in made.layers if each.name == layer)
            tried.append(replace(figures, name=title, layer=layer))
        n = sum(map(len, plan.batches))
        return Conversion((), RunSpec(layer=layer), tuple(tried), n, findings=Repaired(tuple(notes)))


def trials(chosen: str) -> dict[str, str]:
    """What is tried: the title of each trial, and its repairs as a job takes them."""
    alone = {repair.title: f"fold,{repair.name}" for repair in repairs if repair.name != "fold"}
    return {NEAREST: "fold", **alone, CHOSEN: chosen}
