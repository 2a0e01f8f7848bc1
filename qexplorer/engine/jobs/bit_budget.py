"""Bits per layer for a size: what each layer alone does at each width, and the best choice for every budget."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.knapsack import Choice, front
from qexplorer.engine.jobs.model_job import Conversion, Workshop
from qexplorer.engine.jobs.simulated_job import SPEC_HELP, SimulatedJob, require_spec
from qexplorer.engine.jobs.simulations import simulated
from qexplorer.engine.measuring.evaluate import wilson_interval
from qexplorer.engine.measuring.row import evaluated
from qexplorer.engine.models.state_dict import theoretical_bytes
from qexplorer.errors import UserError
from qexplorer.progress import Steps, within
from qexplorer.quant.formats import formats
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from qexplorer.engine.simulation.prepared import Prepared
    from qexplorer.engine.simulation.recipe import Recipe
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

    weight_spec: str = setting("int4 channel:0 mse", "Weight spec", "Spec of weights, an integer format; its bits vary",
                               offers=("int4 channel:0 mse", "int4 channel:0", "int4 group:32"))  # fmt: skip
    target: str = setting("4 bits", "Target", "Average bits of a weight, or the size of all: “4 bits”, “1.2 MB”",
                          offers=("3 bits", "4 bits", "6 bits"))  # fmt: skip
    widths: str = setting("2,3,4,6,8", "Widths", "Bits that a layer may get, with commas", minor=True)
    checked: int = setting(6, "Points measured", "Points along the front whose accuracy is measured", minimum=0,
                           maximum=SHOWN, minor=True)  # fmt: skip

    name: ClassVar[str] = "bit-budget"
    title: ClassVar[str] = "Bit budget"
    help: ClassVar[str] = "Bits per layer for a target size, with the whole front of size against error"
    order: ClassVar[int] = 52

    def __post_init__(self) -> None:
        super().__post_init__()
        require_spec(self.weight_spec, "weight_spec")
        least = min(option.format.code_bits for option in self.options())
        if self.budget(1_000_000) < 1_000_000 * least and "bit" in self.target:
            raise UserError(NONE_FITS.format(target=self.target), FIT, field="target")

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
            raise UserError(f"“{self.widths}” are no widths.", "Write 2,4,8.", field="widths") from None
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
            raise UserError(f"“{self.target}” is no target.", "Write “4 bits” or “1.2 MB”.", field="target")
        unit = {"kB": 8e3, "MB": 8e6}.get(found[2])
        return int(number * (unit or weights))

    def convert(self, shop: Workshop) -> Steps[Conversion]:
        prepared, plan = self.prepared(shop), self.plan(shop)
        locked = [name for name in prepared.layers if plan.recipe.overrides_of(name)]
        free = [name for name in prepared.layers if name not in locked]
        if not free:
            raise UserError("All layers are locked.", "Take some of them out of the overrides.", field="overrides")
        options = self.options()
        errors = yield from within(self._probe(prepared, plan, options, free, shop), 0.0, PROBED)
        sizes = _Sizes.of(prepared, plan.recipe, locked)
        choices = front([[sizes.layer(name, spec) for spec in options] for name in free], errors)
        place, made = len(choices), None
        while (fits := _within(choices, self.budget(sizes.weights) - sizes.taken(self.target), self.target)) < place:
            place, overrides = fits, _overrides(options, free, choices[fits], self.overrides)
            steps = self._simulate(prepared, plan, overrides, shop, f"mix-{place}")
            made = yield from within(steps, PROBED, BUILT)
            sizes = sizes.measured(made, choices[place])  # scales of activations and new biases take room as well
        assert made is not None  # noqa: S101  some choice fits
        points = _points(choices, place, sizes)
        measured = {*np.linspace(0, len(points) - 1, self.checked).astype(int).tolist()}
        for i, point in enumerate(points):
            point["overrides"] = _overrides(options, free, choices[point.pop("choice")], self.overrides)
            if point["chosen"] or i in measured:
                share = (1 - BUILT) / len(points)
                steps = self._check(prepared, plan, point, shop)
                point.update((yield from within(steps, BUILT + share * i, BUILT + share * (i + 1))))
        chosen = next(i for i, point in enumerate(points) if point["chosen"])
        row = simulated(f"mixed-{points[chosen]['average_bits']:.2f}-bits", made, shop, plan.note)
        findings = {"front": points, "chosen": chosen, "overrides": points[chosen]["overrides"],
                    "target": self.target, "locked": sorted(locked)}  # fmt: skip
        spec = {"average_bits": made.average_bits, "widths": [s.short for s in options], "traced": prepared.traced}
        by_name = dict(zip(free, errors, strict=True))
        layers = [{**layer, "errors": by_name.get(layer["name"])} for layer in made.layers]
        return Conversion((row,), spec, layers, sum(map(len, plan.batches)), findings=findings)

    def _probe(self, prepared: "Prepared", plan: "Plan", options: Specs, free: list[str], shop: Workshop,
               ) -> Steps[list[list[float]]]:  # fmt: skip
        """For each free layer and option, the relative error of the model's outputs on the calibration samples."""
        columns: list[list[float]] = []
        for k, spec in enumerate(options):
            key = f"probe/{spec.short}"
            found = shop.journal.get(key)
            if found is None:
                steps = _errors(prepared, plan, spec, free)
                found = yield from within(steps, k / len(options), (k + 1) / len(options))
                shop.journal.put(key, found)
            columns.append(found)
        return [list(row) for row in zip(*columns, strict=True)]

    def _simulate(
        self, prepared: "Prepared", plan: "Plan", overrides: str, shop: Workshop, key: str
    ) -> "Steps[Simulated]":
        from qexplorer.engine.simulation.simulate import simulate

        recipe = replace(self, overrides=overrides).recipe()
        return (yield from simulate(prepared, replace(plan, recipe=recipe), shop.journal, key))

    def _check(
        self, prepared: "Prepared", plan: "Plan", point: dict[str, Any], shop: Workshop
    ) -> Steps[dict[str, Any]]:
        """The accuracy of a point of the front."""
        name = f"front-{point['bytes']}"
        made = yield from self._simulate(prepared, plan, point["overrides"], shop, name)
        result = yield from evaluated(name, made.model.module, shop.test, shop.journal)
        return {"top1": result.top1, "top1_ci95": list(wilson_interval(round(result.top1 * result.n), result.n))}


