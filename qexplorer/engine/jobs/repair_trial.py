"""What each repair does to one layer, before it is applied to all."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.model_job import Conversion, Workshop
from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, SPEC_HELP, WEIGHT_SPECS, SimulatedJob, require_spec
from qexplorer.engine.repair import parse_repairs, repairs
from qexplorer.errors import UserError
from qexplorer.progress import Steps, within
from qexplorer.settings import setting

CHOSEN, NEAREST = "as chosen", "rounding to nearest"


@jobs.register
@dataclass(frozen=True)
class RepairPreview(SimulatedJob):
    """Quantize one layer alone: rounded to nearest, with each repair by itself, and with those that are chosen."""

    weight_spec: str = setting("int4 channel:0", "Weight spec", SPEC_HELP, offers=WEIGHT_SPECS)
    activation_spec: str = setting("float", "Activation spec", "What the layer reads", offers=ACTIVATION_SPECS)
    layer: str = setting("", "Layer", "The layer's name; empty: the one whose weights are hurt most",
                         empty="the worst one")  # fmt: skip
    calibration: int = setting(128, "Calibration samples", "Training images, chosen by the seed", minimum=1, minor=True)

    name: ClassVar[str] = "repair"
    title: ClassVar[str] = "Repair preview"
    help: ClassVar[str] = "What each repair does to one layer's output"
    order: ClassVar[int] = 42

    def __post_init__(self) -> None:
        super().__post_init__()
        require_spec(self.weight_spec, "weight_spec")

    def convert(self, shop: Workshop) -> Steps[Conversion]:
        from qexplorer.engine.simulation.simulate import simulate

        prepared, plan = self.prepared(shop), self.plan(shop)
        layer = self.layer
        if not layer:
            made = yield from within(simulate(prepared, replace(plan, repairs=())), 0.0, 0.1)
            layer = min(made.layers, key=lambda each: _db(each["weight_sqnr_db"]))["name"]
        if layer not in prepared.layers:
            known = ", ".join(list(prepared.layers)[:3])
            raise UserError(f"No layer is called “{layer}”.", f"Layers are {known} …", field="layer")
        trials = {NEAREST: "fold", **{r.title: f"fold,{r.name}" for r in repairs if r.name != "fold"},
                  CHOSEN: self.repairs}  # fmt: skip
        rows: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for i, (title, text) in enumerate(trials.items()):
            part = (0.1 + 0.9 * i / len(trials), 0.1 + 0.9 * (i + 1) / len(trials))
            try:
                steps = simulate(prepared, replace(plan, repairs=parse_repairs(text), only=layer, always=True))
                made = yield from within(steps, *part)
            except UserError as error:
                notes.append({"repair": title, "note": f"{title}: {error.what}"})
                continue
            figure = next(each for each in made.layers if each["name"] == layer)
            rows.append({**figure, "name": title, "layer": layer})
        return Conversion((), {"layer": layer}, rows, sum(map(len, plan.batches)), findings={"repairs": notes})


def _db(value: float | str) -> float:
    return float(value)
