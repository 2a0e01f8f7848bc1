"""Static post-training quantization: calibrated once, no training; to int8 kernels, or to any format in simulation."""

from dataclasses import dataclass, replace
from typing import ClassVar

from qexplorer.engine.backends import BACKEND, ENGINE_CHOICES, choose_engine
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.real_overrides import (
    REAL_HELP,
    float_note,
    real_part,
    real_recipe,
    real_weights,
    repair_note,
    rules_note,
    transformed,
)
from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, SPEC_HELP, WEIGHT_SPECS, SimulatedJob, simulated_row
from qexplorer.engine.measuring.row import Variant
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.run_spec import KernelSpec, RunSpec
from qexplorer.errors import UserError
from qexplorer.progress import Steps, within
from qexplorer.settings import Choice, setting

PRESETS = tuple(preset.name for preset in BACKEND.presets)
PRESET_CHOICES = tuple(Choice(preset.name, preset.title, preset.help) for preset in BACKEND.presets)


@jobs.register
@dataclass(frozen=True)
class PtqStatic(SimulatedJob):
    """Fuse, calibrate and convert a float model to int8 kernels, simulate any other spec beside it, and compare."""

    preset: str = setting("both", "Preset", "The real int8 kernels' observers and scales; none: simulation only",
                          choices=(Choice("both", "Both presets"), *PRESET_CHOICES,
                                   Choice("none", "None")))  # fmt: skip
    engine: str = setting("auto", "Engine", "The int8 kernels; auto: the best supported", choices=ENGINE_CHOICES)
    weight_spec: str = setting(
        "", "Weight spec", f"Simulated beside: {SPEC_HELP}; empty: none", offers=("", *WEIGHT_SPECS), empty="none"
    )
    activation_spec: str = setting("", "Activation spec", "Of the simulation: what each layer reads; empty: float",
                                   offers=("", *ACTIVATION_SPECS), empty="float")  # fmt: skip
    overrides: str = setting("", "Overrides", f"{REAL_HELP}. Without a preset: any specs, PATTERN=WEIGHTS / "
                             "ACTIVATIONS", minor=True, wide=True, empty="none")  # fmt: skip

    name: ClassVar[str] = "ptq-static"
    title: ClassVar[str] = "PTQ static"
    help: ClassVar[str] = "Convert to int8 with calibrated activations; no training"
    order: ClassVar[int] = 10
    reported: ClassVar[tuple[str, ...]] = (*SimulatedJob.reported, "preset")
    trainable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset == "none" and not self.simulates:
            raise UserError("Without a preset there is nothing to do.", f"Choose one, or {SPEC_HELP}.",
                            field="weight_spec")  # fmt: skip
        if self.preset != "none" and not self.simulates:
            real_recipe(self.overrides)

    @property
    def simulates(self) -> bool:
        """Whether a simulation stands beside the int8 kernels."""
        every = self.recipe().every
        return every.weights is not None or every.activations is not None

    def int8_engine(self) -> str:
        return choose_engine(self.engine) if self.preset != "none" else ""

    def convert(self, context: JobContext) -> Steps[Conversion]:
        names = {"both": PRESETS, "none": ()}.get(self.preset, (self.preset,))
        parts = len(names) + self.simulates
        batches = context.batches(self.calibration)
        overrides, others = real_part(self.overrides) if self.simulates else (self.overrides, ())
        weights = real_weights(overrides, context) if names else {}
        module = (yield from within(transformed(self.repairs, context, batches), 0.0, 0.0)) if names else context.module
        made: list[Variant] = []
        specs: dict[str, KernelSpec] = {}
        layers: tuple[LayerFigures, ...] = ()
        for i, name in enumerate(names):
            steps = BACKEND().quantize(module, name, batches, weights)
            own = yield from within(steps, i / parts, (i + 1) / parts)
            note = " ".join(filter(None, (float_note(own.kept), rules_note(others), repair_note(self.repairs))))
            made.append(Variant(name, BACKEND.kind, self.int8_engine(), own.module, note=note))
            specs[name] = own.spec
            layers += tuple(replace(layer, row=name) for layer in own.layers)
        real = Conversion(tuple(made), RunSpec(presets=specs), layers, sum(map(len, batches)))
        if not self.simulates:
            return real
        more = yield from within(simulated_row(self, context), len(names) / parts, 1.0)
        return replace(more, variants=real.variants + more.variants, spec=replace(more.spec, presets=specs),
                       layers=layers + more.layers, calibration_n=real.calibration_n)  # fmt: skip
