"""Casting: a narrower float for all layers but those that are kept."""

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.model_job import ModelJob, calibration_setting
from qexplorer.engine.jobs.simulated_job import simulated
from qexplorer.engine.measuring.row import Variant
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import REAL
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.errors import UserError
from qexplorer.progress import Steps, within
from qexplorer.quant.recipe import Recipe
from qexplorer.settings import setting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from qexplorer.engine.simulation.calibrate import Batches
    from qexplorer.engine.simulation.prepared import Prepared
    from qexplorer.engine.simulation.simulate import Plan, Simulated

KINDS = ("fp16", "bf16", "fp8_e4m3fn", "fp8_e5m2")
SPECS = {"fp8_e4m3fn": "fp8_e4m3fn channel", "fp8_e5m2": "fp8_e5m2 channel"}
PROBED = 0.5
PROBES = 2
"""Calibration batches on which the layers are compared where the most sensitive ones are to be kept."""


@jobs.register
@dataclass(frozen=True)
class Cast(ModelJob):
    """FP16 and BF16 are REAL: weights are stored and computed in them. FP8 is SIMULATED: CPUs have no such kernels."""

    activation_spec: str = setting("", "Activation spec", "Of FP8: what each layer reads; empty: float",
                                   choices=("", "fp8_e4m3fn", "fp8_e5m2"), minor=True)  # fmt: skip
    repairs: str = setting("fold", "Repairs", "Casting takes no repairs but folding", choices=("fold", ""), minor=True)
    calibration: int = calibration_setting()
    to: str = setting("bf16", "To", "The narrower float", choices=KINDS)
    keep: str = setting("first,last", "Keep in float32", "Layers with commas: names, patterns, first, last, or auto:N "
                        "for the N whose casting changes the output most; empty: none",
                        offers=("first,last", "auto:3", ""))  # fmt: skip

    name: ClassVar[str] = "cast"
    title: ClassVar[str] = "Cast"
    help: ClassVar[str] = "Mixed precision: FP16, BF16 or FP8, with critical layers kept"
    order: ClassVar[int] = 40
    reported: ClassVar[tuple[str, ...]] = ("activation_spec", "repairs", "to")
    dropped: ClassVar[tuple[str, ...]] = ("weight_spec", "overrides")

    def repair_steps(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.repairs,)))

    def convert(self, context: JobContext) -> Steps[Conversion]:
        prepared = context.prepared(fold=bool(self.repairs))
        kept = yield from within(self._kept(prepared, context), 0.0, PROBED)
        probed = sum(map(len, self._probes(context))) if "auto" in self.keep else 0
        name = f"{self.to}{'-mixed' if kept else ''}"
        spec = RunSpec(kept=tuple(kept), traced=prepared.traced)
        if self.to in SPECS:
            made = yield from within(self._simulated(prepared, kept, context), PROBED, 1.0)
            row = simulated(name, made, context)
            return Conversion((row,), spec, made.layers, max(probed, self._plan(kept, context).decided_by))
        module = _cast(prepared, self.to, kept)
        layers = tuple(_figures(n, m, self.to, kept=n in kept) for n, m in prepared.layers.items())
        return Conversion(
            (Variant(name, REAL, f"{context.device} {self.to}", module, note=prepared.note),), spec, layers, probed
        )

    def _kept(self, prepared: "Prepared", context: JobContext) -> Steps[list[str]]:
        """The names of the layers to keep, in the order in which they run."""
        names, kept = list(prepared.layers), set[str]()
        for word in filter(None, (w.strip() for w in self.keep.split(","))):
            if word.startswith("auto"):
                kept |= yield from self._most_sensitive(prepared, context, _count(word))
                continue
            found = {"first": names[:1], "last": names[-1:]}.get(word) or fnmatch.filter(names, word)
            if not found:
                raise UserError(f"No layer is called “{word}”.", f"Layers are {', '.join(names[:3])} …", field="keep")
            kept |= set(found)
        return [name for name in names if name in kept]

    def _most_sensitive(self, prepared: "Prepared", context: JobContext, n: int) -> Steps[set[str]]:
        from qexplorer.engine.simulation.one_at_a_time import output_errors

        made = yield from within(self._simulated(prepared, [], context), 0.0, 0.1)
        steps = output_errors(made.float_model, made.model, list(prepared.layers), self._probes(context))
        errors = yield from within(steps, 0.1, 1.0)
        return set(sorted(errors, key=lambda name: -errors[name])[:n])

    def _probes(self, context: JobContext) -> "Batches":
        return context.batches(self.calibration)[:PROBES]

    def _simulated(self, prepared: "Prepared", kept: list[str], context: JobContext) -> "Steps[Simulated]":
        from qexplorer.engine.simulation.simulate import simulate

        return simulate(prepared, self._plan(kept, context))

    def _plan(self, kept: list[str], context: JobContext) -> "Plan":
        from qexplorer.engine.simulation.simulate import Plan

        overrides = "; ".join(f"{name}=float" for name in kept)
        activations = self.activation_spec if self.to in SPECS else ""
        recipe = Recipe.parse(SPECS.get(self.to, self.to), activations, overrides)
        return Plan(recipe, (), context.batches(self.calibration))


def _count(word: str) -> int:
    number = word.partition(":")[2]
    if not number.isdigit() or not int(number):
        raise UserError(f"“{word}” does not say how many layers.", "Write auto:3.", field="keep")
    return int(number)


def _weight(layer: "nn.Module") -> Any:
    return layer.weight


def _figures(name: str, layer: "nn.Module", to: str, *, kept: bool) -> LayerFigures:
    from qexplorer.engine.simulation.layers import sqnr_db

    weight = _weight(layer)
    short = weight if kept else weight.to(_dtype(to))
    spec = "fp32" if kept else to
    return LayerFigures(name, shape=tuple(weight.shape), spec=spec, weight_sqnr_db=sqnr_db(weight, short))


def _dtype(to: str) -> "torch.dtype":
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}[to]


def _cast(prepared: "Prepared", to: str, kept: list[str]) -> "nn.Module":
    """A copy in the narrower float, whose kept layers compute in float32 and hand on the narrower one."""
    import torch

    dtype = _dtype(to)
    copy = prepared.copy()
    copy.module.to(dtype)
    for name in kept:
        layer = copy.layers[name]
        layer.to(torch.float32)
        layer.load_state_dict(prepared.layers[name].state_dict())  # the values from before they were cast
        layer.register_forward_pre_hook(lambda _, args: (args[0].float(), *args[1:]))
        layer.register_forward_hook(lambda _, args, output: output.to(dtype))
    copy.module.register_forward_pre_hook(lambda _, args: (args[0].to(dtype), *args[1:]))
    return copy.module
