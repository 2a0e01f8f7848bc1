"""What every job on a model does: open it, measure it, convert it, measure what came of it, and time all together."""

import dataclasses
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexplorer.engine.backends import backends
from qexplorer.engine.datasets import Data, find_dataset, open_dataset
from qexplorer.engine.float_reference import float_reference
from qexplorer.engine.jobs import Job, setting
from qexplorer.engine.latency import measure_latency
from qexplorer.engine.measure import Measured, measure, rows_of, sha256_of, versions
from qexplorer.engine.models import models
from qexplorer.engine.results import REAL, RunResult
from qexplorer.engine.state_dict import weight_files
from qexplorer.engine.torch_settings import default_threads, torch_settings
from qexplorer.progress import Progress, Steps, within

if TYPE_CHECKING:
    from torch import nn

BACKEND = backends["graph_mode"]
BATCH_SIZES = (1, 64)
READ, FLOAT, CONVERTED, EVALUATED = 0.04, 0.15, 0.6, 0.7
"""Where each part ends, as fractions of the whole; timing is the rest."""


@dataclass(frozen=True)
class Conversion:
    """What a job made of a float module: modules by row name, what its settings resolved to, figures per layer.

    `kind` is that of the modules, as in `Row`.
    """

    modules: "Mapping[str, nn.Module]" = field(default_factory=dict[str, "nn.Module"])
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])
    layers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    calibration_n: int = 0
    kind: str = REAL


@dataclass(frozen=True)
class ModelJob(Job):
    """The settings of every job on a model, and its course; a job fills in `convert`."""

    model: str = setting("mobilenet_v2_digits", "Model", "The float model", choices=tuple(m.name for m in models))
    data: str = setting("digits", "Data", "“digits” or a folder with the four MNIST IDX files", browse="folder")
    weights: str = setting("", "Weights", "A file of weights; empty: those shipped with the model", browse="file")
    seed: int = setting(0, "Seed", "Decides all that is left to chance", minimum=0, maximum=2**63 - 1, minor=True)
    limit: int = setting(0, "Test samples", "The first so many test samples; 0: all", minimum=0, minor=True)
    threads: int = setting(0, "Threads", "0: all cores but one, at least one", minimum=0, maximum=256, minor=True)

    def int8_engine(self) -> str:
        """The int8 kernels to use; "" where the job needs none."""
        return ""

    def check(self) -> None:
        models[self.model]().resolve(Path(self.weights).expanduser() if self.weights else None)
        find_dataset(self.data)

    @abstractmethod
    def convert(self, module: "nn.Module", data: Data) -> Steps[Conversion]:
        """Make the models to compare with the float `module`, which is left as it is."""
        raise NotImplementedError

    def run(self, folder: Path | None = None) -> Steps[RunResult]:
        began = time.perf_counter()
        yield Progress("Starting torch", fraction=0.0)  # its import takes seconds the first time
        engine, threads = self.int8_engine(), self.threads or default_threads()
        model = models[self.model]()
        weights = model.resolve(Path(self.weights).expanduser() if self.weights else None)
        with torch_settings(threads, engine, self.seed), _files(folder) as files:
            module = yield from within(model.load(weights), 0.0, READ / 2)
            files_read = yield from within(weight_files(weights), READ / 2, READ / 2)
            sha256 = sha256_of(files_read)  # now: nobody keeps the file still until the run ends
            data = yield from within(open_dataset(self.data), READ / 2, READ)
            test = (data.x_test[: self.limit or None], data.y_test[: self.limit or None])
            first = yield from within(measure("fp32", REAL, "float", module, test, files), READ, FLOAT)
            first.file.unlink()  # it was written to be weighed; the person has those weights already
            reference = yield from within(float_reference(module, BACKEND(), test[0]), FLOAT, FLOAT)
            made = yield from within(self.convert(module, data), FLOAT, CONVERTED)
            measured: list[Measured] = [first]
            for i, (name, own) in enumerate(made.modules.items()):
                part = (EVALUATED - CONVERTED) / len(made.modules)
                steps = measure(name, made.kind, engine, own, test, files)
                measured.append((yield from within(steps, CONVERTED + i * part, CONVERTED + (i + 1) * part)))
            modules = {m.name: m.module for m in measured} | {first.name: reference.module}
            # closed here and not when it is collected: it puts back torch's threads before `torch_settings` does
            steps = measure_latency(modules, model.input_shape, BATCH_SIZES, threads)
            latencies = yield from within(steps, EVALUATED, 1.0)
        n = sum(p.numel() for p in module.parameters())
        resolved = {"engine": engine, "threads": threads, "float_timing": reference.spec, **made.spec}
        kept = folder is not None and len(measured) > 1
        return RunResult(
            run_id="",
            job=self.name,
            model={"name": self.model, "params": n, "sha256": sha256},
            data={
                "name": data.name,
                "train_n": len(data.x_train),
                "calibration_n": made.calibration_n,
                "test_n": len(test[0]),
                "sha256": data.sha256,
            },
            seed=self.seed,
            spec={**dataclasses.asdict(self), **resolved},
            versions=versions(),
            seconds=time.perf_counter() - began,
            rows=rows_of(measured, latencies, threads, float_note=reference.note, kept=kept),
            layers=made.layers,
            artifact=str(folder) if kept else None,
        )


@contextmanager
def _files(folder: Path | None) -> Iterator[Path]:
    """The folder itself, or one that is gone afterwards."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="qexplorer-") as temporary:
        yield Path(temporary)
