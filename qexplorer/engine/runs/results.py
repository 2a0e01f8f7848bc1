"""What a run found, as `qexplorer run --json` prints it and the run history keeps it."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from qexplorer.errors import UserError
from qexplorer.text import printable

REAL, SIMULATED = "REAL", "SIMULATED"
"""What a row's kernels did: compute in the stored type, or in float arithmetic that stands in for it."""
READ_LATENCIES = {"median", "p05", "p95"}
"""What every reader of a result takes from each of a row's latencies."""


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
    findings: dict[str, Any] = field(default_factory=dict[str, Any])
    artifact: str | None = None

    def to_json(self) -> str:
        """One JSON document in ASCII; NaN and Inf are bugs here, for JSON has none."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The value that `to_json` wrote; keys that this version does not know are left out.

        Raises `UserError` where the text is no such document: damaged, or of another version.
        """
        try:
            result: Self = _object(cls, json.loads(text), "the result")
            _check(result)
        except (ValueError, RecursionError) as error:  # json's own errors are ValueErrors
            what = f"The result of this run cannot be read: {printable(str(error))}."
            raise UserError(what, "It is damaged, or another version of this program wrote it.") from error
        return result


def _check(result: RunResult) -> None:
    """What readers rely on beyond the types of the fields; a `ValueError` says what is amiss."""
    for key, part in (("model", result.model), ("data", result.data)):
        if not isinstance(part.get("name"), str):
            raise ValueError(f"{key} has no name")
    if "calibration_n" not in result.data:
        raise ValueError("data has no calibration_n")
    if not result.rows:
        raise ValueError("it has no rows")
    for row in result.rows:
        if row.latency_ms.keys() != result.rows[0].latency_ms.keys():
            raise ValueError(f"row {row.name} has latencies of other batch sizes")
        if not all(ms.keys() >= READ_LATENCIES and ms["median"] > 0 for ms in row.latency_ms.values()):
            raise ValueError(f"row {row.name} has incomplete latencies")


def _object(cls: Any, value: Any, where: str) -> Any:
    """A dataclass from what JSON made of it; a `ValueError` names the key that is missing or of another type."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no object")
    hints = get_type_hints(cls)
    settings: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.name in value:
            settings[f.name] = _value(hints[f.name], value[f.name], f"{f.name} of {where}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks {f.name}")
    return cls(**settings)


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or (value is None and type(None) in inner):
        return value
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, where)
    if origin is UnionType:
        return _value(inner[0], value, where)
    if origin is dict and isinstance(value, dict):
        return {key: _value(inner[1], part, f"{key} in {where}") for key, part in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        if origin is tuple and inner[-1] is not Ellipsis and len(value) != len(inner):
            raise ValueError(f"{where} has {len(value)} entries, not {len(inner)}")
        return origin(_value(inner[0], part, f"entry {i} of {where}") for i, part in enumerate(value))
    return _plain(kind, value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    kinds = (int, float) if kind is float else kind
    right = get_origin(kind) is None and isinstance(value, kinds) and not isinstance(value, bool)
    if not right or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{where} is of another type")
    return value
