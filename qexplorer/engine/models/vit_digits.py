"""A vision transformer for images of 32 × 32, trained on the digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.models import Model, models
from qexplorer.progress import Steps
from qexplorer.resources import resource

if TYPE_CHECKING:
    from torch import nn

CLASSES = 10


@models.register
@dataclass(frozen=True)
class VitDigits(Model):
    """Trained on the bundled digits by scripts/make_samples.py; takes weights of the same network for other data."""

    name: ClassVar[str] = "vit_digits"
    title: ClassVar[str] = "ViT · digits"
    help: ClassVar[str] = "0.27 million parameters, 1.1 MB, trained on the bundled digits"
    order: ClassVar[int] = 15

    def default_weights(self) -> Path:
        return resource("vit_digits.safetensors")

    def load(self, weights: Path | None) -> "Steps[nn.Module]":
        path = self.resolve(weights)
        import torch

        from qexplorer.engine.networks.vit import VisionTransformer

        with torch.random.fork_rng(devices=[]):  # a fresh network draws random weights; whoever runs this keeps theirs
            net = VisionTransformer(CLASSES)
        yield from self.fill(net, path)
        return net.eval()
