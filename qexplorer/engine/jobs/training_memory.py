"""What a step of training takes, with gradient checkpointing and without."""

import copy
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qexplorer.engine.runs.findings import Footprint, TrainingMemory
from qexplorer.engine.runs.journal import Journal
from qexplorer.numbers import size
from qexplorer.settings import read, write

if TYPE_CHECKING:
    from qexplorer.engine.qat.model import QatModel
    from qexplorer.engine.qat.train import Trainer

STEP = "qat/footprint"
"""Where the journal has it."""


def training_memory(trainer: "Trainer", journal: Journal) -> TrainingMemory | None:
    """What a step of training takes, by the journal if it is there; None where the model is not traced."""
    found = journal.get(STEP)
    if found is None and trainer.model.prepared.traced:
        found = write(_measured(trainer))
        journal.put(STEP, found)
    return None if found is None else read(TrainingMemory, found, "what a training step takes")


def _measured(trainer: "Trainer") -> TrainingMemory:
    """One step of training with gradient checkpointing and without."""
    import torch

    from qexplorer.engine.qat.memory import Checkpointed, formula, measured_peak

    model = trainer.model
    x = torch.tensor(trainer.train[0][: trainer.schedule.batch], device=model.device)
    places = places_of(model)
    found: dict[str, Footprint] = {}
    for name in ("off", "on"):
        prepared = replace(model.prepared, module=copy.deepcopy(model.module).train())
        forward = Checkpointed(prepared, places)
        run = forward if name == "on" else prepared.module

        def step(run: Any = run) -> None:
            run(x).square().mean().backward()

        step()  # gradients are there from the second step on
        began = time.perf_counter()
        step()
        seconds = time.perf_counter() - began
        cuts = forward.cuts if name == "on" else None
        found[name] = Footprint(measured_peak(step), seconds, formula(prepared, x, cuts))
    return TrainingMemory(len(x), **found)


def places_of(model: "QatModel") -> list[int]:
    """Where the layers stand in the graph."""
    from qexplorer.engine.simulation.stages import Stages

    stages = Stages(model.prepared)
    return [i for i, node in enumerate(stages.nodes) if node.op == "call_module" and str(node.target) in model.layers]


def memory_remark(memory: TrainingMemory) -> str:
    """What is to be said of it."""
    off, on = memory.off, memory.on
    return (
        f"A training step of {memory.batch} images holds {size(off.measured_bytes)} of activations (by "
        f"formula {size(off.formula_bytes)}); with gradient checkpointing {size(on.measured_bytes)} "
        f"({size(on.formula_bytes)}), and takes {on.seconds / off.seconds:.2f} times as long."
    )
