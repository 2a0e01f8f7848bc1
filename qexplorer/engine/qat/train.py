"""The training loop: epochs that are journalled one by one, the best of which is kept."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.measuring.evaluate import Evaluation, evaluate
from qexplorer.engine.measuring.row import Test
from qexplorer.engine.qat.model import QatModel
from qexplorer.engine.qat.schedule import Schedule
from qexplorer.engine.runs.curve_points import EpochPoint
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.simulation.calibrate import Batches
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.settings import read

STATE = "qat/state"
SOFTNESS = 2.0
"""The temperature at which outputs are compared with the teacher's (Hinton et al. 2015)."""
TRAINED = 0.9
"""The share of an epoch that is training; the rest is validation."""
FAR = 1.5
"""An epoch whose mean loss is so many times that of the first step, and that of equal outputs, has diverged."""


@dataclass(frozen=True)
class Training:
    """The epochs' figures; a sentence where training ended early, and one where its best epoch is worse than what it
    began with, both else empty.
    """

    points: tuple[EpochPoint, ...]
    stopped: str = ""
    worse: str = ""

    @property
    def note(self) -> str:
        """What is to be said of it."""
        return " ".join(filter(None, (self.stopped, self.worse)))


@dataclass(frozen=True)
class Trainer:
    """What training works with. `teacher` gives the outputs that are also aimed at, if there is one."""

    model: QatModel
    schedule: Schedule
    train: Test
    validation: Test
    batches: Batches
    journal: Journal
    teacher: nn.Module | None = None
    forward: Callable[[Tensor], Tensor] | None = None

    def run(self) -> Steps[Training]:
        """Train, from the last epoch that the journal has, and leave the best epoch's state in the model.

        Raises `UserError` where it diverged before any epoch was done.
        """
        if not self.model.calibrated:  # before a state is loaded, too: it makes the inputs' quantizers
            yield from self.model.observe(self.batches)
        optimizer = torch.optim.AdamW(self.model.module.parameters(), lr=self.schedule.rate, weight_decay=1e-4)
        state = self._load(optimizer)
        if state is None:
            before = yield from within(self._validated(), 0.0, 0.0)
            state = _State(before.top1, before.ci95)
        stopped = ""
        for epoch in range(len(state.points), self.schedule.epochs):
            share = 1 / self.schedule.epochs
            steps = self._epoch(epoch, optimizer, state)
            try:
                point = yield from within(steps, epoch * share, (epoch + 1) * share)
            except _DivergedError as error:
                stopped = str(error)
                break
            state.points.append(point)
            if point.validation_top1 >= state.points[state.best].validation_top1:
                state.best, state.weights = epoch, _copy(self.model.module)
            self._save(optimizer, state)
            self.journal.put_point(epoch, point)
        if not state.points:
            raise UserError(stopped, "Lower the learning rate, or start from a PTQ run.", field="rate")
        self.model.module.load_state_dict(state.weights)
        self.model.module.eval()
        points = tuple(replace(point, best=point.epoch == state.best) for point in state.points)
        stopped += " The best epoch before it was kept." if stopped else ""
        return Training(points, stopped, self._worse(state))

    def _worse(self, state: "_State") -> str:
        """A sentence where the best epoch is clearly worse than what training began with: their intervals are apart."""
        best = state.points[state.best]
        if best.validation_ci95 is None or best.validation_ci95[1] >= state.ci95_before[0]:
            return ""
        return (
            f"Training made it worse: of {best.validation_n} validation samples {state.top1_before:.1%} were "
            f"right before it and {best.validation_top1:.1%} after the best epoch, at a learning rate of "
            f"{self.schedule.rate:.2g}."
        )

    def _epoch(self, epoch: int, optimizer: torch.optim.Optimizer, state: "_State") -> Steps[EpochPoint]:
        """The figures of an epoch. Raises `_DivergedError`."""
        torch.manual_seed(self.schedule.seed * 100_003 + epoch)  # so that an epoch is the same after a resume
        if 0 < epoch < self.schedule.observers_until and not self.model.learn:
            yield from self.model.observe(self.batches)
        self.model.module.train()
        if epoch >= self.schedule.norms_until:
            for norm in self.model.norms():
                norm.eval()
        loss, top1, rate = yield from within(self._train(epoch, optimizer, state), 0.0, TRAINED)
        scales = self.model.scales()
        found = yield from within(self._validated(), TRAINED, 1.0)
        return EpochPoint(epoch, loss, top1, found.top1, found.ci95, found.n, rate, scales)

    def _train(
        self, epoch: int, optimizer: torch.optim.Optimizer, state: "_State"
    ) -> Steps[tuple[float, float, float]]:
        """One pass over the training samples: the mean loss, the accuracy, and the last learning rate.

        The loss of the very first step is entered in `state`. Raises `_DivergedError`.
        """
        x, y = self.train
        order = torch.randperm(len(x)).numpy()
        per_epoch = max(len(x) // self.schedule.batch, 1)
        total, right, seen, rate = 0.0, 0, 0, self.schedule.rate
        for step in range(per_epoch):
            yield Progress(f"Epoch {epoch + 1}/{self.schedule.epochs}", step, per_epoch, step / per_epoch)
            rate = self.schedule.rate_at(epoch * per_epoch + step, self.schedule.epochs * per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            chosen = order[step * self.schedule.batch : (step + 1) * self.schedule.batch]
            loss, correct = self._step(optimizer, x[chosen], y[chosen])
            if not math.isfinite(loss):
                where = f"epoch {epoch + 1}, step {step + 1} of {per_epoch}"
                raise _DivergedError(where, f"the loss is {loss}, at a learning rate of {rate:.2g}")
            state.first_loss = loss if state.first_loss is None else state.first_loss
            total, right, seen = total + loss * len(chosen), right + correct, seen + len(chosen)
        self._check_diverged(epoch, total / seen, state.first_loss or 0.0)
        return total / seen, right / seen, rate

    def _check_diverged(self, epoch: int, loss: float, first: float) -> None:
        """Raise `_DivergedError` where weights are not finite or the mean loss is far above the first."""
        where, rate = f"epoch {epoch + 1}", self.schedule.rate
        if not all(bool(torch.isfinite(p).all()) for p in self.model.module.parameters()):
            raise _DivergedError(where, f"weights are not finite, at {rate:.2g}")
        if loss > FAR * max(first, self._equal_loss()):
            losses = f"the mean loss is {loss:.3g} and was {first:.3g} at first"
            raise _DivergedError(where, f"{losses}, at a learning rate of {rate:.2g}")

    def _validated(self) -> Steps[Evaluation]:
        """The accuracy of the model as it is on the validation samples."""
        self.model.module.eval()
        return (yield from evaluate(self.model.module, *self.validation))

    def _equal_loss(self) -> float:
        """The loss of a model that gives all of as many classes as there are labels the same output."""
        return math.log(int(self.train[1].max()) + 1) * (1.0 if self.teacher is None else 0.5 + 0.5 * SOFTNESS**2)

    def _step(
        self, optimizer: torch.optim.Optimizer, x: NDArray[np.float32], y: NDArray[np.int64]
    ) -> tuple[float, int]:
        device = self.model.device
        images, labels = torch.tensor(x, device=device), torch.tensor(y, device=device)
        outputs = (self.forward or self.model.module)(images)
        loss = self.loss(outputs, images, labels)
        value = float(loss.detach())
        if math.isfinite(value):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return value, int((outputs.detach().argmax(dim=1) == labels).sum())

    def loss(self, outputs: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy with the labels, and, half and half, with what the teacher says at a softer temperature."""
        own = F.cross_entropy(outputs, labels)
        if self.teacher is None:
            return own
        with torch.no_grad():
            wanted = F.softmax(self.teacher(images) / SOFTNESS, dim=1)
        return 0.5 * own + 0.5 * SOFTNESS**2 * F.cross_entropy(outputs / SOFTNESS, wanted)

    def _save(self, optimizer: torch.optim.Optimizer, state: "_State") -> None:
        buffer = io.BytesIO()
        own = {
            "model": self.model.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "points": [point.to_json() for point in state.points],
            "best": {"epoch": state.best, "model": state.weights},
            "began": {"validation_top1": state.top1_before, "validation_ci95": list(state.ci95_before),
                      "loss": state.first_loss},
        }  # fmt: skip
        torch.save(own, buffer)
        self.journal.put_arrays(STATE, {"state": np.frombuffer(buffer.getvalue(), np.uint8)})

    def _load(self, optimizer: torch.optim.Optimizer) -> "_State | None":
        """What `_save` wrote, the model and the optimizer being as they were; None where there is nothing."""
        found = self.journal.arrays(STATE)
        if found is None:
            return None
        own = torch.load(io.BytesIO(found["state"].tobytes()), weights_only=True)
        self.model.module.load_state_dict(own["model"])
        optimizer.load_state_dict(own["optimizer"])
        points, began = read(list[EpochPoint], own["points"], "the epochs"), own["began"]
        low, high = began["validation_ci95"]
        return _State(began["validation_top1"], (low, high), began.get("loss"), points,
                      own["best"]["epoch"], own["best"]["model"])  # fmt: skip


@dataclass
class _State:
    """How far training is: what it began with, the epochs, which of them is the `best`, and the state dict of that."""

    top1_before: float
    ci95_before: tuple[float, float]
    first_loss: float | None = None
    points: list[EpochPoint] = field(default_factory=list[EpochPoint])
    best: int = 0
    weights: dict[str, Any] = field(default_factory=dict[str, Any])


class _DivergedError(Exception):
    """Training has gone astray; the text says where and why."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"Training diverged in {where}: {why}.")


def _copy(module: nn.Module) -> dict[str, Any]:
    return {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in module.state_dict().items()}