def _errors(prepared: "Prepared", plan: "Plan", spec: QuantSpec, free: list[str]) -> Steps[list[float]]:
    from qexplorer.engine.simulation.one_at_a_time import output_errors
    from qexplorer.engine.simulation.recipe import LayerSpec, Recipe
    from qexplorer.engine.simulation.simulate import simulate

    recipe = Recipe(LayerSpec(spec, None))  # activations are alike in all options
    repairs = [repair for repair in plan.repairs if not repair.needs_data]
    made = yield from within(simulate(prepared, replace(plan, recipe=recipe, repairs=repairs)), 0.0, 0.05)
    steps = output_errors(made.float_model, made.model, free, plan.batches)
    errors = yield from within(steps, 0.05, 1.0)
    return [errors[name] for name in free]


@dataclass(frozen=True)
class _Sizes:
    """What the model takes beside the choice, in bits: its `fixed` layers, and the `rest`, which is no layer's weights;
    and how many `weights` its layers have.
    """

    prepared: "Prepared"
    fixed: int
    rest: int
    weights: int

    @classmethod
    def of(cls, prepared: "Prepared", recipe: "Recipe", locked: list[str]) -> "_Sizes":
        """Before anything is quantized: scales of activations, and biases that repairs add, are not known yet."""
        own = cls(prepared, 0, 0, sum(cls.weight(layer).numel() for layer in prepared.layers.values()))
        stored = sum(cls.weight(layer).nbytes for layer in prepared.layers.values())
        fixed = sum(own.layer(name, recipe.of(name).weights) for name in locked)
        rest = 8 * (theoretical_bytes(prepared.module.state_dict()) - stored)
        return replace(own, fixed=fixed, rest=rest)

    @staticmethod
    def weight(layer: Any) -> "Tensor":
        return layer.weight

    def layer(self, name: str, spec: QuantSpec | None) -> int:
        """The bits of a layer's weights."""
        from qexplorer.engine.simulation.layers import layer_bits

        return layer_bits(self.weight(self.prepared.layers[name]), spec)

    def measured(self, made: "Simulated", choice: Choice) -> "_Sizes":
        """With the rest that a model of that choice really has."""
        return replace(self, rest=8 * made.bytes_theoretical - self.fixed - choice.size)

    def taken(self, target: str) -> int:
        """What a target leaves nothing of for the choice: one in bits is about weights alone."""
        return self.fixed + (0 if "bit" in target else self.rest)


def _within(choices: list[Choice], budget: int, target: str) -> int:
    """The place of the best choice that fits; a `UserError` where none does."""
    fitting = [i for i, choice in enumerate(choices) if choice.size <= budget]
    if not fitting:
        raise UserError(NONE_FITS.format(target=target), FIT, field="target")
    return fitting[-1]


def _points(choices: list[Choice], place: int, model: _Sizes) -> list[dict[str, Any]]:
    """Points of the front, evenly spaced in size, the chosen one among them. `bytes` are those of the whole model,
    `average_bits` those of a weight.
    """
    sizes = np.array([c.size for c in choices])
    wanted = np.linspace(sizes[0], sizes[-1], SHOWN)
    kept = sorted({place, *(int(np.abs(sizes - size).argmin()) for size in wanted)})
    points: list[dict[str, Any]] = []
    for i in kept:
        bits = choices[i].size + model.fixed
        points.append({"choice": i, "bytes": -(-(bits + model.rest) // 8), "average_bits": bits / model.weights,
                       "error": choices[i].error, "chosen": i == place})  # fmt: skip
    return points


def _overrides(options: tuple[QuantSpec, ...], free: list[str], choice: Choice, locked: str) -> str:
    """The choice as the setting Overrides takes it; what the person locked comes last, and so decides."""
    own = [f"{name}={options[k].short}" for name, k in zip(free, choice.options, strict=True)]
    return "; ".join([*own, *filter(None, [locked])])
