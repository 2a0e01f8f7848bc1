"""What was done, where the settings say what was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qexplorer.engine.runs.sparse import Sparse


@dataclass(frozen=True)
class ObserverFacts:
    """What an observer of the kernels' library says of itself."""

    observer: str
    dtype: str
    scheme: str
    quant_min: int
    quant_max: int


@dataclass(frozen=True)
class KernelSpec(Sparse):
    """How int8 kernels were given weights and activations, in words where the library has no observers; and the specs
    of the layers that have others.
    """

    weights: ObserverFacts | str
    activations: ObserverFacts | str
    layers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class FloatTiming(Sparse):
    """The form in which the float model was timed, and how far its outputs differed at most on how many images."""

    form: str = ""
    max_difference: float | None = None
    compared_n: int | None = None


@dataclass(frozen=True)
class RunSpec(Sparse):
    """What settings were resolved to: int8 kernels, torch's threads, the device of simulations; the rest is empty, or
    None, in runs that have no such thing.

    `presets` are by their rows, `preset` that of a comparison, `int8` that of a trained model. `layers` maps patterns
    to specs. `repairs` are the steps that were taken. `folded` counts the norms that went into layers; `traced` says
    whether the model has a graph. `chosen` are the places of calibration samples. `widths` are the specs that a layer
    could get, `kept` the layers that a cast left float, `layer` the one that was looked at.
    """

    engine: str = ""
    threads: int = 0
    device: str = ""
    float_timing: FloatTiming = field(default_factory=FloatTiming)
    presets: Mapping[str, KernelSpec] | None = None
    preset: KernelSpec | None = None
    int8: KernelSpec | None = None
    dynamic: KernelSpec | None = None
    layers: Mapping[str, str] = field(default_factory=dict[str, str])
    repairs: tuple[str, ...] | None = None
    traced: bool | None = None
    folded: int | None = None
    average_bits: float | None = None
    kept: tuple[str, ...] | None = None
    widths: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()
    layer: str = ""
    worker: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> dict[str, Any]:
        """As `Sparse` has it, and always what every run has."""
        every = {"engine": self.engine, "threads": self.threads, "device": self.device}
        return {**every, "float_timing": self.float_timing.to_json(), **super().to_json()}
