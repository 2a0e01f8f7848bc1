"""A vision transformer for images of 32 × 32, trained on the digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.models import Model, models
from qexplorer.resources import resource

if TYPE_CHECKING:
    from torch import nn


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

    def network(self) -> "nn.Module":
        from qexplorer.engine.networks.vit import VisionTransformer

        return VisionTransformer()
