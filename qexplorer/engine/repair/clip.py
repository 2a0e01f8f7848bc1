"""Clipping for the least mean squared error."""

from dataclasses import dataclass
from typing import ClassVar

from qexplorer.engine.repair import Repair, repairs
from qexplorer.errors import UserError
from qexplorer.quant.observers.mse import Mse
from qexplorer.quant.spec import QuantSpec


@repairs.register
@dataclass(frozen=True)
class MseClip(Repair):
    """The weights' observer becomes `mse`: of 100 ranges the one with the least Σe²."""

    name: ClassVar[str] = "mse_clip"
    title: ClassVar[str] = "MSE clipping"
    help: ClassVar[str] = "Chooses each weight range for the least mean squared error instead of covering all values"
    order: ClassVar[int] = 20

    def adapt(self, spec: QuantSpec) -> QuantSpec:
        if spec.applies("observer"):
            raise UserError(f"{spec.format.title} has no range that could be clipped.", "Leave MSE clipping out.",
                            field="repairs")  # fmt: skip
        return spec.adopt("observer", Mse())
