"""What a step of accuracy repair is to the simulation that takes it: its hooks, and the layer that they are given."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qexplorer.engine.runs.findings import RepairStep
from qexplorer.plugins import Plugin
from qexplorer.progress import Steps
from qexplorer.quant.spec import QuantSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qexplorer.engine.fake_quant import FakeQuantize
    from qexplorer.engine.simulation.calibrate import Batches
    from qexplorer.engine.simulation.prepared import Prepared
    from qexplorer.engine.simulation.walk import Visit


@dataclass
class LayerTask:
    """A layer to be quantized, with what it reads and what its float twin reads.

    `layer` is that of the quantized model; `weight` are its float weights, `quantizer` the grid that its spec's
    observer chose for them. A repair may set another grid, or `chosen`, the dequantized weights in the shape of
    `weight`; without it they are rounded to nearest. `bias_shift` and `note` are for the run's figures.
    """

    name: str
    layer: "nn.Module"
    float_layer: "nn.Module"
    weight: "Tensor"
    quantizer: "FakeQuantize"
    visit: "Visit"
    input_quantizer: "FakeQuantize | None" = None
    chosen: "Tensor | None" = None
    bias_shift: float | None = None
    note: str = ""

    @property
    def inputs(self) -> "list[Tensor]":
        """What the layer computes with, a tensor a batch: quantized where its activations are."""
        from qexplorer.engine.simulation.layers import quantized_input

        fake = self.input_quantizer
        return [x if fake is None else quantized_input(self.layer, x, fake) for x in self.visit.inputs]


class Repair(Plugin):
    """One step. Those of a job are taken in their `order`, whatever the order in which they are named."""

    order: ClassVar[int]
    separator: ClassVar[str] = ":"
    """A comma stands between steps."""
    offered: ClassVar[tuple[str, ...]] = ()
    """The lists of steps that it brings to those that a job offers."""
    needs_data: ClassVar[bool] = False
    """Whether it looks at activations, so that it needs calibration samples."""
    chooses: ClassVar[str] = ""
    """`range` or `codes`: what of a layer's weights it chooses, which no other step may choose then."""

    def adapt(self, spec: QuantSpec) -> QuantSpec:
        """The spec of weights with which the step goes; a `UserError` where it cannot go with this one."""
        return spec

    def transform_model(self, model: "Prepared", recipe: Any, batches: "Batches") -> Steps[list[RepairStep]]:
        """Change the float model so that it quantizes better and computes the same; what was done, for people.

        `recipe` is the run's `Recipe`.
        """
        del model, recipe, batches
        yield from ()
        return []

    def choose(self, task: LayerTask) -> Steps[None]:
        """Choose a layer's grid, as `task.quantizer`, or the codes of its weights, as `task.chosen`."""
        del task
        yield from ()

    def after(self, task: LayerTask) -> Steps[None]:
        """Correct a layer whose weights are quantized already."""
        del task
        yield from ()


def adapted(spec: QuantSpec | None, repairs: Iterable[Repair]) -> QuantSpec | None:
    """The spec of weights with which all the repairs go; None, which is float, stays. Raises as `adapt` does."""
    if spec is not None:
        for repair in repairs:
            spec = repair.adapt(spec)
    return spec
