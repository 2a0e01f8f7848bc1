"""Quantization-aware training."""

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from qexplorer.engine.backends import BACKEND, choose_engine
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.model_job import Conversion, Workshop
from qexplorer.engine.jobs.real_overrides import OFFERED, float_note, real_recipe, real_weights
from qexplorer.engine.jobs.simulated_job import (
    ACTIVATION_SPECS,
    SPEC_HELP,
    WEIGHT_SPECS,
    SimulatedJob,
    require_spec,
    row_name,
)
from qexplorer.engine.jobs.simulations import ON_DISK
from qexplorer.engine.measuring.row import Made
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.results import SIMULATED
from qexplorer.errors import UserError
from qexplorer.progress import Steps, within
from qexplorer.quant.lsq import lsq_refusal
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import Choice, setting

if TYPE_CHECKING:
    from qexplorer.engine.measuring.row import Test
    from qexplorer.engine.qat.model import QatModel
    from qexplorer.engine.qat.train import Trainer
    from qexplorer.engine.runs.history import History

VALIDATION, MOST_VALIDATION = 0.1, 1000
"""The share of the training samples that the best epoch is chosen by, and their greatest number."""
STARTED, TRAINED = 0.1, 0.92
METHODS = {"ste": False, "lsq": True}
STARTS = ("float", "ptq")
"""What training starts from; any other word is the id of a run."""
START = "qat/start"
"""Where the journal has what is to be known of that run."""
OTHER = {"model": "weights", "data": "data"}


@jobs.register
@dataclass(frozen=True)
class Qat(SimulatedJob):
    """Train on with fake quantization of weights and activations, straight-through or with learned scales (LSQ)."""

    weight_spec: str = setting("int4 channel:0 mse", "Weight spec", SPEC_HELP, offers=WEIGHT_SPECS)
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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_spec(self.weight_spec, "weight_spec")
        if not 0 < self.rate < 10:
            raise UserError(f"The learning rate cannot be {self.rate:g}.", "Take 0.0001 to 0.1.", field="rate")
        if not self.start.strip():
            raise UserError("Training starts from nothing.", "Write float, ptq or the id of a run.", field="start")
        self._check_lsq()

    @property
    def taken(self) -> tuple[str, ...]:
        from qexplorer.engine.jobs.starts import TAKEN

        return () if self.start in STARTS else TAKEN

    def settled(self, history: "History") -> Self:
        from qexplorer.engine.jobs.starts import settled

        return self if self.start in STARTS else replace(self, **settled(self, self.start, history))

    def check_read(self, model: str, data: str, journal: Journal) -> None:
        """Where training goes on from a run, that has to be a run of this model and these data."""
        if self.start in STARTS:
            return
        facts = journal.get(START)
        if facts is None:
            from qexplorer.engine.jobs.starts import facts_of

            facts = facts_of(journal.earlier(self.start))
            journal.put(START, facts)
        for kind, own in (("model", model), ("data", data)):
            if facts[kind] != own:
                what = f"The run “{self.start}” had other {OTHER[kind]}: SHA-256 {facts[kind][:12]}, not {own[:12]}."
                raise UserError(what, "Take those, or another run.", field="start")

    def _check_lsq(self) -> None:
        if not METHODS[self.method]:
            return
        recipe = self.recipe()
        for spec in (recipe.every, *(spec for _, spec in recipe.overrides)):
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

    def convert(self, shop: Workshop) -> Steps[Conversion]:
        start = shop.journal.get(START)
        if start is not None:
            shop = replace(shop, seed=start["seed"])  # by which calibration samples are chosen
        model = yield from within(self._begun(shop), 0.0, STARTED)
        source = model.prepared
        trainer, notes = self._trainer(model, shop)
        footprint = _footprints(trainer, shop) if shop.journal.get("qat/footprint") is None else None
        if footprint is not None:
            shop.journal.put("qat/footprint", footprint)
        training = yield from within(trainer.run(), STARTED, TRAINED)
        every = self.recipe().every
        size, average = model.sizes()
        name = f"qat-{row_name(every.weights, every.activations)}"
        origin = f"Trained on from the run {self.start}." if start else ""
        spec: dict[str, Any] = {"layers": self.recipe().to_json(), "traced": source.traced, "average_bits": average}
        real: list[Made] = []
        try:
            if self.real:
                real.append((yield from within(self._int8(model, shop, spec), TRAINED, 1.0)))
        except UserError as error:  # what was trained is kept
            notes.append(f"Not converted to int8 kernels: {error.what}")
        said = " ".join(filter(None, (origin, training.note, *notes, source.note, ON_DISK)))
        made = [Made(name, SIMULATED, str(shop.device), model.module, size, said), *real]
        findings = {"training_memory": shop.journal.get("qat/footprint"), "stopped": training.stopped,
                    "worse": training.worse, "start": start}  # fmt: skip
        layers = [{"row": name, "name": n, "shape": list(layer.layer.weight.shape), "scale": model.scales().get(n)}
                  for n, layer in model.layers.items()]  # fmt: skip
        n = sum(map(len, trainer.batches)) if every.activations is not None else 0
        return Conversion(tuple(made), spec, layers, n, training.points, findings)

    def _begun(self, shop: Workshop) -> "Steps[QatModel]":
        """The model to train: the float one, its batch norm in its layers; or what PTQ with these settings gives."""
        from qexplorer.engine.qat.model import qat_model, qat_model_from
        from qexplorer.engine.simulation.prepared import prepare
        from qexplorer.engine.simulation.simulate import simulate

        learn = METHODS[self.method]
        if self.start == "float":
            source = self.prepared(shop, fold=False)
            folds = prepare(shop.module, shop.example).folded > 0  # not where the outputs would be others
            return qat_model(source, self.recipe(), learn=learn, fold=folds)
        plan = self.plan(shop)
        made = yield from simulate(self.prepared(shop), plan, shop.journal, "start")
        return qat_model_from(made, plan, learn=learn)

    def _trainer(self, model: "QatModel", shop: Workshop) -> "tuple[Trainer, list[str]]":
        import copy

        from qexplorer.engine.qat.memory import Checkpointed
        from qexplorer.engine.qat.train import Schedule, Trainer

        train, validation = _split(shop, self.seed)
        schedule = Schedule(self.epochs, self.batch, self.rate, self.observers_until, self.norms_until, self.seed)
        teacher = copy.deepcopy(shop.module).to(shop.device) if self.teacher == "float" else None
        forward, notes = None, []
        if self.checkpointing == "on" and model.prepared.traced:
            forward = Checkpointed(model.prepared, _places(model))
        elif self.checkpointing == "on":
            notes.append("Gradient checkpointing needs a traced model; it was left out.")
        batches = shop.batches(self.calibration)
        return Trainer(model, schedule, train, validation, batches, shop.journal, teacher, forward), notes

    def _int8(self, model: "QatModel", shop: Workshop, spec: dict[str, Any]) -> Steps[Made]:
        """The trained weights in int8 kernels, whose activations are calibrated anew."""
        every = self.recipe().every
        assert every.weights is not None  # noqa: S101  it is `real`
        per_channel = every.weights.granularity.per_channel
        preset, nearest = ("x86", "int8 channel:0") if per_channel else ("pytorch_default", "int8")
        usual = every.weights if every.weights in OFFERED else QuantSpec.parse(nearest)
        plain = model.plain().module.to("cpu")
        weights = {**dict.fromkeys(model.layers, usual), **real_weights(self.overrides, shop)}
        real = yield from BACKEND().quantize(plain, preset, shop.batches(self.calibration), weights)
        spec["int8"] = real.spec
        least = min((float(layer["weight_sqnr_db"]) for layer in real.layers), default=math.inf)
        same = "The trained weights" if least == math.inf else f"Weights rounded again, to {least:.1f} dB or more"
        note = f"{same}; activation ranges are calibrated anew."
        return Made("qat-int8", BACKEND.kind, self.int8_engine(), real.module,
                    note=" ".join(filter(None, (note, float_note(real.kept)))))  # fmt: skip


