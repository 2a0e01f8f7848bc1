"""A model in a Python file of the person's own, which is run once they have allowed it."""

import contextlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from qexplorer.engine.models import Model, existing_file, model_files
from qexplorer.engine.models.trust import trusted_bytes
from qexplorer.engine.models.user_code import importing_from, run_source
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.text import printable

if TYPE_CHECKING:
    from torch import nn

MESSAGE = 300
"""The most characters of an exception's text that are shown."""


@model_files.register
@dataclass(frozen=True)
class OwnModel(Model):
    """`FILE.py:FACTORY`: a function without arguments in a Python file, which returns an `nn.Module`."""

    file: Path
    factory: str

    name: ClassVar[str] = "own"
    title: ClassVar[str] = "Python file"
    help: ClassVar[str] = "FILE.py:FACTORY, a function in a Python file that returns a torch.nn.Module"
    order: ClassVar[int] = 10
    brings_weights: ClassVar[bool] = True

    @classmethod
    def claim(cls, text: str) -> Self | None:
        file, _, factory = text.rpartition(":")
        if file.lower().endswith(".py") and factory.isidentifier():
            return cls(existing_file(file), factory)
        if not (text.lower().endswith(".py") or file.lower().endswith(".py")):
            return None
        what = f"“{printable(text)}” does not name a function that makes the model."
        raise UserError(what, "Write FILE.py:FACTORY.", field="model")

    @property
    def text(self) -> str:
        return f"{self.file}:{self.factory}"

    def code_files(self) -> tuple[Path, ...]:
        return (self.file,)

    def load(self, weights: Path | None) -> "Steps[nn.Module]":
        path = self.resolve(weights)
        source = trusted_bytes(self.file)
        yield Progress(f"Running {printable(self.file.name)}")
        module = self._build(source)
        yield from self.fill(module, path)
        return module

    def _build(self, source: bytes) -> "nn.Module":
        import torch

        with torch.random.fork_rng(devices=[]), self._blamed():  # whoever runs this keeps their random numbers
            with importing_from(self.file.resolve().parent), contextlib.redirect_stdout(sys.stderr):
                made = self._factory(run_source(self.file.resolve(), source))()
            if not isinstance(made, torch.nn.Module):
                raise self._error(f"returned {type(made).__name__}, no torch.nn.Module")
            if any(torch.nn.parameter.is_lazy(p) for p in made.parameters()):
                raise self._error("returned a module whose lazy layers have no shape yet")
            return made.to("cpu", torch.float32).eval()

    def _factory(self, module: ModuleType) -> Any:
        factory = getattr(module, self.factory, None)
        if callable(factory):
            return factory
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        what = f"{printable(self.file.name)} has no function “{self.factory}”."
        raise UserError(what, f"It has: {', '.join(own) or 'none'}.", field="model")

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Say what goes wrong inside as a mistake of the file."""
        try:
            yield
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise self._error(f"failed: {_line(error, self.file.resolve())}") from error

    def _error(self, what: str) -> UserError:
        return UserError(
            f"{printable(self.file.name)}:{self.factory} {what}.", "Correct the file and try again.", field="model"
        )


def _line(error: BaseException, file: Path) -> str:
    """The exception in one line, with the last line of the file that led to it."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    where = f"line {lines[-1]}, " if lines else ""
    text = " ".join(str(error).split())
    return f"{where}{type(error).__name__}" + (f": {printable(text, MESSAGE)}" if text else "")
