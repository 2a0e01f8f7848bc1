"""The settings of every job that quantizes in float arithmetic, and what they are made into: a row of the result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from qexplorer.engine.jobs import Job
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.model_job import ModelJob, calibration_setting
from qexplorer.engine.measuring.row import Variant
from qexplorer.engine.repair import parse_repairs, repairs
from qexplorer.engine.runs.findings import Repaired
from qexplorer.engine.runs.results import SIMULATED
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.engine.simulation.repair_step import adapted
from qexplorer.errors import UserError
from qexplorer.progress import Steps
from qexplorer.quant.recipe import FLOAT, FLOATS, Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import setting, values_of

if TYPE_CHECKING:
    from qexplorer.engine.simulation.prepared import Prepared
    from qexplorer.engine.simulation.simulate import Plan, Simulated

WEIGHT_SPECS = ("int8 channel", "int8", "int6 channel", "int4 channel", "int4 channel mse", "int4 group:32",
                "int3 channel mse", "int2 group:32 mse", "nf4 group:64", "fp8_e4m3fn channel", "mxfp4", "nvfp4",
                "q4_0", "float")  # fmt: skip
ACTIVATION_SPECS = ("float", "uint8 affine", "uint8 affine mse", "uint8 affine percentile:99.99", "uint4 affine mse",
                    "fp8_e4m3fn", "mxfp8_e4m3")  # fmt: skip
REPAIRS = tuple(text for step in repairs for text in step.offered)
RECIPE = ("weight_spec", "activation_spec", "overrides", "repairs")
"""The settings that a recipe is made of."""
EXAMPLES = {"weight_spec": ("weights", "int4 channel mse"), "activation_spec": ("activations", "uint8 affine")}
ON_DISK = "The file holds float32 stand-ins; packed it takes the theoretical size."
SPEC_HELP = "a format, then scheme, granularity, observer …, for example “int4 channel mse”"


@dataclass(frozen=True)
class SimulatedJob(ModelJob):
    """What all simulations share."""

    weight_spec: str = setting("int8 channel", "Weight spec", f"Spec of weights: {SPEC_HELP}; “float”: as they are",
                               offers=WEIGHT_SPECS)  # fmt: skip
    activation_spec: str = setting("float", "Activation spec", "Spec of what each layer reads, such as “uint8 affine”",
                                   offers=ACTIVATION_SPECS)  # fmt: skip
    repairs: str = setting("fold", "Repairs", f"Steps, with commas: {', '.join(r.name for r in repairs)}",
                           offers=REPAIRS)  # fmt: skip
    overrides: str = setting("", "Overrides", "Specs of single layers: PATTERN=WEIGHTS / ACTIVATIONS; …, or =float",
                             minor=True, empty="none")  # fmt: skip
    calibration: int = calibration_setting()

    by_recipe: ClassVar[tuple[str, ...]] = RECIPE
    required: ClassVar[str] = ""
    """The spec without which there is nothing to do."""
    reported: ClassVar[tuple[str, ...]] = ("weight_spec", "activation_spec", "overrides", "repairs")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.recipe()
        self.checked_repairs()
        if self.required and values_of(self)[self.required].strip() in ("", *FLOATS):
            what, example = EXAMPLES[self.required]
            raise UserError(f"No {what} would be quantized.", f"Choose their spec, for example “{example}”.",
                            field=self.required)  # fmt: skip

    def recipe(self) -> Recipe:
        """The specs of all layers. Raises `UserError` naming the setting at fault."""
        return Recipe.parse(self.weight_spec, self.activation_spec, self.overrides, self.repairs)

    @property
    def row_name(self) -> str:
        """W4A8 for a row; 32 where they stay float."""
        every = self.recipe().every
        bits = [32 if spec is None else round(spec.format.storage_bits) for spec in (every.weights, every.activations)]
        return f"w{bits[0]}a{bits[1]}"

    def repair_steps(self) -> tuple[str, ...]:
        return tuple(step.text for step in parse_repairs(self.repairs))

    def checked_repairs(self) -> None:
        """Raise a `UserError` where the repairs are not understood or do not go with the spec of weights."""
        adapted(self.recipe().every.weights, parse_repairs(self.repairs))

    def plan(self, context: JobContext, *, dynamic: bool = False) -> "Plan":
        """How to quantize, by these settings."""
        from qexplorer.engine.simulation.simulate import Plan

        return Plan(self.recipe(), parse_repairs(self.repairs), context.batches(self.calibration), dynamic=dynamic)

    def prepared(self, context: JobContext) -> "Prepared":
        """The float model, as `JobContext.prepared` has it; its norms are folded where the repairs say so."""
        return context.prepared(fold=any(step.name == "fold" for step in parse_repairs(self.repairs)))


def with_recipe(job: Job, recipe: Recipe) -> Job:
    """The job with the settings that the recipe decides, unless an earlier run does. Raises `UserError` where they do
    not go with the others.
    """
    settings = recipe_settings(type(job), recipe)
    return replace(job, **{name: text for name, text in settings.items() if name not in job.taken})


def recipe_settings(cls: type[Job], recipe: Recipe) -> dict[str, str]:
    """The settings of such a job that the recipe decides."""
    texts = {"weight_spec": _text(recipe.every.weights), "activation_spec": _text(recipe.every.activations),
             "overrides": recipe.overrides, "repairs": recipe.repairs}  # fmt: skip
    return {name: texts[name] for name in cls.by_recipe}


def recipe_in(settings: Mapping[str, Any]) -> Recipe | None:
    """The recipe that stands in the settings of a job or of a run; None where there is none."""
    if not {"weight_spec", "overrides"} & settings.keys():
        return None
    return Recipe.parse(*(str(settings.get(name) or "") for name in RECIPE))


def _text(spec: QuantSpec | None) -> str:
    return spec.short if spec else FLOAT


def simulated_row(
    job: SimulatedJob, context: JobContext, *, dynamic: bool = False, name: str = ""
) -> Steps[Conversion]:
    """Quantize by the settings of a job: one row, SIMULATED."""
    from qexplorer.engine.simulation.simulate import simulate

    prepared = job.prepared(context)
    plan = replace(job.plan(context, dynamic=dynamic), always=prepared.traced)  # else it would run anew for each layer
    name = name or job.row_name
    made = yield from simulate(prepared, plan, context.journal, name)
    spec = RunSpec(
        layers=job.recipe().texts,
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
