"""torch's own transformer encoders, whose layers may be replaced."""

from torch import nn


def call_layers(module: nn.Module) -> None:
    """Let encoders call their layers. For speed they read the weights of these, which need not be tensors any more."""
    for each in module.modules():
        if isinstance(each, nn.TransformerEncoderLayer):
            each.activation_relu_or_gelu = 0  # the fused kernel does those two
        elif isinstance(each, nn.TransformerEncoder):
            each.use_nested_tensor = False
