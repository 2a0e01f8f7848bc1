"""One model of a run, measured: size, accuracy, and the row that says both."""

import hashlib
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import qexplorer
from qexplorer.engine.measuring.evaluate import Evaluation, evaluate
from qexplorer.engine.measuring.processor import instruction_sets
from qexplorer.engine.models.state_dict import theoretical_bytes
from qexplorer.engine.runs.artifacts import save_state
from qexplorer.engine.runs.journal import EVALUATED, Journal
from qexplorer.engine.runs.results import Latency, Row
from qexplorer.errors import UserError
from qexplorer.folders import inside
from qexplorer.progress import Steps
from qexplorer.text import printable

if TYPE_CHECKING:
    from torch import nn

Test = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Test images [N, C, H, W] and their labels [N]."""


@dataclass(frozen=True)
class Variant:
    """A model of a run: `kind` as in `Row`, `engine` its kernels.

    `bytes_theoretical` is what its numbers take where `module` holds stand-ins for them; `note` says in a sentence what
    one might not expect of it.
    """

    name: str
    kind: str
    engine: str
    module: "nn.Module"
    bytes_theoretical: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """A model with what was measured of it; sizes in bytes."""

    variant: Variant
    file: Path
    bytes_theoretical: int
    bytes_on_disk: int
    evaluation: Evaluation
    shape: tuple[int, ...]
    """That of one test image."""


def measure(variant: Variant, test: Test, folder: Path, journal: Journal) -> Steps[Measured]:
    """Save the model under `folder` as `NAME.pt`, and evaluate it on the test images and labels."""
    file = inside(folder, f"{variant.name}.pt")
    state = variant.module.state_dict()
    saved = save_state(state, file)
    evaluation = yield from evaluated(variant.name, variant.module, test, journal)
    size = theoretical_bytes(state) if variant.bytes_theoretical is None else variant.bytes_theoretical
    return Measured(variant, file, size, saved, evaluation, test[0].shape[1:])


def evaluated(name: str, module: "nn.Module", test: Test, journal: Journal) -> Steps[Evaluation]:
    """Evaluate a module on test images and labels, unless the journal has it under that name."""
    found = journal.get(EVALUATED + name)
    with suppress(TypeError, KeyError, ValueError, OverflowError):  # not done, or damaged
        return Evaluation(found["top1"], found["top5"], found["n"], np.array(found["predictions"], np.int64))
    e = yield from evaluate(module, *test)
    entry = {
        "top1": e.top1,
        "top5": e.top5,
        "n": e.n,
        "predictions": e.predictions.tolist(),
        "labels": test[1].tolist(),
    }
    journal.put(EVALUATED + name, entry)
    return e


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
    reference = measured[0]
    rows: list[Row] = []
    for m in measured:
        e, name = m.evaluation, m.variant.name
        row = Row(
            name=name,
            kind=m.variant.kind,
            engine=m.variant.engine,
            bytes_theoretical=m.bytes_theoretical,
            bytes_on_disk=m.bytes_on_disk,
            top1=e.top1,
            top1_ci95=e.ci95,
            top5=e.top5,
            n=e.n,
            flips=int((e.predictions != reference.evaluation.predictions).sum()),
            latency_ms={str(size): each for size, each in latencies.get(name, {}).items()},
            threads=threads,
            note=float_note if m is reference else m.variant.note,
            artifact=str(m.file) if kept and m is not reference else None,
        )
        rows.append(row)
    return tuple(rows)


def sha256_of(files: Iterable[Path], state: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of files, one after the other, and of the numbers of a `state` dict. Raises `UserError` where a file
    cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{printable(str(path))} cannot be read: {error.strerror}.", field="weights") from error
    for name, value in (state or {}).items():
        digest.update(name.encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(value: Any) -> bytes:
    import torch

    plain = isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_quantized
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if plain else b""


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
        "isa": instruction_sets(),
    }
