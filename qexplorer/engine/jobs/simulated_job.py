"""The settings of every job that quantizes in float arithmetic, and what they are made into."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.jobs.job_context import JobContext
from qexplorer.engine.jobs.model_job import ModelJob, calibration_setting
from qexplorer.engine.repair import parse_repairs, repairs
from qexplorer.engine.simulation.recipe import FLOATS, Recipe
from qexplorer.engine.simulation.repair_step import adapted
from qexplorer.errors import UserError
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import setting

if TYPE_CHECKING:
    from qexplorer.engine.simulation.prepared import Prepared
    from qexplorer.engine.simulation.simulate import Plan

WEIGHT_SPECS = ("int8 channel:0", "int8", "int6 channel:0", "int4 channel:0", "int4 channel:0 mse", "int4 group:32",
                "int3 channel:0 mse", "int2 group:32 mse", "nf4 group:64", "fp8_e4m3fn channel:0", "mxfp4", "nvfp4",
                "q4_0", "float")  # fmt: skip
ACTIVATION_SPECS = ("float", "uint8 affine", "uint8 affine mse", "uint8 affine percentile:99.99", "uint4 affine mse",
                    "fp8_e4m3fn", "mxfp8_e4m3")  # fmt: skip
REPAIRS = tuple(text for step in repairs for text in step.offered)
SPEC_HELP = "a format, then scheme, granularity, observer …, for example “int4 channel:0 mse”"


@dataclass(frozen=True)
class SimulatedJob(ModelJob):
    """What all simulations share."""

    weight_spec: str = setting("int8 channel:0", "Weight spec", f"Spec of weights: {SPEC_HELP}; “float”: as they are",
                               offers=WEIGHT_SPECS)  # fmt: skip
    activation_spec: str = setting("float", "Activation spec", "Spec of what each layer reads, such as “uint8 affine”",
                                   offers=ACTIVATION_SPECS)  # fmt: skip
    repairs: str = setting("fold", "Repairs", f"Steps, with commas: {', '.join(r.name for r in repairs)}",
                           offers=REPAIRS, steps=repairs, trial="repair")  # fmt: skip
    overrides: str = setting("", "Overrides", "Specs of single layers: PATTERN=WEIGHTS / ACTIVATIONS; …, or =float",
                             minor=True, empty="none")  # fmt: skip
    calibration: int = calibration_setting()

    reported: ClassVar[tuple[str, ...]] = ("weight_spec", "activation_spec", "overrides", "repairs")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.recipe()
        self.checked_repairs()

    def recipe(self) -> Recipe:
        """The specs of all layers. Raises `UserError` naming the setting at fault."""
        return Recipe.parse(self.weight_spec, self.activation_spec, self.overrides)

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


def row_name(weights: QuantSpec | None, activations: QuantSpec | None) -> str:
    """W4A8 for a row; 32 where they stay float."""
    bits = [32 if spec is None else round(spec.format.storage_bits) for spec in (weights, activations)]
    return f"w{bits[0]}a{bits[1]}"


def require_spec(spec: str, field: str) -> None:
    """Raise a `UserError` where nothing would be quantized."""
    if spec.strip() in ("", *FLOATS):
        raise UserError("Nothing would be quantized.", f"Choose {SPEC_HELP}.", field=field)
