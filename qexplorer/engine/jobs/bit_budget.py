"""Bits per layer for a size: what each layer alone does at each width, and the best choice for every budget."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.knapsack import Choice, front
from qexplorer.engine.jobs.model_sizes import ModelSizes
from qexplorer.engine.jobs.presentation import FollowUp, Presentation, presentation_of
from qexplorer.engine.jobs.simulated_job import SPEC_HELP, SimulatedJob, simulated
from qexplorer.engine.jobs.weight_only import weight_only_after
from qexplorer.engine.measuring.row import evaluated
from qexplorer.engine.runs.findings import Front
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.errors import UserError
from qexplorer.presentation import FrontPoint
from qexplorer.progress import Steps, within
from qexplorer.quant.formats import formats
from qexplorer.quant.recipe import LayerSpec, Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import setting

if TYPE_CHECKING:
    from qexplorer.engine.simulation.prepared import Prepared
    from qexplorer.engine.simulation.simulate import Plan, Simulated

SHOWN = 40
"""Points of the front that are kept, evenly spaced in size."""
PROBED, BUILT = 0.7, 0.75
NONE_FITS, FIT = "No choice of widths fits {target}.", "Raise the target, or allow fewer bits."
Specs = tuple[QuantSpec, ...]


@jobs.register
@dataclass(frozen=True)
class BitBudget(SimulatedJob):
    """A multiple-choice knapsack over the layers; the error of a choice is taken as the sum of each layer's own error
    at the model's output, and then checked by measuring the accuracy of points along the front.
    """

    weight_spec: str = setting("int4 channel mse", "Weight spec", "Spec of weights, an integer format; its bits vary",
                               offers=("int4 channel mse", "int4 channel", "int4 group:32"))  # fmt: skip
    target: str = setting("4 bits", "Target", "Average bits of a weight, or the size of all: “4 bits”, “1.2 MB”",
                          offers=("3 bits", "4 bits", "6 bits"))  # fmt: skip
    widths: str = setting("2,3,4,6,8", "Widths", "Bits that a layer may get, with commas", minor=True)
    checked: int = setting(6, "Points measured", "Points along the front whose accuracy is measured", minimum=0,
                           maximum=SHOWN, minor=True)  # fmt: skip

    name: ClassVar[str] = "bit-budget"
    title: ClassVar[str] = "Bit budget"
    help: ClassVar[str] = "Bits per layer for a target size, with the whole front of size against error"
    order: ClassVar[int] = 52
    required: ClassVar[str] = "weight_spec"

    def __post_init__(self) -> None:
        super().__post_init__()
        least = min(option.format.code_bits for option in self.options())
        if self.budget(1_000_000) < 1_000_000 * least and "bit" in self.target:
            raise UserError(NONE_FITS.format(target=self.target), FIT, field="target")

    @classmethod
    def present(cls, result: RunResult) -> Presentation:
        shown = presentation_of(result, "layer")
        found = result.findings
        if not isinstance(found, Front):
            return shown

        def with_bits(place: int, job: Job) -> Job:
            del job
            repairs, overrides = result.settings["repairs"], found.front[place].overrides
            return weight_only_after(result, repairs=repairs, overrides=overrides)

        use = FollowUp("use_bits", "Use these bits", "Put these widths into the overrides of the job Weight only",
                       with_bits, "with these widths as its overrides")  # fmt: skip
        lines = (f'--overrides "{found.overrides}"',)
        return replace(shown, front=found.front, chosen=found.chosen, lines=lines, follow_up=use)

    def options(self) -> tuple[QuantSpec, ...]:
        """The specs that a layer may get, the narrowest first. Raises `UserError` where one is impossible."""
        base = self.recipe().every.weights
        assert base is not None  # noqa: S101  checked above
        family = re.sub(r"\d+$", "", base.format.name)
        if family not in ("int", "uint"):
            raise UserError(
                f"The bits of {base.format.title} cannot vary.", f"Choose {SPEC_HELP}.", field="weight_spec"
            )
        try:
            bits = sorted({int(word) for word in self.widths.split(",") if word.strip()})
        except ValueError:
            raise UserError(f"“{self.widths}” is not a list of bit widths.", "Write 2,4,8.", field="widths") from None
        names = [f"{family}{b}" for b in bits]
        if len(names) < 2 or not all(name in formats for name in names):
            raise UserError(f"“{self.widths}” are not two or more widths of {family}.", "Write 2,4,8.", field="widths")
        return tuple(base.adopt("format", formats[name]) for name in names)

    def budget(self, weights: int) -> int:
        """The target in bits of all weights, for so many of them."""
        found = re.fullmatch(r"\s*([\d.]+)\s*(bits?|[kM]B)\s*", self.target)
        try:
            number = float(found[1]) if found else 0.0
        except ValueError:
            number = 0.0
        if not found or not number > 0:
            raise UserError(
                f"“{self.target}” is not a valid target size.", "Write “4 bits” or “1.2 MB”.", field="target"
            )
        unit = {"kB": 8e3, "MB": 8e6}.get(found[2])
        return int(number * (unit or weights))

    def convert(self, context: JobContext) -> Steps[Conversion]:
        prepared = self.prepared(context)
        plan = self.plan(context).for_layers(prepared.layers)
        locked = [name for name in prepared.layers if plan.recipe.rule_of(name)]
        free = [name for name in prepared.layers if name not in locked]
        if not free:
            raise UserError("All layers are locked.", "Take some of them out of the overrides.", field="overrides")
        options = self.options()
        errors = yield from within(self._probe(prepared, plan, options, free, context), 0.0, PROBED)
        sizes = ModelSizes.of(prepared, plan.recipe, locked)
        choices = front([[sizes.layer(name, spec) for spec in options] for name in free], errors)
        place, made = len(choices), None
        while (fits := _within(choices, self.budget(sizes.weights) - sizes.taken(self.target), self.target)) < place:
            place, overrides = fits, _overrides(options, free, choices[fits], self.overrides)
            steps = self._simulate(prepared, plan, overrides, context, f"mix-{place}")
            made = yield from within(steps, PROBED, BUILT)
            sizes = sizes.measured(made, choices[place])  # scales of activations and new biases take room as well
        assert made is not None  # noqa: S101  some choice fits
        points: list[FrontPoint] = []
        kept = _spaced(choices, place)
        measured = {*np.linspace(0, len(kept) - 1, self.checked).astype(int).tolist()}
        for i, k in enumerate(kept):
            overrides = _overrides(options, free, choices[k], self.overrides)
            point = sizes.point(choices[k], overrides, chosen=k == place)
            if point.chosen or i in measured:
                share = (1 - BUILT) / len(kept)
                steps = self._check(prepared, plan, point, context)
                point = yield from within(steps, BUILT + share * i, BUILT + share * (i + 1))
            points.append(point)
        chosen = kept.index(place)
        row = simulated(f"mixed-{points[chosen].average_bits:.2f}-bits", made, context, plan.note)
        findings = Front(tuple(points), chosen, points[chosen].overrides, self.target, tuple(sorted(locked)))
        widths = tuple(spec.short for spec in options)
        spec = RunSpec(average_bits=made.average_bits, widths=widths, traced=prepared.traced)
        by_name = dict(zip(free, map(tuple, errors), strict=True))
        layers = tuple(replace(layer, errors=by_name.get(layer.name, ())) for layer in made.layers)
        return Conversion((row,), spec, layers, sum(map(len, plan.batches)), findings=findings)

    def _probe(self, prepared: "Prepared", plan: "Plan", options: Specs, free: list[str], context: JobContext,
               ) -> Steps[list[list[float]]]:  # fmt: skip
        """For each free layer and option, the relative error of the model's outputs on the calibration samples."""
        columns: list[list[float]] = []
        for k, spec in enumerate(options):
            key = f"probe/{spec.short}"
            found = context.journal.get(key)
            if found is None:
                steps = _errors(prepared, plan, spec, free)
                found = yield from within(steps, k / len(options), (k + 1) / len(options))
                context.journal.put(key, found)
            columns.append(found)
        return [list(row) for row in zip(*columns, strict=True)]

    def _simulate(
        self, prepared: "Prepared", plan: "Plan", overrides: str, context: JobContext, key: str
    ) -> "Steps[Simulated]":
        from qexplorer.engine.simulation.simulate import simulate

        recipe = replace(self, overrides=overrides).recipe()
        return (yield from simulate(prepared, replace(plan, recipe=recipe), context.journal, key))

    def _check(self, prepared: "Prepared", plan: "Plan", point: FrontPoint, context: JobContext) -> Steps[FrontPoint]:
        """A point of the front with its accuracy."""
        name = f"front-{point.bytes}"
        made = yield from self._simulate(prepared, plan, point.overrides, context, name)
        result = yield from evaluated(name, made.model.module, context.test, context.journal)
        return replace(point, top1=result.top1, top1_ci95=result.ci95)


