"""Quantization-aware training."""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from qexplorer.engine.backends import BACKEND, choose_engine
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.presentation import Presentation, presentation_of
from qexplorer.engine.jobs.real_overrides import OFFERED, float_note, real_recipe, real_weights
from qexplorer.engine.jobs.simulated_job import ACTIVATION_SPECS, ON_DISK, SPEC_HELP, WEIGHT_SPECS, SimulatedJob
from qexplorer.engine.jobs.starts import TAKEN, check_same, earlier_run, enter, offers, settled
from qexplorer.engine.jobs.training_memory import memory_remark, places_of, training_memory
from qexplorer.engine.measuring.row import Variant
from qexplorer.engine.qat.schedule import Schedule
from qexplorer.engine.runs.findings import TrainingFindings
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import SIMULATED, RunResult
from qexplorer.engine.runs.run_spec import KernelSpec, RunSpec
from qexplorer.errors import UserError
from qexplorer.numbers import percent
from qexplorer.progress import Steps, within
from qexplorer.quant.layer_kinds import LINEAR
from qexplorer.quant.lsq import lsq_refusal
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import Choice, setting

if TYPE_CHECKING:
    from qexplorer.engine.measuring.row import Test
    from qexplorer.engine.qat.model import QatModel
    from qexplorer.engine.qat.train import Trainer

VALIDATION, MOST_VALIDATION = 0.1, 1000
"""The share of the training samples that the best epoch is chosen by, and their greatest number."""
STARTED, TRAINED = 0.1, 0.92
METHODS = {"ste": False, "lsq": True}
STARTS = ("float", "ptq")
"""What training starts from; any other word is the id of a run."""


