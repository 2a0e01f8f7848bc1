"""A file or folder of weights by itself: the model that has such tensors, if there is one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from qexplorer.engine.models import Model, model_files, models
from qexplorer.engine.models.tensor_names import match_names
from qexplorer.errors import UserError
from qexplorer.progress import Steps, finish
from qexplorer.text import printable
from qexplorer.weights import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from torch import nn

MORE = 8
"""A file with so many times the tensors of a model is of something else; training keeps a few copies."""
CODE = (".py", ".pt2")
"""Files that other kinds of models are in."""


@model_files.register
@dataclass(frozen=True)
class WeightsFile(Model):
    """Weights of a model that is known here by the names and shapes of its tensors."""

    file: Path

    name: ClassVar[str] = "weights"
    title: ClassVar[str] = "Weights"
    help: ClassVar[str] = "a file of weights of one of these models"
    order: ClassVar[int] = 30
    brings_weights: ClassVar[bool] = True

    @classmethod
    def claim(cls, text: str) -> Self | None:
        path = Path(text).expanduser()
        try:
            there = bool(text.strip()) and path.exists()
        except OSError:
            return None
        return cls(path) if there and not text.lower().endswith(CODE) else None

    @property
    def text(self) -> str:
        return str(self.file)

    def resolve(self, weights: Path | None) -> Path | None:
        return super().resolve(weights or self.file)

    def load(self, weights: Path | None) -> "Steps[nn.Module]":
        return (yield from (yield from self._model()).load(weights or self.file))

    def _model(self) -> Steps[Model]:
        checkpoint = yield from open_checkpoint(self.file)
        known = known_model(checkpoint)
        if known is None:
            raise weights_only(self.file)
        return known


def weights_only(file: Path) -> UserError:
    """What to say of a file that is of no known model."""
    what = f"{printable(file.name)} holds the tensors of no model that is known here, only weights."
    remedy = "Choose as the model the FILE.py:FACTORY that builds it, and this file as its weights."
    return UserError(what, remedy, field="model")


def known_model(checkpoint: Checkpoint) -> Model | None:
    """The model whose shipped weights have the same tensors as a file, by names and shapes; None where there is none.

    Nothing but headers is read, and torch is not needed.
    """
    for kind in models:
        model = kind()
        shipped = model.default_weights()
        if shipped is None:
            continue
        shapes = {tensor.name: tensor.shape for tensor in finish(open_checkpoint(shipped)).tensors}
        if len(checkpoint.tensors) > MORE * len(shapes):
            continue
        try:
            found = match_names(shapes, checkpoint.by_name, printable(checkpoint.path.name), model.name)
        except UserError:
            continue
        if all(info.shape == shapes[name] for name, info in found.items()):
            return model
    return None
