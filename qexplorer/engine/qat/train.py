"""The training loop: epochs that are journalled one by one, the best of which is kept."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from qexplorer.engine.measuring.evaluate import evaluate, wilson_interval
from qexplorer.engine.measuring.row import Test
from qexplorer.engine.qat.model import QatModel
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.simulation.calibrate import Batches
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within

STATE = "qat/state"
WARM_UP = 0.05
"""The share of all steps in which the learning rate rises to its greatest."""
SOFTNESS = 2.0
"""The temperature at which outputs are compared with the teacher's (Hinton et al. 2015)."""
TRAINED = 0.9
"""The share of an epoch that is training; the rest is validation."""
FAR = 1.5
"""An epoch whose mean loss is so many times that of the first step, and that of equal outputs, has diverged."""


@dataclass(frozen=True)
class Schedule:
    """`epochs` of batches of `batch` images; learning rate `rate`, rising at first and then following a cosine to 0.

    From epoch `observers_until` on ranges stay, and from `norms_until` on batch norm does.
    """

    epochs: int
    batch: int
    rate: float
    observers_until: int
    norms_until: int
    seed: int

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, of so many in all."""
        warm = max(int(steps * WARM_UP), 1)
        if step < warm:
            return self.rate * (step + 1) / warm
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


@dataclass(frozen=True)
class Training:
    """The epochs' figures; a sentence where training ended early, and one where its best epoch is worse than what it
    began with, both else empty.
    """

    points: list[dict[str, Any]]
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
        points, best, began = state["points"], state["best"], state["began"]
        if not points:
            began = yield from within(self._validated(), 0.0, 0.0)
        stopped = ""
        for epoch in range(len(points), self.schedule.epochs):
            share = 1 / self.schedule.epochs
            steps = self._epoch(epoch, optimizer, began)
            point = yield from within(steps, epoch * share, (epoch + 1) * share)
            if "stopped" in point:
                stopped = point["stopped"]
                break
            points.append(point)
            if best is None or point["validation_top1"] >= best["validation_top1"]:
                best = {"epoch": epoch, "validation_top1": point["validation_top1"], "model": _copy(self.model.module)}
            self._save(optimizer, points=points, best=best, began=began)
            self.journal.put(f"point/{epoch:06}", point)
        if best is None:
            raise UserError(stopped, "Lower the learning rate, or start from a PTQ run.", field="rate")
        self.model.module.load_state_dict(best["model"])
        self.model.module.eval()
        for point in points:
            point["best"] = point["epoch"] == best["epoch"]
        worse = self._worse(began, points[best["epoch"]])
        return Training(points, f"{stopped} The best epoch before it was kept." if stopped else "", worse)

    def _worse(self, began: dict[str, Any], best: dict[str, Any]) -> str:
        """A sentence where the best epoch is clearly worse than what training began with: their intervals are apart."""
        if best["validation_ci95"][1] >= began["validation_ci95"][0]:
            return ""
        return (
            f"Training made it worse: of {best['validation_n']} validation samples {began['validation_top1']:.1%} were "
            f"right before it and {best['validation_top1']:.1%} after the best epoch, at a learning rate of "
            f"{self.schedule.rate:.2g}."
        )

    def _epoch(self, epoch: int, optimizer: torch.optim.Optimizer, began: dict[str, Any]) -> Steps[dict[str, Any]]:
        """The figures of an epoch, or why it `stopped`; the loss of the very first step is entered in `began`."""
        torch.manual_seed(self.schedule.seed * 100_003 + epoch)  # so that an epoch is the same after a resume
        if 0 < epoch < self.schedule.observers_until and not self.model.learn:
            yield from self.model.observe(self.batches)
        self.model.module.train()
        if epoch >= self.schedule.norms_until:
            for norm in self.model.norms():
                norm.eval()
        figures = yield from within(self._train(epoch, optimizer, began), 0.0, TRAINED)
        if "stopped" not in figures:
            figures |= yield from within(self._validated(), TRAINED, 1.0)
        return figures

    def _train(self, epoch: int, optimizer: torch.optim.Optimizer, began: dict[str, Any]) -> Steps[dict[str, Any]]:
        """One pass over the training samples."""
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
                return _diverged(where, f"the loss is {loss}, at a learning rate of {rate:.2g}")
            began.setdefault("loss", loss)
            total, right, seen = total + loss * len(chosen), right + correct, seen + len(chosen)
        highest, where = FAR * max(began["loss"], self._equal_loss()), f"epoch {epoch + 1}"
        if not all(bool(torch.isfinite(p).all()) for p in self.model.module.parameters()):
            return _diverged(where, f"weights are not finite, at {self.schedule.rate:.2g}")
        if total / seen > highest:
            losses = f"the mean loss is {total / seen:.3g} and was {began['loss']:.3g} at first"
            return _diverged(where, f"{losses}, at a learning rate of {self.schedule.rate:.2g}")
        return {"epoch": epoch, "loss": total / seen, "train_top1": right / seen, "rate": rate,
                "scales": self.model.scales()}  # fmt: skip

    def _validated(self) -> Steps[dict[str, Any]]:
        """The figures of the model as it is on the validation samples."""
        self.model.module.eval()
        result = yield from evaluate(self.model.module, *self.validation)
        interval = wilson_interval(round(result.top1 * result.n), result.n)
        return {"validation_top1": result.top1, "validation_ci95": list(interval), "validation_n": result.n}

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

    def _save(self, optimizer: torch.optim.Optimizer, **figures: Any) -> None:
        buffer = io.BytesIO()
        state = {"model": self.model.module.state_dict(), "optimizer": optimizer.state_dict(), **figures}
        torch.save(state, buffer)
        self.journal.put_arrays(STATE, {"state": np.frombuffer(buffer.getvalue(), np.uint8)})

    def _load(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        found = self.journal.arrays(STATE)
        if found is None:
            return {"points": [], "best": None, "began": {}}
        state = torch.load(io.BytesIO(found["state"].tobytes()), weights_only=True)
        self.model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return state


def _diverged(where: str, why: str) -> dict[str, Any]:
    return {"stopped": f"Training diverged in {where}: {why}."}


def _copy(module: nn.Module) -> dict[str, Any]:
    return {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in module.state_dict().items()}
