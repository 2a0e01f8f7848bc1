"""What a run found, as `qexplorer run --json` prints it and the run history keeps it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from qexplorer.engine.runs.curve_points import CurvePoint
from qexplorer.engine.runs.decode import decoded
from qexplorer.engine.runs.findings import Findings
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.errors import UserError
from qexplorer.settings import read, write
from qexplorer.text import printable

VERSION = 2
"""1, which is not written down, had no `settings`: they were part of `spec`."""
REAL, SIMULATED = "REAL", "SIMULATED"
"""What a row's kernels did: compute in the stored type, or in float arithmetic that stands in for it."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one batch: the median and the 5th and 95th percentile of `runs` runs."""

    median: float
    p05: float
    p95: float
    runs: int = 0


@dataclass(frozen=True)
class Row:
    """One model of a run. Sizes in bytes, `top1` and `top5` as fractions of `n`, `latency_ms` per batch size.

    `kind` is REAL where the kernels computed in the stored type and SIMULATED where float arithmetic stood in;
    `flips` counts the test predictions that differ from the float model's; `latency_ms` has the batch sizes "1" and
    "64"; `note` says in a sentence what one might not expect, and is else empty.
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
    latency_ms: Mapping[str, Latency]
    threads: int
    note: str = ""
    artifact: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """The model as it was asked for, the number of its parameters and the SHA-256 of all that it was made of."""

    name: str
    params: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class DataFacts:
    """The data set, how many of its samples there are for training and testing and how many were calibrated on, and
    its SHA-256.
    """

    name: str
    calibration_n: int
    train_n: int | None = None
    test_n: int = 0
    sha256: str = ""
    note: str = ""


@dataclass(frozen=True)
class RunResult:
    """A whole run; `rows[0]` is the float model, measured in the same run. `artifact` is the folder of its files.

    `settings` are those of the job, as it was asked for; `spec` is what was done.
    """

    run_id: str
    job: str
    model: ModelFacts
    data: DataFacts
    seed: int
    settings: Mapping[str, Any]
    spec: RunSpec
    versions: Mapping[str, str]
    seconds: float
    rows: tuple[Row, ...]
    history: tuple[CurvePoint, ...] = ()
    layers: tuple[LayerFigures, ...] = ()
    findings: Findings | None = None
    artifact: str | None = None
    version: int = field(default=VERSION, compare=False)

    def document(self) -> dict[str, Any]:
        """As JSON has it: `spec` is what was done over what was asked for."""
        own = write(self)
        return {**own, "spec": {**own["settings"], **own["spec"]}, "findings": own["findings"] or {}}

    def to_json(self) -> str:
        """One JSON document in ASCII; NaN and infinite numbers are bugs here, for JSON has none."""
        return json.dumps(self.document(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The value that `to_json` wrote, in this version or an older one; keys that are not known are left out.

        Raises `UserError` where the text is no such document: damaged, or of another version.
        """
        try:
            result = read(cls, decoded(json.loads(text)), "the result")
            _check(result)
        except (ValueError, RecursionError, UserError) as error:  # json's own errors are ValueErrors
            why = error.what if isinstance(error, UserError) else str(error)
            what = f"The result of this run cannot be read: {printable(why.rstrip('.'))}."
            raise UserError(what, "It is damaged, or another version of this program wrote it.") from error
        return result


def _check(result: RunResult) -> None:
    """What readers rely on beyond the types of the fields; a `ValueError` says what is amiss."""
    if not result.rows:
        raise ValueError("it has no rows")
    for row in result.rows:
        if row.latency_ms.keys() != result.rows[0].latency_ms.keys():
            raise ValueError(f"row {row.name} has latencies of other batch sizes")
        if not all(ms.median > 0 for ms in row.latency_ms.values()):
            raise ValueError(f"row {row.name} has a latency of no time")
