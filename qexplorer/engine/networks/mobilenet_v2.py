"""MobileNetV2 for small grey images, with the tensor names that torchvision gives it.

Sandler et al. 2018, “MobileNetV2: Inverted Residuals and Linear Bottlenecks”, table 2, at width 1.0. What differs:
one input channel, images of 32 × 32 (so the stem does not halve them), and ReLU where the paper has ReLU6, because
only Conv + BatchNorm + ReLU fuses into one int8 kernel (torchvision's quantizable MobileNetV2 does the same).
"""

from torch import Tensor, nn

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Per stage: expansion factor, output channels, repeats, stride of the first block."""
STEM, HEAD = 32, 1280
STEM_STRIDE = 1  # 2 in the paper


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias that keeps the image's size at stride 1, and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """The same with a ReLU after it."""
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride, groups), nn.ReLU(inplace=True))


class InvertedResidual(nn.Module):
    """Expand with 1 × 1, filter each channel with 3 × 3, project with 1 × 1; add the input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [conv_bn_relu(inputs, hidden, 1)] if expansion != 1 else []
        layers += [conv_bn_relu(hidden, hidden, 3, stride, groups=hidden), *conv_bn(hidden, outputs, 1)]
        self.conv = nn.Sequential(*layers)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skips else self.conv(x)


class MobileNetV2(nn.Module):
    """Images [N, 1, 32, 32] to logits [N, classes]; 2.24 million parameters at ten classes."""

    def __init__(self, classes: int = 10, dropout: float = 0.2) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn_relu(1, STEM, 3, STEM_STRIDE)]
        channels = STEM
        for expansion, outputs, repeats, first_stride in STAGES:
            for i in range(repeats):
                layers.append(InvertedResidual(channels, outputs, first_stride if i == 0 else 1, expansion))
                channels = outputs
        layers.append(conv_bn_relu(channels, HEAD, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(HEAD, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))
