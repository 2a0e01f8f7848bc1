"""A model in a file that `torch.export.save` wrote, which is opened once the person has allowed it."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from qexplorer.engine.models import Model, existing_file, model_files
from qexplorer.engine.models.trust import trusted_bytes
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.text import printable

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

SUFFIX = ".pt2"
EXPORT = (
    "Export it with torch.export.export(model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), where x "
    "holds two images or more."
)


@model_files.register
@dataclass(frozen=True)
class ProgramModel(Model):
    """An exported program of one input, images [N, C, H, W] with any N, and one output, logits [N, classes].

    Such a file may hold pickled objects, which can run code when they are read.
    """

    file: Path

    name: ClassVar[str] = "program"
    title: ClassVar[str] = "Exported program"
    help: ClassVar[str] = "a .pt2 file, which torch.export.save writes"
    order: ClassVar[int] = 20
    brings_weights: ClassVar[bool] = True

    @classmethod
    def claim(cls, text: str) -> Self | None:
        return cls(existing_file(text)) if text.lower().endswith(SUFFIX) else None

    @property
    def text(self) -> str:
        return str(self.file)

    def code_files(self) -> tuple[Path, ...]:
        return (self.file,)

    def load(self, weights: Path | None) -> "Steps[nn.Module]":
        path = self.resolve(weights)
        content = trusted_bytes(self.file)
        yield Progress(f"Opening {printable(self.file.name)}")
        from qexplorer.engine.networks.exported import as_modules

        program = self._open(content)
        self._check(program)
        module = as_modules(program)
        yield from self.fill(module, path)
        return module

    def _open(self, content: bytes) -> "ExportedProgram":
        import torch

        try:
            return torch.export.load(io.BytesIO(content))
        except Exception as error:  # whatever is in the file: a zip archive, JSON, pickles
            what = f"cannot be opened as an exported program: {type(error).__name__}"
            text = " ".join(str(error).split())
            raise self._error(what + (f": {printable(text, 300)}" if text else "")) from error

    def _check(self, program: "ExportedProgram") -> None:
        """Raises `UserError` for a program that cannot be used as a classifier of images."""
        import torch

        from qexplorer.engine.networks.exported import inputs_of, trains

        inputs, outputs = inputs_of(program), len(program.graph_signature.user_outputs)
        if len(inputs) != 1 or outputs != 1:
            raise self._error(f"has {len(inputs)} inputs and {outputs} outputs; a classifier has one of each")
        (images,) = inputs
        if not isinstance(images, torch.Tensor) or images.dtype != torch.float32 or not images.ndim:
            kind = f"{images.dtype}".removeprefix("torch.") if isinstance(images, torch.Tensor) else "no tensor"
            raise self._error(f"takes {kind} {list(getattr(images, 'shape', []))}; images are float32 [N, C, H, W]")
        others = {f"{p.dtype}".removeprefix("torch.") for p in program.parameters() if p.dtype != torch.float32}
        if others:
            raise self._error(f"has parameters of {', '.join(sorted(others))}; call model.float() before the export")
        size = images.shape[0]
        if isinstance(size, int):  # one that is left open is a symbol
            raise self._error(f"takes batches of {size} only: that size is fixed in the file")
        if trains(program):
            raise self._error("was exported in training mode, so its outputs are left to chance")

    def _error(self, what: str) -> UserError:
        return UserError(f"{printable(self.file.name)} {what}.", EXPORT, field="model")
