"""How many calibration samples are enough: ranges and accuracy against their number."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, SimulatedJob, simulated
from qexplorer.engine.measuring.row import evaluated
from qexplorer.engine.runs.curve_points import SamplesPoint
from qexplorer.engine.runs.run_spec import RunSpec
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
    required: ClassVar[str] = "activation_spec"

    def convert(self, context: JobContext) -> Steps[Conversion]:
        from qexplorer.engine.simulation.simulate import simulate

        prepared, plan = self.prepared(context), self.plan(context)
        name = self.row_name
        total = sum(map(len, plan.batches))
        numbers = _numbers(total)
        points: list[SamplesPoint] = []
        scales: list[dict[str, float]] = []
        made: Simulated | None = None
        for i, n in enumerate(numbers):
            own = replace(plan, batches=context.batches(n))
            steps = simulate(prepared, own, context.journal, f"n{n}")
            made = yield from within(steps, i / len(numbers), (i + 0.5) / len(numbers))
            steps = evaluated(f"n{n}", made.model.module, context.test, context.journal)
            result = yield from within(steps, (i + 0.5) / len(numbers), (i + 1) / len(numbers))
            points.append(SamplesPoint(n, result.top1, result.ci95))
            scales.append(_scales(made))
            context.journal.put_point(n, points[-1])
        assert made is not None  # noqa: S101  there is always one number
        last = scales[-1]
        history = tuple(_compared(point, own, last) for point, own in zip(points, scales, strict=True))
        layers = tuple(replace(layer, scale=last.get(layer.name, 0.0)) for layer in made.layers)
        chosen = tuple(context.chosen(total).tolist())
        spec = RunSpec(layers=self.recipe().texts, traced=prepared.traced, chosen=chosen)
        return Conversion((simulated(name, made, context),), spec, layers, total, history=history)


def _compared(point: SamplesPoint, own: dict[str, float], last: dict[str, float]) -> SamplesPoint:
    """A point with how far the layers' scales are from the last."""
    off = [abs(own[k] / last[k] - 1) for k in last if last[k]]
    median = float(np.median(off)) if off else 0.0
    return replace(point, range_change=median, largest_range_change=max(off, default=0.0))


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
