"""Which layer hurts: each layer quantized alone, and each kept in float while all others are quantized."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.presentation import Presentation, presentation_of
from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, SPEC_HELP, WEIGHT_SPECS, SimulatedJob, simulated
from qexplorer.engine.measuring.evaluate import wilson_interval
from qexplorer.engine.runs.findings import Swaps
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.settings import Choice, setting

if TYPE_CHECKING:
    from qexplorer.engine.simulation.simulate import Simulated

BATCH = 64
LOCAL_SAMPLES = 256
"""So many test samples are looked at for the errors of single layers' outputs."""
BUILT, LOCAL = 0.1, 0.15
WHOLE_RUNS = "Every layer took a whole run of the model."
Tally = dict[str, NDArray[Any]]


@jobs.register
@dataclass(frozen=True)
class Sensitivity(SimulatedJob):
    """Rank the layers by what their quantization does: to their own output, to the model's output, to accuracy.

    Weights alone, activations alone or both, as the specs say.
    """

    weight_spec: str = setting("int4 channel", "Weight spec", f"{SPEC_HELP}; “float”: activations alone",
                               offers=WEIGHT_SPECS)  # fmt: skip
    activation_spec: str = setting("float", "Activation spec", "What each layer reads; “float”: weights alone",
                                   offers=ACTIVATION_SPECS)  # fmt: skip
    modes: str = setting("alone", "Layers", "One quantized; all but one quantized; or both",
                         choices=(Choice("alone", "Each alone"), Choice("rest", "All but one"),
                                  Choice("both", "Both")))  # fmt: skip

    name: ClassVar[str] = "sensitivity"
    title: ClassVar[str] = "Sensitivity"
    help: ClassVar[str] = "Rank the layers by what quantizing each alone does to accuracy"
    order: ClassVar[int] = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        every = self.recipe().every
        if every.weights is None and every.activations is None:
            raise UserError("Nothing would be quantized.", f"Choose {SPEC_HELP}.", field="weight_spec")

    @classmethod
    def present(cls, result: RunResult) -> Presentation:
        return presentation_of(result, "layer")

    def convert(self, context: JobContext) -> Steps[Conversion]:
        from qexplorer.engine.simulation.simulate import simulate

        prepared, plan = self.prepared(context), self.plan(context)
        name = self.row_name
        made = yield from within(simulate(prepared, plan, context.journal, name), 0.0, BUILT)
        local = yield from within(self._local(made, context), BUILT, LOCAL)
        kinds = ("alone", "rest") if self.modes == "both" else (self.modes,)
        tallies: dict[str, Tally] = {}
        for i, kind in enumerate(kinds):
            part = (1 - LOCAL) / len(kinds)
            steps = self._swaps(made, context, kind)
            tallies[kind] = yield from within(steps, LOCAL + i * part, LOCAL + (i + 1) * part)
        layers = _figures(made, local, tallies, context)
        row = simulated(name, made, context, plan.note, "" if prepared.traced else WHOLE_RUNS)
        spec = RunSpec(layers=self.recipe().texts, traced=prepared.traced, average_bits=made.average_bits)
        findings = Swaps(min(LOCAL_SAMPLES, len(context.test[0])), kinds[0])
        return Conversion((row,), spec, layers, plan.decided_by, findings=findings)

    def _local(self, made: "Simulated", context: JobContext) -> Steps[dict[str, Any]]:
        """Per layer, energy of its output, and of its error with float and with quantized inputs."""
        import torch

        from qexplorer.engine.simulation.walk import walk

        sums: dict[str, Any] = {}
        images = context.test[0][:LOCAL_SAMPLES]
        for start in range(0, len(images), BATCH):
            for visit in walk(made.float_model, made.model, [images[start : start + BATCH]]):
                yield Progress("Layer by layer", start, len(images))
                with torch.no_grad():
                    y = made.float_model.layers[visit.name](visit.float_inputs[0])
                    layer = made.model.layers[visit.name]
                    errors = [(y - layer(x)).square().sum() for x in (visit.float_inputs[0], visit.inputs[0])]
                    found = np.array([float(y.square().sum()), *map(float, errors)])
                sums[visit.name] = sums.get(visit.name, 0) + found
        return sums

    def _swaps(self, made: "Simulated", context: JobContext, kind: str) -> Steps[Tally]:
        """Predictions [L, n] with each layer swapped, and the energy of outputs and of their errors [2, L]."""
        images = context.test[0]
        parts: list[Tally] = []
        for start in range(0, len(images), BATCH):
            key = f"swaps/{kind}/{start}"
            found = context.journal.arrays(key)
            if found is None:
                found = yield from _swap_batch(made, context, kind, start)
                context.journal.put_arrays(key, found)
            parts.append(found)
        return {"classes": np.concatenate([p["classes"] for p in parts], axis=1),
                "energy": np.sum([p["energy"] for p in parts], axis=0)}  # fmt: skip


def _swap_batch(made: "Simulated", context: JobContext, kind: str, start: int) -> Steps[Tally]:
    import torch

    from qexplorer.engine.simulation.one_at_a_time import outputs_with_swaps

    base, other = (made.float_model, made.model) if kind == "alone" else (made.model, made.float_model)
    images, layers = context.test[0], list(base.layers)
    x = torch.tensor(images[start : start + BATCH], device=context.device)
    with torch.no_grad():
        expected = made.float_model.module(x)
    classes, energy = np.zeros((len(layers), len(x)), np.int32), np.zeros((2, len(layers)))
    swaps = outputs_with_swaps(base, other, x, layers)
    for name, outputs in swaps:
        i = layers.index(name)
        done = (start + len(x) * i / len(layers)) / len(images)
        yield Progress("Swapping layers" if kind == "alone" else "Swapping layers back", fraction=done)
        classes[i] = outputs.argmax(dim=1).cpu().numpy()
        error = (outputs - expected).square().sum()
        energy[:, i] = float(expected.square().sum()), float(error)
    return {"classes": classes, "energy": energy}


def _figures(
    made: "Simulated", local: dict[str, Any], tallies: dict[str, Tally], context: JobContext
) -> tuple[LayerFigures, ...]:
    """The layers, the one that hurts most first."""
    from qexplorer.engine.simulation.layers import ratio_db

    labels, before = context.test[1], context.first.evaluation.predictions
    layers: list[LayerFigures] = []
    for i, plain in enumerate(made.layers):
        layer = plain
        if plain.name in local:
            signal, own, all_before = local[plain.name]
            layer = replace(layer, local_sqnr_db=ratio_db(signal, own), cumulative_sqnr_db=ratio_db(signal, all_before))
        for kind, tally in tallies.items():
            classes, (signal, error) = tally["classes"][i], tally["energy"][:, i]
            right = int((classes == labels).sum())
            figures = {
                "output_sqnr_db": ratio_db(signal, error),
                "output_error": float(error / signal) if signal else 0.0,
                "top1": right / len(labels),
                "top1_ci95": wilson_interval(right, len(labels)),
                "flips": int((classes != before).sum()),
            }
            prefix = "" if kind == "alone" else "rest_"
            layer = replace(layer, **{prefix + name: value for name, value in figures.items()})
        layers.append(layer)
    if "alone" in tallies:
        return tuple(sorted(layers, key=lambda layer: -(layer.output_error or 0.0)))
    return tuple(sorted(layers, key=lambda layer: layer.rest_output_error or 0.0))
