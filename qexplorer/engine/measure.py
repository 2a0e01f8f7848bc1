"""One model of a run, measured: size, accuracy, and the row that says both."""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import qexplorer
from qexplorer.engine.artifacts import save_state
from qexplorer.engine.evaluate import Evaluation, evaluate, wilson_interval
from qexplorer.engine.latency import Latency
from qexplorer.engine.results import Row, speed_note
from qexplorer.engine.state_dict import theoretical_bytes
from qexplorer.errors import UserError
from qexplorer.progress import Steps
from qexplorer.weights.text import shown

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Measured:
    """A module with what was measured of it; sizes in bytes, `kind` as in `Row`."""

    name: str
    kind: str
    engine: str
    module: "nn.Module"
    file: Path
    bytes_theoretical: int
    bytes_on_disk: int
    evaluation: Evaluation


def measure(
    name: str,
    kind: str,
    engine: str,
    module: "nn.Module",
    test: tuple[NDArray[np.float32], NDArray[np.int64]],
    folder: Path,
) -> Steps[Measured]:
    """Save the module under `folder` as `name.pt`, and evaluate it on the test images and labels."""
    file = folder / f"{name}.pt"
    state = module.state_dict()
    saved = save_state(state, file)
    evaluation = yield from evaluate(module, *test)
    return Measured(name, kind, engine, module, file, theoretical_bytes(state), saved, evaluation)


def rows_of(
    measured: list[Measured],
    latencies: Mapping[str, Mapping[int, Latency]],
    threads: int,
    *,
    float_note: str,
    kept: bool,
) -> tuple[Row, ...]:
    """The rows of a run; `measured[0]` is the float model, which `float_note` explains.

    `kept` says whether the others' files stay.
    """
    ms = {
        name: {
            str(size): {"median": t.median, "p05": t.p05, "p95": t.p95, "runs": t.runs} for size, t in by_size.items()
        }
        for name, by_size in latencies.items()
    }
    reference = measured[0]
    rows: list[Row] = []
    for m in measured:
        e = m.evaluation
        row = Row(
            name=m.name,
            kind=m.kind,
            engine=m.engine,
            bytes_theoretical=m.bytes_theoretical,
            bytes_on_disk=m.bytes_on_disk,
            top1=e.top1,
            top1_ci95=wilson_interval(round(e.top1 * e.n), e.n),
            top5=e.top5,
            n=e.n,
            flips=int((e.predictions != reference.evaluation.predictions).sum()),
            latency_ms=ms[m.name],
            threads=threads,
            note=speed_note(ms[reference.name], ms[m.name]) if m is not reference else float_note,
            artifact=str(m.file) if kept and m is not reference else None,
        )
        rows.append(row)
    return tuple(rows)


def sha256_of(files: Iterable[Path]) -> str:
    """SHA-256 of files, one after the other. Raises `UserError` where one cannot be read."""
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{shown(str(path))} cannot be read: {error.strerror}.", field="weights") from error
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """What the figures depend on besides the settings."""
    import torch

    return {
        "qexplorer": qexplorer.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