def _errors(prepared: "Prepared", plan: "Plan", spec: QuantSpec, free: list[str]) -> Steps[list[float]]:
    from qexplorer.engine.simulation.one_at_a_time import output_errors
    from qexplorer.engine.simulation.simulate import simulate

    recipe = Recipe(LayerSpec(spec, None))  # activations are alike in all options
    repairs = [repair for repair in plan.repairs if not repair.needs_data]
    made = yield from within(simulate(prepared, replace(plan, recipe=recipe, repairs=repairs)), 0.0, 0.05)
    steps = output_errors(made.float_model, made.model, free, plan.batches)
    errors = yield from within(steps, 0.05, 1.0)
    return [errors[name] for name in free]


def _within(choices: list[Choice], budget: int, target: str) -> int:
    """The place of the best choice that fits; a `UserError` where none does."""
    fitting = [i for i, choice in enumerate(choices) if choice.size <= budget]
    if not fitting:
        raise UserError(NONE_FITS.format(target=target), FIT, field="target")
    return fitting[-1]


def _spaced(choices: list[Choice], place: int) -> list[int]:
    """The places of choices that are evenly spaced in size, the chosen one among them."""
    sizes = np.array([c.size for c in choices])
    wanted = np.linspace(sizes[0], sizes[-1], SHOWN)
    return sorted({place, *(int(np.abs(sizes - size).argmin()) for size in wanted)})


def _overrides(options: tuple[QuantSpec, ...], free: list[str], choice: Choice, locked: str) -> str:
    """The choice as the setting Overrides takes it; what the person locked comes last, and so decides."""
    own = [f"{name}={options[k].short}" for name, k in zip(free, choice.options, strict=True)]
    return "; ".join([*own, *filter(None, [locked])])
