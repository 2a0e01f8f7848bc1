"""Dynamic post-training quantization: weights once, activations anew for each input."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from qexplorer.engine.backends import BACKEND, ENGINES, choose_engine
from qexplorer.engine.jobs import jobs, setting
from qexplorer.engine.jobs.model_job import Conversion, Workshop
from qexplorer.engine.jobs.simulated_job import SPEC_HELP, SimulatedJob
from qexplorer.engine.jobs.simulations import simulated_row
from qexplorer.engine.measure import Made
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within

PER_TOKEN = f"int8 group:{1 << 20}"
"""One scale for each vector along the last axis: a group as long as that is cut to it."""
OFFERS = (PER_TOKEN, "uint8 affine", f"int4 group:{1 << 20}", "fp8_e4m3fn")


@jobs.register
@dataclass(frozen=True)
class PtqDynamic(SimulatedJob):
    """Real int8 kernels for Linear and LSTM, and a simulation with one scale for each token."""

    weight_spec: str = setting("int8 channel:0", "Weight spec", f"Of the simulation: {SPEC_HELP}",
                               offers=("int8 channel:0", "int8", "int4 channel:0", "int4 group:32"))  # fmt: skip
    activation_spec: str = setting(PER_TOKEN, "Activation spec", "Of the simulation, found anew for each input; a "
                                   "group as long as a token gives each its own scale", offers=OFFERS)  # fmt: skip
    engine: str = setting("auto", "Engine", "The int8 kernels; auto: the best supported", choices=("auto", *ENGINES))

    name: ClassVar[str] = "ptq-dynamic"
    title: ClassVar[str] = "PTQ dynamic"
    help: ClassVar[str] = "Linear and LSTM layers to int8, activations quantized anew for each input"
    order: ClassVar[int] = 20

    def int8_engine(self) -> str:
        return choose_engine(self.engine)

    def convert(self, shop: Workshop) -> Steps[Conversion]:
        yield Progress("Converting Linear and LSTM layers")
        real = BACKEND().quantize_dynamic(shop.module)
        if not real.layers:
            raise UserError("The model has neither Linear nor LSTM layers.", "Take PTQ static.", field="model")
        row = Made("dynamic_int8", BACKEND.kind, self.int8_engine(), real.module, real.bytes_theoretical)
        more = yield from within(simulated_row(self._of_linear(shop), shop, dynamic=True, name="per_token"), 0.1, 1.0)
        layers = [{"row": row.name, **layer} for layer in real.layers]
        spec: dict[str, Any] = {"dynamic": real.spec, **more.spec}
        return replace(more, made=(row, *more.made), spec=spec, layers=layers + more.layers)

    def _of_linear(self, shop: Workshop) -> "PtqDynamic":
        """The same with every other layer float, as the kernels leave it."""
        from torch import nn

        others = [name for name, m in self.prepared(shop).layers.items() if not isinstance(m, nn.Linear)]
        return replace(self, overrides="; ".join([*filter(None, [self.overrides]), *(f"{n}=float" for n in others)]))
