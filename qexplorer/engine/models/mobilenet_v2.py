"""MobileNetV2 for images of 32 × 32: as shipped, trained on the digits, and for weights of one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qexplorer.engine.models import Model, models
from qexplorer.resources import resource

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MobileNetV2Model(Model):
    """What both have in common."""

    def network(self) -> "nn.Module":
        from qexplorer.engine.networks.mobilenet_v2 import MobileNetV2

        return MobileNetV2()


@models.register
@dataclass(frozen=True)
class MobileNetV2Digits(MobileNetV2Model):
    """Trained on the bundled digits by scripts/make_samples.py."""

    name: ClassVar[str] = "mobilenet_v2_digits"
    title: ClassVar[str] = "MobileNetV2 · digits"
    help: ClassVar[str] = "2.24 million parameters, 8.9 MB, trained on the bundled digits"
    order: ClassVar[int] = 10

    def default_weights(self) -> Path:
        return resource("mobilenet_v2_digits.safetensors")


@models.register
@dataclass(frozen=True)
class MobileNetV2Mnist(MobileNetV2Model):
    """The same network for MNIST; scripts/make_samples.py --data FOLDER --out FILE trains it."""

    name: ClassVar[str] = "mobilenet_v2_mnist"
    title: ClassVar[str] = "MobileNetV2 · MNIST"
    help: ClassVar[str] = "2.24 million parameters, 8.9 MB; the weights come from a file"
    order: ClassVar[int] = 20
