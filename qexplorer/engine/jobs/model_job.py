"""What every job on a model does: open it, measure it, convert it, measure what came of it, and time all together."""

import dataclasses
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexplorer.engine.datasets import Data, data_help, datasets, find_dataset, open_dataset
from qexplorer.engine.jobs import Job
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.speed import explained
from qexplorer.engine.measuring.devices import DEVICES, choose_device
from qexplorer.engine.measuring.latency import Latency, measure_latency
from qexplorer.engine.measuring.row import Measured, Variant, measure, rows_of, sha256_of, versions
from qexplorer.engine.measuring.torch_settings import default_threads, torch_settings
from qexplorer.engine.models import find_model, model_help, models
from qexplorer.engine.models.state_dict import weight_files
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.results import REAL, DataFacts, ModelFacts, RunResult
from qexplorer.engine.runs.run_spec import FloatTiming
from qexplorer.engine.simulation.float_reference import Reference, float_reference
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.settings import Choice, setting, write

if TYPE_CHECKING:
    from torch import nn

BATCH_SIZES = (1, 64)
READ, FLOAT, EVALUATED, TIMED = 0.04, 0.1, 0.15, 0.15
"""The shares of reading and of measuring the float model, and those of evaluating and timing what came of it."""
FILES = "files"
"""Where the journal has the fingerprints of what the run was begun with."""
MODELS = tuple(kind.name for kind in models)
DATA = tuple(kind.word for kind in datasets if kind.word)


def calibration_setting(n: int = 320) -> Any:
    """How many images a job calibrates on."""
    return setting(n, "Calibration samples", "Training images, chosen by the seed", minimum=1, minor=True)


@dataclass(frozen=True)
class ModelJob(Job):
    """The settings of every job on a model, and its course; a job fills in `convert`."""

    model: str = setting("mobilenet_v2_digits", "Model", model_help(), offers=("", *MODELS), browse="file",
                         empty="the open file")  # fmt: skip
    data: str = setting("digits", "Data", data_help(), offers=DATA, browse="folder")
    weights: str = setting("", "Weights file", "A file of weights; empty: those shipped with the model", browse="file",
                           empty="the model's own")  # fmt: skip
    seed: int = setting(0, "Seed", "Seed for every random choice", minimum=0, maximum=2**63 - 1, minor=True)
    limit: int = setting(0, "Test samples", "The first so many test samples; 0: all", minimum=0, minor=True,
                         empty="all")  # fmt: skip
    threads: int = setting(0, "Threads", "0: all cores but one, at least one", minimum=0, maximum=256, minor=True,
                           empty="automatic")  # fmt: skip
    device: str = setting("auto", "Device", "Where simulated models, training and evaluation run; int8 kernels are the "
                          "CPU's", choices=(Choice("auto", "Automatic"), *DEVICES[1:]), minor=True)  # fmt: skip
    timing: str = setting(
        "on", "Timing", "Whether latencies are measured", choices=(Choice("on", "On"), Choice("off", "Off")), minor=True
    )

    def int8_engine(self) -> str:
        """The int8 kernels to use; "" where the job needs none."""
        return ""

    def repair_steps(self) -> tuple[str, ...] | None:
        """The repairs that the settings name, each with its own settings; None where the job takes none."""
        return None

    def check(self) -> None:
        model = find_model(self.model)
        model.check_trust()
        model.resolve(Path(self.weights).expanduser() if self.weights else None)
        find_dataset(self.data)

    def check_read(self, model: str, data: str, journal: Journal) -> None:
        """Raise a `UserError` now where the model or the data, of these SHA-256, are not those that are needed."""

    @abstractmethod
    def convert(self, context: JobContext) -> Steps[Conversion]:
        """Make the models to compare with the float one."""
        raise NotImplementedError

    def run(self, folder: Path | None = None, journal: Journal | None = None) -> Steps[RunResult]:
        began = time.perf_counter()
        yield Progress("Starting torch", fraction=0.0)  # its import takes seconds the first time
        journal = journal or Journal()
        engine, threads = self.int8_engine(), self.threads or default_threads()
        timed = TIMED if self.timing == "on" else 0.0
        converted = 1 - EVALUATED - timed
        with torch_settings(threads, engine, self.seed), _files(folder) as files:
            module, sha256 = yield from within(self._load(), 0.0, READ / 2)
            data = yield from within(open_dataset(self.data), READ / 2, READ)
            _check_fit(module, data)
            _check_same({"weights": sha256, "data": data.sha256}, journal)
            self.check_read(sha256, data.sha256, journal)
            test = (data.x_test[: self.limit or None], data.y_test[: self.limit or None])
            first = yield from within(
                measure(Variant("fp32", REAL, "float", module), test, files, journal), READ, FLOAT
            )
            first.file.unlink()  # it was written to be weighed; the person has those weights already
            reference = (yield from within(float_reference(module, test[0]), FLOAT, FLOAT)) if timed else None
            context = JobContext(module, data, test, first, choose_device(self.device), journal, self.seed)
            made = yield from within(self.convert(context), FLOAT, converted)
            measured: list[Measured] = [first]
            for i, own in enumerate(made.variants):
                part = EVALUATED / len(made.variants)
                steps = measure(own, test, files, journal)
                measured.append((yield from within(steps, converted + i * part, converted + (i + 1) * part)))
            latencies = yield from within(self._time(measured, reference, threads), 1 - timed, 1.0)
        kept = folder is not None and len(measured) > 1
        result = RunResult(
            run_id="",
            job=self.name,
            model=ModelFacts(self.model, sum(p.numel() for p in module.parameters()), sha256),
            data=DataFacts(data.name, made.calibration_n, len(data.x_train), len(test[0]), data.sha256, data.note),
            seed=self.seed,
            settings=write(self),
            spec=dataclasses.replace(
                made.spec,
                engine=engine,
                threads=threads,
                repairs=self.repair_steps(),
                device=str(context.device),
                float_timing=reference.timing if reference else FloatTiming(),
            ),
            versions=versions(),
            seconds=time.perf_counter() - began,
            rows=rows_of(measured, latencies, threads, float_note=reference.note if reference else "", kept=kept),
            history=made.history,
            layers=made.layers,
            findings=made.findings,
            artifact=str(folder) if kept else None,
        )
        return explained(result)

    def _load(self) -> "Steps[tuple[nn.Module, str]]":
        """The module, and the SHA-256 of all that it was made of."""
        model = find_model(self.model)
        weights = model.resolve(Path(self.weights).expanduser() if self.weights else None)
        module = yield from within(model.load(weights), 0.0, 0.9)
        files = model.code_files()
        if weights is not None:
            files += yield from within(weight_files(weights), 0.9, 1.0)
        state = module.state_dict() if model.code_files() else None  # code may fetch its weights from wherever it likes
        return module, sha256_of(files, state)  # now: nobody keeps the files still until the run ends

    def _time(self, measured: list[Measured], reference: Reference | None, threads: int,
              ) -> Steps[dict[str, dict[int, Latency]]]:  # fmt: skip
        if reference is None:
            return {}
        modules = {m.variant.name: m.variant.module for m in measured} | {measured[0].variant.name: reference.module}
        shape = measured[0].shape
        # closed here and not when it is collected: it puts back torch's threads before `torch_settings` does
        return (yield from measure_latency(modules, shape, BATCH_SIZES, threads))


