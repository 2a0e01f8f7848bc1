"""Accuracy repair: steps that a PTQ job takes before, while and after it rounds weights. Each file here is one step."""

from qexplorer.engine.simulation.repair_step import Repair
from qexplorer.errors import UserError
from qexplorer.plugins import Registry

repairs = Registry[Repair]("repair")


def parse_repairs(text: str) -> tuple[Repair, ...]:
    """The steps named in `fold,mse_clip,adaround:500`, in the order in which they are taken."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        steps = [repairs.parse(word) for word in words]
    except UserError as error:
        raise UserError(error.what, error.remedy, field="repairs") from error
    for step in steps:
        if sum(type(other) is type(step) for other in steps) > 1:
            raise UserError(f"{step.title} is named twice.", field="repairs")
    for what in ("range", "codes"):
        choosers = [step.title for step in steps if step.chooses == what]
        if len(choosers) > 1:
            raise UserError(f"{' and '.join(choosers)} each choose the {what}.", "Keep one of them.", field="repairs")
    return tuple(sorted(steps, key=lambda step: step.order))


repairs.discover(__name__, list(__path__))
