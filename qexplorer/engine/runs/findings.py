"""What runs find beside figures of rows and layers: each kind of job has its own."""

from dataclasses import dataclass
from typing import Any

from qexplorer.engine.runs.sparse import Sparse
from qexplorer.presentation import FrontPoint
from qexplorer.settings import write


@dataclass(frozen=True)
class RepairStep(Sparse):
    """What a repair did to a layer before any was rounded, or a `note` why it did nothing.

    `before` is the layer that reads this one. A spread is the largest range of a channel over the median one.
    """

    repair: str
    name: str = ""
    before: str = ""
    channel_spread: float | None = None
    channel_spread_after: float | None = None
    activation_spread: float | None = None
    activation_spread_after: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Repaired:
    """What repairs did to the float model, or which of those that were tried were not possible."""

    repairs: tuple[RepairStep, ...]


@dataclass(frozen=True)
class Front:
    """Sizes against errors, the smallest first, the place of the `chosen` one, and the layers whose bits were fixed."""

    front: tuple[FrontPoint, ...]
    chosen: int
    overrides: str = ""
    target: str = ""
    locked: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `settings.read` takes; accuracies that were not measured are left out."""
        own = write(self)
        points = [{name: value for name, value in point.items() if value is not None} for point in own["front"]]
        return {**own, "front": points}


@dataclass(frozen=True)
class Swaps:
    """How layers were swapped one at a time: on how many samples their own outputs were compared, and which way the
    layers are ranked, `alone` or `rest`.
    """

    local_samples: int
    ranked_by: str


@dataclass(frozen=True)
class CodeAgreement:
    """Codes of int8 kernels beside those of the simulation: how many `outputs`, and the share that is `equal`."""

    compared_samples: int
    outputs: int
    equal: float
    largest_lsb: int


@dataclass(frozen=True)
class Footprint:
    """The bytes of activations that a training step holds at once, measured and by formula, and its seconds."""

    measured_bytes: int
    seconds: float
    formula_bytes: int


@dataclass(frozen=True)
class TrainingMemory:
    """A training step of `batch` images without gradient checkpointing and with it."""

    batch: int
    off: Footprint
    on: Footprint


@dataclass(frozen=True)
class EarlierRun:
    """The run that training went on from: its simulated row and how good that was; its seed; SHA-256 of the weights
    and of the data, which have to be the same.
    """

    run_id: str
    job: str
    row: str
    top1: float
    seed: int
    model: str
    data: str


@dataclass(frozen=True)
class TrainingFindings:
    """What a step takes, None where it was not measured; sentences where training ended early, and where it made the
    model worse; the run that it went on from.
    """

    training_memory: TrainingMemory | None
    stopped: str = ""
    worse: str = ""
    start: EarlierRun | None = None


Findings = Repaired | Front | Swaps | CodeAgreement | TrainingFindings