def _check_same(read: dict[str, str], journal: Journal) -> None:
    """Raise a `UserError` where a run that goes on finds other files than it began with; these are their SHA-256."""
    before: dict[str, str] | None = journal.get(FILES)
    if before is None:
        journal.put(FILES, read)
        return
    for kind, sha256 in read.items():
        if before[kind] != sha256:
            what = f"The {kind} are not those that the run began with: SHA-256 {sha256[:12]}, not {before[kind][:12]}."
            raise UserError(what, "Put the files back, or start a new run.", field=kind)


def _check_fit(module: "nn.Module", data: Data) -> None:
    """Raise a `UserError` where the model does not take the data's images or knows fewer classes than the labels."""
    import torch

    shape = list(data.x_test.shape[1:])
    try:
        with torch.inference_mode():
            out = module(torch.tensor(data.x_test[:2]))
    except MemoryError:
        raise
    except Exception as error:  # whatever a person's own forward raises
        reason = ": ".join(filter(None, (type(error).__name__, str(error).split("\n")[0][:160].rstrip("."))))
        what = f"The model, {type(module).__name__}, does not take images of {shape}: its forward raised {reason}."
        raise UserError(what, "Choose other data, or correct the model.", field="data") from error
    most = int(max(data.y_train.max(), data.y_test.max())) + 1
    if not isinstance(out, torch.Tensor) or out.ndim != 2 or out.shape[1] < most:
        found = list(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise UserError(f"The model does not output {most} classes: two images give {found}.",
                        "It must return one score per class.", field="model")  # fmt: skip


@contextmanager
def _files(folder: Path | None) -> Iterator[Path]:
    """The folder itself, or one that is gone afterwards."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="qexplorer-") as temporary:
        yield Path(temporary)
