"""What a run found of one layer."""

from dataclasses import dataclass
from typing import Any

from qexplorer.engine.runs.sparse import Sparse


@dataclass(frozen=True)
class LayerFigures(Sparse):
    """The figures of a layer; None, or empty, where the run has no such figure.

    `row` is the row of the result that the layer is of, `spec` what it was quantized with, `layer` the layer that a
    trial, which has the `name` then, was made on. Levels are in dB and infinite where nothing differs. `bits` are those
    of a weight with scales; `mean_shift` is the share of the output's squared error that is a shift of the channels'
    means, `bias_shift` the largest correction of a bias. `scale` is 0 where the layer has none. `errors` are the
    relative errors of the model's output at each width, empty where the width is fixed.
    """

    name: str
    row: str = ""
    layer: str = ""
    shape: tuple[int, ...] = ()
    spec: str = ""
    weight_sqnr_db: float | None = None
    bits: float | None = None
    output_sqnr_db: float | None = None
    mean_shift: float | None = None
    bias_shift: float | None = None
    note: str = ""
    scale: float | None = None
    errors: tuple[float, ...] | None = None
    local_sqnr_db: float | None = None
    """Of the layer's own output with float inputs."""
    cumulative_sqnr_db: float | None = None
    """The same with all layers before it quantized."""
    output_error: float | None = None
    """The relative error of the model's output with this layer alone quantized; the next three are of that model."""
    top1: float | None = None
    top1_ci95: tuple[float, float] | None = None
    flips: int | None = None
    rest_output_sqnr_db: float | None = None
    """Of the model with all layers but this one quantized, as the next four."""
    rest_output_error: float | None = None
    rest_top1: float | None = None
    rest_top1_ci95: tuple[float, float] | None = None
    rest_flips: int | None = None
    counts: tuple[int, ...] = ()
    """How many codes of the output differ from the simulation's by 0, 1, 2, 3, and 4 or more."""
    equal: float | None = None
    """The share of codes that do not differ."""
    mean_lsb: float | None = None
    largest_lsb: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As `Sparse.to_json`, but `scale` and `errors` are null where there is no scale, or no choice of widths."""
        own = super().to_json()
        own |= {"scale": None} if self.scale == 0 else {}
        return own | ({"errors": None} if self.errors == () else {})