@jobs.register
@dataclass(frozen=True)
class Qat(SimulatedJob):
    """Train on with fake quantization of weights and activations, straight-through or with learned scales (LSQ)."""

    weight_spec: str = setting("int4 channel mse", "Weight spec", SPEC_HELP, offers=WEIGHT_SPECS)
    activation_spec: str = setting(
        "uint8 affine mse", "Activation spec", "What each layer reads", offers=ACTIVATION_SPECS
    )
    epochs: int = setting(3, "Epochs", "Passes over the training samples", minimum=1, maximum=10_000)
    rate: float = setting(5e-4, "Learning rate", "The greatest; it rises at first, then follows a cosine to 0")
    method: str = setting("ste", "Gradient", "ste: straight-through. lsq: scales are learned too",
                          choices=(Choice("ste", "Straight-through"), Choice("lsq", "LSQ")))  # fmt: skip
    start: str = setting("float", "Start from", "float; ptq: what PTQ by these settings gives; or the id of a run of "
                         "ptq-static or weight-only: its specs, repairs and calibration are taken, others refused",
                         offers=STARTS, wide=True)  # fmt: skip
    batch: int = setting(64, "Batch", "Images a step", minimum=2, maximum=65_536, minor=True)
    teacher: str = setting("float", "Teacher", "float: half of the loss is the distance to the float model's outputs",
                           choices=(Choice("float", "Float model"), Choice("none", "None")), minor=True)  # fmt: skip
    observers_until: int = setting(2, "Ranges until", "The epoch from which on ranges stay", minimum=0, minor=True)
    norms_until: int = setting(
        1, "Batch norm until", "The epoch from which on its statistics stay", minimum=0, minor=True
    )
    checkpointing: str = setting("off", "Checkpointing", "on: keep fewer activations and compute them twice",
                                 choices=(Choice("off", "Off"), Choice("on", "On")), minor=True)  # fmt: skip

    name: ClassVar[str] = "qat"
    title: ClassVar[str] = "QAT"
    help: ClassVar[str] = "Train on with fake quantization, then convert to int8 where possible"
    order: ClassVar[int] = 45
    required: ClassVar[str] = "weight_spec"
    reported: ClassVar[tuple[str, ...]] = (*SimulatedJob.reported, "epochs", "rate", "start")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rate < 10:
            raise UserError(f"The learning rate cannot be {self.rate:g}.", "Take 0.0001 to 0.1.", field="rate")
        if not self.start.strip():
            raise UserError("Choose what training starts from.", "Write float, ptq or the id of a run.", field="start")
        self._check_lsq()

    @classmethod
    def present(cls, result: RunResult) -> Presentation:
        shown, found = presentation_of(result), result.findings
        return replace(shown, remarks=tuple(_remarks(found))) if isinstance(found, TrainingFindings) else shown

    @property
    def taken(self) -> tuple[str, ...]:
        return () if self.start in STARTS else TAKEN

    @property
    def taken_from(self) -> str:
        return "" if self.start in STARTS else self.start

    def offered(self, name: str, history: History) -> Mapping[str, str] | None:
        return offers(self, history) if name == "start" else None

    def settled(self, history: History) -> Self:
        return self if self.start in STARTS else replace(self, **settled(self, self.start, history))

    def begin(self, history: History, journal: Journal) -> None:
        if self.start not in STARTS:
            enter(self.start, history, journal)

    def check_read(self, model: str, data: str, journal: Journal) -> None:
        """Where training goes on from a run, that has to be a run of this model and these data."""
        if self.start not in STARTS:
            check_same(self.start, model, data, journal)

    def _check_lsq(self) -> None:
        if not METHODS[self.method]:
            return
        recipe = self.recipe()
        for spec in recipe.specs:
            for own, field in ((spec.weights, "weight_spec"), (spec.activations, "activation_spec")):
                refusal = lsq_refusal(own) if own is not None else ""
                if refusal:
                    raise UserError(refusal, "Take the straight-through gradient.", field=field)

    @property
    def real(self) -> bool:
        """Whether there are int8 kernels for these specs."""
        every = self.recipe().every
        names = [spec.format.name for spec in (every.weights, every.activations) if spec is not None]
        try:
            real_recipe(self.overrides)
        except UserError:
            return False
        return names in (["int8", "uint8"], ["int8", "int8"])

    def int8_engine(self) -> str:
        return choose_engine("auto") if self.real else ""

    def convert(self, context: JobContext) -> Steps[Conversion]:
        start = earlier_run(context.journal)
        if start is not None:
            context = replace(context, seed=start.seed)  # by which calibration samples are chosen
        model = yield from within(self._begun(context), 0.0, STARTED)
        source = model.prepared
        trainer, notes = self._trainer(model, context)
        memory = training_memory(trainer, context.journal)
        training = yield from within(trainer.run(), STARTED, TRAINED)
        every = self.recipe().every
        bytes_theoretical, average = model.sizes()
        name = f"qat-{self.row_name}"
        origin = f"Trained on from the run {self.start}." if start else ""
        spec = RunSpec(layers=self.recipe().texts, traced=source.traced, average_bits=average)
        real: list[Variant] = []
        try:
            if self.real:
                int8, kernels = yield from within(self._int8(model, context), TRAINED, 1.0)
                real.append(int8)
                spec = replace(spec, int8=kernels)
        except UserError as error:  # what was trained is kept
            notes.append(f"Not converted to int8 kernels: {error.what}")
        said = " ".join(filter(None, (origin, training.note, *notes, source.note, ON_DISK)))
        made = [Variant(name, SIMULATED, str(context.device), model.module, bytes_theoretical, said), *real]
        findings = TrainingFindings(memory, training.stopped, training.worse, start)
        scales = model.scales()
        layers = tuple(LayerFigures(n, name, shape=tuple(layer.layer.weight.shape), scale=scales.get(n, 0.0))
                       for n, layer in model.layers.items())  # fmt: skip
        n = sum(map(len, trainer.batches)) if every.activations is not None else 0
        return Conversion(tuple(made), spec, layers, n, training.points, findings)

    def _begun(self, context: JobContext) -> "Steps[QatModel]":
        """The model to train: the float one, its batch norm in its layers; or what PTQ with these settings gives."""
        from qexplorer.engine.qat.model import qat_model, qat_model_from
        from qexplorer.engine.simulation.prepared import prepare
        from qexplorer.engine.simulation.simulate import simulate

        learn = METHODS[self.method]
        if self.start == "float":
            source = context.prepared(fold=False)
            folds = prepare(context.module, context.example).folded > 0  # not where the outputs would be others
            return qat_model(source, self.recipe(), learn=learn, fold=folds)
        plan = self.plan(context)
        made = yield from simulate(self.prepared(context), plan, context.journal, "start")
        return qat_model_from(made, plan, learn=learn)

    def _trainer(self, model: "QatModel", context: JobContext) -> "tuple[Trainer, list[str]]":
        from qexplorer.engine.qat.memory import Checkpointed
        from qexplorer.engine.qat.train import Trainer

        train, validation = _split(context, self.seed)
        schedule = Schedule(self.epochs, self.batch, self.rate, self.observers_until, self.norms_until, self.seed)
        teacher = copy.deepcopy(context.module).to(context.device) if self.teacher == "float" else None
        forward, notes = None, []
        if self.checkpointing == "on" and model.prepared.traced:
            forward = Checkpointed(model.prepared, places_of(model))
        elif self.checkpointing == "on":
            notes.append("Gradient checkpointing needs a traced model; it was left out.")
        batches = context.batches(self.calibration)
        return Trainer(model, schedule, train, validation, batches, context.journal, teacher, forward), notes

    def _int8(self, model: "QatModel", context: JobContext) -> Steps[tuple[Variant, KernelSpec]]:
        """The trained weights in int8 kernels, whose activations are calibrated anew, and what those are."""
        from qexplorer.engine.simulation.prepared import TRANSPOSED

        every = self.recipe().every
        assert every.weights is not None  # noqa: S101  it is `real`
        per_channel = every.weights.granularity.per_channel
        preset, nearest = ("x86", "int8 channel:0") if per_channel else ("pytorch_default", "int8")
        asked = every.weights.for_kind(LINEAR)
        usual = asked if asked in OFFERED else QuantSpec.parse(nearest)
        plain = model.plain().module.to("cpu")
        named = [name for name, layer in model.layers.items() if not isinstance(layer.layer, TRANSPOSED)]
        weights = {**dict.fromkeys(named, usual), **real_weights(self.overrides, context)}
        real = yield from BACKEND().quantize(plain, preset, context.batches(self.calibration), weights)
        least = min((layer.weight_sqnr_db or 0.0 for layer in real.layers), default=math.inf)
        same = "The trained weights" if least == math.inf else f"Weights rounded again, to {least:.1f} dB or more"
        note = f"{same}; activation ranges are calibrated anew."
        said = " ".join(filter(None, (note, float_note(real.kept))))
        return Variant("qat-int8", BACKEND.kind, self.int8_engine(), real.module, note=said), real.spec


def _remarks(found: TrainingFindings) -> Iterator[str]:
    start, memory = found.start, found.training_memory
    if start is not None:
        yield f"Trained on from the run {start.run_id}, whose {start.row} was at {percent(start.top1)}."
    if memory is not None:
        yield memory_remark(memory)
    yield from filter(None, (found.stopped, found.worse))


def _split(context: JobContext, seed: int) -> "tuple[Test, Test]":
    """The training samples without the validation samples, and those; the test samples are never looked at."""
    x, y = context.data.x_train, context.data.y_train
    order = np.random.default_rng([seed, 1]).permutation(len(x))
    n = min(max(int(len(x) * VALIDATION), 1), MOST_VALIDATION)
    return (x[order[n:]], y[order[n:]]), (x[order[:n]], y[order[:n]])
