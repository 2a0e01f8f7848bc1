"""Repairs where kernels are real: those that only change the float model, which computes the same then."""

from typing import TYPE_CHECKING

from qexplorer.engine.jobs.job_context import JobContext
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.simulation.recipe import LayerSpec, Recipe
from qexplorer.engine.simulation.repair_step import Repair
from qexplorer.progress import Steps

if TYPE_CHECKING:
    from torch import nn

    from qexplorer.engine.simulation.calibrate import Batches


def transformed(text: str, context: JobContext, batches: "Batches") -> "Steps[nn.Module]":
    """The float model after those of the repairs `text`, batch norm folded; itself where there are none."""
    from qexplorer.engine.simulation.prepared import prepare

    steps = [step for step in parse_repairs(text) if _transforms_model(step)]
    if not steps:
        return context.module
    prepared = prepare(context.module, context.example)
    for step in steps:
        yield from step.transform_model(prepared, Recipe(LayerSpec()), batches)
    return prepared.module


def repair_note(text: str) -> str:
    """A sentence on the other repairs `text`; empty where there are none. Kernels have batch norm folded anyway."""
    others = [step.text for step in parse_repairs(text) if not _transforms_model(step) and step.name != "fold"]
    return f"Repairs that int8 kernels do not get: {', '.join(others)}." if others else ""


def _transforms_model(step: Repair) -> bool:
    return type(step).transform_model is not Repair.transform_model
