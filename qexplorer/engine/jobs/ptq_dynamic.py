"""Dynamic post-training quantization: weights once, activations anew for each input."""

from dataclasses import dataclass, replace
from typing import ClassVar

from qexplorer.engine.backends import BACKEND, ENGINE_CHOICES, choose_engine
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.real_overrides import float_note
from qexplorer.engine.jobs.simulated_job import SPEC_HELP, SimulatedJob, simulated_row
from qexplorer.engine.measuring.row import Variant
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.recipe import LayerSpec
from qexplorer.settings import setting
from qexplorer.text import first_few

PER_TOKEN = f"int8 group:{1 << 20}"
"""One scale for each vector along the last axis: a group as long as that is cut to it."""
OFFERS = (PER_TOKEN, "uint8 affine", f"int4 group:{1 << 20}", "fp8_e4m3fn")


@jobs.register
@dataclass(frozen=True)
class PtqDynamic(SimulatedJob):
    """Real int8 kernels for Linear and LSTM, and a simulation with one scale for each token."""

    weight_spec: str = setting("int8 channel", "Weight spec", f"Of the simulation: {SPEC_HELP}",
                               offers=("int8 channel", "int8", "int4 channel", "int4 group:32"))  # fmt: skip
    activation_spec: str = setting(PER_TOKEN, "Activation spec", "Of the simulation, found anew for each input; a "
                                   "group as long as a token gives each its own scale", offers=OFFERS)  # fmt: skip
    engine: str = setting("auto", "Engine", "The int8 kernels; auto: the best supported", choices=ENGINE_CHOICES)

    name: ClassVar[str] = "ptq-dynamic"
    title: ClassVar[str] = "PTQ dynamic"
    help: ClassVar[str] = "Linear and LSTM layers to int8, activations quantized anew for each input"
    order: ClassVar[int] = 20

    by_recipe: ClassVar[tuple[str, ...]] = ("weight_spec", "overrides", "repairs")

    def int8_engine(self) -> str:
        return choose_engine(self.engine)

    def convert(self, context: JobContext) -> Steps[Conversion]:
        from torch import nn

        from qexplorer.engine.simulation.layers import kinds_of

        yield Progress("Converting Linear and LSTM layers")
        layers = self.prepared(context).layers
        recipe = self.recipe().for_layers(kinds_of(layers))
        others = [name for name, layer in layers.items() if not isinstance(layer, nn.Linear)]
        named = {name: recipe.of(name) for name in layers if recipe.rule_of(name)}
        _check_others({name: named[name] for name in others if name in named})
        kept = [name for name, spec in named.items() if spec == LayerSpec() and name not in others]
        real = BACKEND().quantize_dynamic(context.module, kept)
        if not real.layers:
            what = "Every Linear layer stays float" if kept else "The model has neither Linear nor LSTM layers"
            raise UserError(f"{what}: nothing is left for int8 kernels.", "Use static PTQ.", field="model")
        simulated = [name for name, spec in named.items() if spec != LayerSpec()]
        remark = f"Overrides of the simulation alone: {first_few(simulated, 3)}." if simulated else ""
        note = " ".join(filter(None, (float_note(real.kept, between=""), remark)))
        row = Variant("dynamic_int8", BACKEND.kind, self.int8_engine(), real.module, real.bytes_theoretical, note)
        floats = "; ".join([*filter(None, [self.overrides]), *(f"{name}=float" for name in others)])
        steps = simulated_row(replace(self, overrides=floats), context, dynamic=True, name="per_token")
        more = yield from within(steps, 0.1, 1.0)
        figures = tuple(replace(layer, row=row.name) for layer in real.layers)
        spec = replace(more.spec, dynamic=real.spec)
        return replace(more, variants=(row, *more.variants), spec=spec, layers=figures + more.layers)


def _check_others(named: dict[str, LayerSpec]) -> None:
    """Raise a `UserError` where an override asks for more than float of what is not quantized dynamically."""
    for name, spec in named.items():
        if spec != LayerSpec():
            what = f"{name} cannot be “{spec.text}”: only Linear and LSTM layers are quantized dynamically."
            raise UserError(what, "Leave it out of Overrides, or use static PTQ.", field="overrides")
