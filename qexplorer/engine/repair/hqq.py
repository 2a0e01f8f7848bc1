"""Half-quadratic quantization of weights."""

from dataclasses import dataclass
from typing import ClassVar

from qexplorer.engine.repair import repairs
from qexplorer.engine.simulation.repair_step import Repair
from qexplorer.errors import UserError
from qexplorer.quant.observers.hqq import Hqq as HqqObserver
from qexplorer.quant.spec import QuantSpec


@repairs.register
@dataclass(frozen=True)
class HalfQuadratic(Repair):
    """The weights get a float zero point that minimizes a sparse norm of the error (Badri and Shaji 2023)."""

    name: ClassVar[str] = "hqq"
    title: ClassVar[str] = "HQQ"
    help: ClassVar[str] = "Float zero points from half-quadratic optimization: no data, seconds"
    order: ClassVar[int] = 22
    chooses: ClassVar[str] = "range"

    def adapt(self, spec: QuantSpec) -> QuantSpec:
        if "scheme" not in spec.format.applies:
            raise UserError(f"HQQ is for integers; {spec.format.title} {spec.format.kind}.", "Leave HQQ out.",
                            field="repairs")  # fmt: skip
        return spec.adopt("scheme", "affine_float").adopt("observer", HqqObserver())
