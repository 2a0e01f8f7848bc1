"""What a run found, as `qexplorer run --json` prints it and the run history keeps it."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Self

NO_FASTER = 1.1
"""A model that is not at least this many times as fast as the float one is said to be no faster."""


@dataclass(frozen=True)
class Row:
    """One model of a run. Sizes in bytes, `top1` and `top5` as fractions of `n`, `latency_ms` per batch size.

    `kind` is REAL where the kernels computed in the stored type and SIMULATED where float arithmetic stood in;
    `flips` counts the test predictions that differ from the float model's; `latency_ms` maps "1" and "64" to
    {"median", "p05", "p95", "runs"}; `note` says in a sentence what one might not expect, and is else empty.
    """

    name: str
    kind: str
    engine: str
    bytes_theoretical: int
    bytes_on_disk: int
    top1: float
    top1_ci95: tuple[float, float]
    top5: float
    n: int
    flips: int
    latency_ms: dict[str, dict[str, float]]
    threads: int
    note: str = ""
    artifact: str | None = None


@dataclass(frozen=True)
class RunResult:
    """A whole run; `rows[0]` is the float model, measured in the same run. `artifact` is the folder of its files."""

    run_id: str
    job: str
    model: dict[str, Any]
    data: dict[str, Any]
    seed: int
    spec: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    rows: tuple[Row, ...]
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    layers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    artifact: str | None = None

    def to_json(self) -> str:
        """One JSON document; NaN and Inf are bugs here, for JSON has none."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The value that `to_json` wrote; keys that this version does not know are left out."""
        values = _known(cls, json.loads(text))
        rows = tuple(Row(**{**_known(Row, row), "top1_ci95": tuple(row["top1_ci95"])}) for row in values["rows"])
        return cls(**{**values, "rows": rows})


def speed_note(float_ms: dict[str, dict[str, float]], own_ms: dict[str, dict[str, float]]) -> str:
    """Why a model is no faster than the float one at some batch size, from the measured medians; else empty."""
    parts: list[str] = []
    for batch, own in own_ms.items():
        ratio = float_ms[batch]["median"] / own["median"]
        if ratio >= NO_FASTER:
            continue
        why = (
            "the fixed cost of calling each layer outweighs the arithmetic saved"
            if batch == "1"
            else "this engine's int8 kernels gain nothing here over float ones"
        )
        parts.append(f"Batch {batch} is no faster ({ratio:.2f} times the float model's speed): {why}.")
    return " ".join(parts)


def _known(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(cls)}
    return {name: value for name, value in values.items() if name in names}
