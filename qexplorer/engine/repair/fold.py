"""Batch norm folding."""

from dataclasses import dataclass
from typing import ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.simulation.repair_step import Repair


@repairs.register
@dataclass(frozen=True)
class Fold(Repair):
    """W' = W·γ/√(σ² + ε), b' = β + (b − μ)·γ/√(σ² + ε) (Jacob et al. 2018, section 3.2). Done when the model is traced.

    Without it a batch norm stays a float step of its own, and it is the bare convolution that is quantized.
    """

    name: ClassVar[str] = "fold"
    title: ClassVar[str] = "Fold batch norm"
    help: ClassVar[str] = "Puts batch norm into the convolution before it, as int8 kernels need it"
    order: ClassVar[int] = 0
    offered: ClassVar[tuple[str, ...]] = ("fold",)
