"""What a model takes beside the bits that are chosen for its layers."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qexplorer.engine.jobs.knapsack import Choice
from qexplorer.engine.models.state_dict import theoretical_bytes
from qexplorer.presentation import FrontPoint
from qexplorer.quant.spec import QuantSpec

if TYPE_CHECKING:
    from torch import Tensor

    from qexplorer.engine.simulation.prepared import Prepared
    from qexplorer.engine.simulation.simulate import Simulated
    from qexplorer.quant.recipe import Recipe


@dataclass(frozen=True)
class ModelSizes:
    """What the model takes beside the choice, in bits: its `fixed` layers, and the `rest`, which is no layer's weights;
    and how many `weights` its layers have.
    """

    prepared: "Prepared"
    fixed: int
    rest: int
    weights: int

    @classmethod
    def of(cls, prepared: "Prepared", recipe: "Recipe", locked: list[str]) -> "ModelSizes":
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
        from qexplorer.engine.simulation.layers import kind_of, layer_bits

        layer = self.prepared.layers[name]
        return layer_bits(self.weight(layer), spec and spec.for_kind(kind_of(layer)))

    def measured(self, made: "Simulated", choice: Choice) -> "ModelSizes":
        """With the rest that a model of that choice really has."""
        return replace(self, rest=8 * made.bytes_theoretical - self.fixed - choice.size)

    def point(self, choice: Choice, overrides: str, *, chosen: bool) -> FrontPoint:
        """A choice as a point of the front: the bytes of the whole model, the average bits of a weight."""
        bits = choice.size + self.fixed
        return FrontPoint(-(-(bits + self.rest) // 8), bits / self.weights, choice.error,
                          overrides=overrides, chosen=chosen)  # fmt: skip

    def taken(self, target: str) -> int:
        """What a target leaves nothing of for the choice: one in bits is about weights alone."""
        return self.fixed + (0 if "bit" in target else self.rest)
