"""A network computed with its channels innermost (NHWC), as the int8 kernels compute."""

import torch
from torch import Tensor, nn


class ChannelsLast(nn.Module):
    """Takes images [N, C, H, W] in any layout. The weights of `inner` are laid out anew, so it must not be shared."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.contiguous(memory_format=torch.channels_last))
