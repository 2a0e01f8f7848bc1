"""The models that jobs can be run on: each file here knows how to build one and fill it with weights."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps

if TYPE_CHECKING:
    from torch import nn


class Model(Plugin):
    """A classifier of images: `input_shape` is (channels, height, width) of one, `classes` the number of outputs."""

    input_shape: ClassVar[tuple[int, int, int]]
    classes: ClassVar[int]

    def default_weights(self) -> Path | None:
        """The weights that are shipped, or None where the person has to choose a file."""
        return None

    def resolve(self, weights: Path | None) -> Path:
        """The file to load: `weights`, or else the shipped one; a `UserError` where there is neither."""
        path = weights or self.default_weights()
        if path is None:
            raise UserError(f"{self.name} has no weights of its own.", "Choose a file of weights.", field="weights")
        if not path.exists():
            raise UserError(f"There is no file {path}.", "Choose another file of weights.", field="weights")
        return path

    @abstractmethod
    def load(self, weights: Path | None) -> "Steps[nn.Module]":
        """The float32 module in eval mode, filled from `weights`, or else from the shipped ones.

        Raises `UserError` where there are none or where they do not fit.
        """
        raise NotImplementedError


models = Registry[Model]("model")
models.discover(__name__, list(__path__))
