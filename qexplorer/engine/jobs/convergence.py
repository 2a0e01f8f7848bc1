"""How many calibration samples are enough: ranges and accuracy against their number."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.model_job import Conversion, Workshop
from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, SimulatedJob, require_spec, row_name
from qexplorer.engine.jobs.simulations import simulated
from qexplorer.engine.measuring.evaluate import wilson_interval
from qexplorer.engine.measuring.row import evaluated
from qexplorer.progress import Steps, within
from qexplorer.settings import setting

if TYPE_CHECKING:
    from torch import nn

    from qexplorer.engine.simulation.simulate import Simulated

FEWEST = 8


@jobs.register
@dataclass(frozen=True)
class Convergence(SimulatedJob):
    """Calibrate on 8, 16, 32 … of the seed's choice of samples, each a part of the next, and evaluate each time."""

    activation_spec: str = setting("uint8 affine", "Activation spec", "What each layer reads: its range is calibrated",
                                   offers=ACTIVATION_SPECS[1:])  # fmt: skip

    name: ClassVar[str] = "convergence"
    title: ClassVar[str] = "Convergence"
    help: ClassVar[str] = "Ranges and accuracy against the number of calibration samples"
    order: ClassVar[int] = 62

    def __post_init__(self) -> None:
        super().__post_init__()
        require_spec(self.activation_spec, "activation_spec")

    def convert(self, shop: Workshop) -> Steps[Conversion]:
        from qexplorer.engine.simulation.simulate import simulate

        prepared, plan = self.prepared(shop), self.plan(shop)
        every = self.recipe().every
        name = row_name(every.weights, every.activations)
        total = sum(map(len, plan.batches))
        numbers = _numbers(total)
        points: list[dict[str, Any]] = []
        made: Simulated | None = None
        for i, n in enumerate(numbers):
            own = replace(plan, batches=shop.batches(n))
            steps = simulate(prepared, own, shop.journal, f"n{n}")
            made = yield from within(steps, i / len(numbers), (i + 0.5) / len(numbers))
            steps = evaluated(f"n{n}", made.model.module, shop.test, shop.journal)
            result = yield from within(steps, (i + 0.5) / len(numbers), (i + 1) / len(numbers))
            ci = wilson_interval(round(result.top1 * result.n), result.n)
            points.append({"samples": n, "top1": result.top1, "top1_ci95": list(ci), "scales": _scales(made)})
            shop.journal.put(f"point/{n:06}", {key: points[-1][key] for key in ("samples", "top1", "top1_ci95")})
        assert made is not None  # noqa: S101  there is always one number
        last = points[-1]["scales"]
        for point in points:
            own = point.pop("scales")
            off = [abs(own[k] / last[k] - 1) for k in last if last[k]]
            point["range_change"] = float(np.median(off)) if off else 0.0
            point["largest_range_change"] = max(off, default=0.0)
        layers = [{**layer, "scale": last.get(layer["name"])} for layer in made.layers]
        spec = {"layers": self.recipe().to_json(), "traced": prepared.traced, "chosen": shop.chosen(total).tolist()}
        return Conversion((simulated(name, made, shop),), spec, layers, total, history=points)


def _numbers(total: int) -> list[int]:
    """8, 16, 32 … and the whole."""
    numbers = []
    n = FEWEST
    while n < total:
        numbers.append(n)
        n *= 2
    return [*numbers, total]


def _scales(made: "Simulated") -> dict[str, float]:
    """The scale of each layer's input; the mean of several."""
    from qexplorer.engine.simulation.layers import QuantizeInput

    found: dict[str, float] = {}
    for name, layer in made.model.layers.items():
        for hook in _hooks(layer):
            if isinstance(hook, QuantizeInput) and hook.quantizer.params is not None:
                found[name] = float(hook.quantizer.params.scale.mean())
    return found


def _hooks(layer: "nn.Module") -> list[Any]:
    return list(layer._forward_pre_hooks.values())  # torch has no other way to ask
