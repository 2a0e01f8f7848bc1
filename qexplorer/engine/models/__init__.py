"""The models that jobs can be run on: each file here knows how to build one and fill it with weights."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from qexplorer.engine.models.state_dict import load_weights
from qexplorer.engine.models.trust import require_trust
from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps
from qexplorer.text import printable

if TYPE_CHECKING:
    from torch import nn


class Model(Plugin):
    """A classifier of images, of a fixed name or in a file of the person's own."""

    brings_weights: ClassVar[bool] = False
    """Whether it is whole without a file of weights."""

    @classmethod
    def claim(cls, text: str) -> Self | None:
        """The model of that name or at that path, or None where it is not of this kind; nothing is run.

        Raises `UserError` where it is of this kind, but lacks something.
        """
        return cls() if text == cls.name else None

    def code_files(self) -> tuple[Path, ...]:
        """The person's own files that are run to build it: beside the weights, they belong to its fingerprint."""
        return ()

    def check_trust(self) -> None:
        """Raises `Untrusted` where the person has not yet allowed its code to run. `load` asks by itself."""
        for file in self.code_files():
            require_trust(file)

    def default_weights(self) -> Path | None:
        """The weights that are shipped, or None where the person has to choose a file or the model brings its own."""
        return None

    def resolve(self, weights: Path | None) -> Path | None:
        """The file to load: `weights`, or else the shipped one; None where the model brings its own.

        Raises `UserError` where there is none of them.
        """
        path = weights or self.default_weights()
        if path is None and not self.brings_weights:
            raise UserError(f"{self.name} has no weights of its own.", "Choose a file of weights.", field="weights")
        if path is not None and not path.exists():
            raise UserError(f"There is no file {path}.", "Choose another file of weights.", field="weights")
        return path

    def network(self) -> "nn.Module":
        """A fresh float32 module, which imports torch. Models that bring their own weights have a `load` instead."""
        raise NotImplementedError

    def load(self, weights: Path | None) -> "Steps[nn.Module]":
        """The float32 module in eval mode, filled from `weights`, or else from the shipped ones or its own.

        Raises `UserError` where there are none or where they do not fit, and `Untrusted` as `check_trust` does.
        """
        path = self.resolve(weights)
        import torch

        with torch.random.fork_rng(devices=[]):  # a fresh network draws random weights; whoever runs this keeps theirs
            module = self.network()
        yield from self.fill(module, path)
        return module.eval()

    def fill(self, module: "nn.Module", path: Path | None) -> Steps[None]:
        """Give a module the weights that `resolve` found, if any."""
        if path is not None:
            yield from load_weights(module, path, printable(self.text))


models = Registry[Model]("model")
"""Those that have a name."""
model_files = Registry[Model]("model")
"""Kinds of files that hold one."""


def find_model(text: str) -> Model:
    """The model of that name, at `FILE.py:FACTORY` or in a `.pt2` file; nothing of it is run or read yet.

    A `UserError` says what there is.
    """
    for kind in (*models, *model_files):
        model = kind.claim(text)
        if model is not None:
            return model
    raise UserError(f"There is no model “{printable(text)}”.", f"Known: {model_help()}.", field="model")


def model_help() -> str:
    """What a person can write for a model."""
    return "; ".join([", ".join(kind.name for kind in models), *(kind.help for kind in model_files)])


def existing_file(text: str) -> Path:
    """The file that a person names. Raises `UserError` where there is none."""
    try:
        path = Path(text).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError):  # a RuntimeError where `~name` names nobody
        pass
    raise UserError(f"There is no file {printable(text)}.", "Choose another model.", field="model")


models.discover(__name__, list(__path__))