def _split(shop: Workshop, seed: int) -> "tuple[Test, Test]":
    """The training samples without the validation samples, and those; the test samples are never looked at."""
    x, y = shop.data.x_train, shop.data.y_train
    order = np.random.default_rng([seed, 1]).permutation(len(x))
    n = min(max(int(len(x) * VALIDATION), 1), MOST_VALIDATION)
    return (x[order[n:]], y[order[n:]]), (x[order[:n]], y[order[:n]])


def _places(model: "QatModel") -> list[int]:
    """Where the layers stand in the graph."""
    from qexplorer.engine.simulation.stages import Stages

    stages = Stages(model.prepared)
    return [i for i, node in enumerate(stages.nodes) if node.op == "call_module" and str(node.target) in model.layers]


def _footprints(trainer: "Trainer", shop: Workshop) -> dict[str, Any] | None:
    """One step of training with gradient checkpointing and without: bytes of activations, and seconds."""
    import copy

    import torch

    from qexplorer.engine.qat.memory import Checkpointed, formula, measured_peak

    if not trainer.model.prepared.traced:
        return None
    model = trainer.model
    x = torch.tensor(trainer.train[0][: trainer.schedule.batch], device=model.device)
    places = _places(model)
    found: dict[str, Any] = {"batch": len(x)}
    for name in ("off", "on"):
        prepared = replace(model.prepared, module=copy.deepcopy(model.module).train())
        forward = Checkpointed(prepared, places)
        run = forward if name == "on" else prepared.module

        def step(run: Any = run) -> None:
            run(x).square().mean().backward()

        step()  # gradients are there from the second step on
        began = time.perf_counter()
        step()
        seconds = time.perf_counter() - began
        found[name] = {"measured_bytes": measured_peak(step), "seconds": seconds,
                       "formula_bytes": formula(prepared, x, forward.cuts if name == "on" else None)}  # fmt: skip
    return found
