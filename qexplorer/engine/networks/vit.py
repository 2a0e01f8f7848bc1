"""A small vision transformer for grey images of 32 × 32.

Dosovitskiy et al. 2020, “An Image Is Worth 16x16 Words”, section 3.1. What differs: patches of 8 × 8, the mean of all
tokens in place of a class token, and attention spelled out, so that `torch.fx` traces it and every weight matrix but
that of the patches is an `nn.Linear`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

IMAGE, PATCH = 32, 8
"""Sides in pixels."""
WIDTH, DEPTH, HEADS, MLP_RATIO = 80, 4, 4, 3


class Attention(nn.Module):
    """Every token looks at every token: [N, tokens, width] to the same shape."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.width, self.heads, self.tokens = width, heads, tokens
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(x).reshape(x.shape[0], self.tokens, 3, self.heads, self.width // self.heads)
        split = split.permute(2, 0, 3, 1, 4)  # [3, N, heads, tokens, width of a head]
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2])
        return self.proj(mixed.transpose(1, 2).reshape(x.shape[0], self.tokens, self.width))


class Block(nn.Module):
    """Attention, then two layers on each token by itself; both normalized before and added to their input."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, tokens)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Images [N, 1, 32, 32] to logits [N, classes]; 0.27 million parameters at ten classes."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        tokens = (IMAGE // PATCH) ** 2
        self.patches = nn.Conv2d(1, WIDTH, PATCH, PATCH)
        self.positions = nn.Parameter(torch.empty(1, tokens, WIDTH))
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS, tokens) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)
        nn.init.trunc_normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(1))
