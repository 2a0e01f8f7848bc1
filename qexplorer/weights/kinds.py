"""What kind of layer a tensor is the weights of: a guess from its shape, its bias and its name, with the reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from qexplorer.quant.layer_kinds import (
    CONV1D,
    CONVOLUTION,
    EMBEDDING,
    EXPERTS,
    KERNEL,
    LINEAR,
    TOKENS,
    TRANSPOSED,
    VECTOR,
    LayerKind,
)

WEIGHT = re.compile(r"\.?(parametrizations\.weight\.original\d?|weight(_v|_orig)?|kernel)$")
"""The end of a weight's name; before it stands that of its layer, and beside it the layer's bias."""
CONV1DS = re.compile(r"(^|\.)h\.\d+\.((cross)?attention|attn|crossattn|mlp)\.(c_attn|q_attn|c_proj|c_fc)$")
UP = re.compile(
    r"ups?|up_?\d+|up_?conv\w*|\w*deconv\w*|t_?conv\w*|trans_?conv\w*|transposed?\w*|conv_?t|\w*conv\d?d?_?tr(ans\w*)?"
)
STACKED = re.compile(r"(^|[._])(experts|exps)([._]|$)")
TABLES = ("embedding", "position")
"""The roles of tables whose rows run along the last axis."""


class Shaped(Protocol):
    """A tensor of which the shape is known."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its axes."""
        ...


@dataclass(frozen=True)
class Guess:
    """The kind, and what it was told by."""

    kind: LayerKind
    by: str

    @property
    def text(self) -> str:
        """As it is shown, e.g. `output axis 1: transposed convolution, by its name`."""
        return f"{self.kind.where}: {self.kind.name}, by its {self.by}"


def guess_kind(name: str, shape: tuple[int, ...], role: str, others: Mapping[str, Shaped]) -> Guess:
    """The kind of layer that a tensor belongs to, which has this `role`; `others` are all of the file."""
    if len(shape) < 2:
        return Guess(VECTOR, "shape")
    layer = WEIGHT.sub("", name)
    if name.endswith("kernel"):
        return Guess(KERNEL, "name")
    usual, flipped = (LINEAR, CONV1D) if len(shape) == 2 else (CONVOLUTION, TRANSPOSED)
    if role in TABLES and (len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)):
        return Guess(EMBEDDING if len(shape) == 2 else TOKENS, "name")
    named = _named(layer, shape)
    if named is EXPERTS:
        return Guess(EXPERTS, "name")
    bias = others.get(f"{layer}.bias") if layer != name else None
    told = _told(shape, bias.shape) if bias is not None else None
    if told is not None:
        return Guess(flipped if told else usual, "bias")
    return Guess(named, "name") if named else Guess(usual, "shape")


def _told(shape: tuple[int, ...], bias: tuple[int, ...]) -> bool | None:
    """Whether a bias has a value for each index of axis 1, in each group of a transposed convolution, and not for each
    of axis 0; None where it does not tell.
    """
    first, second = shape[:2]
    if len(bias) != 1 or bias[0] == first == second:
        return None
    if bias[0] == first:
        return False
    grouped = second > 0 and bias[0] % second == 0 and len(shape) > 2
    return True if grouped or bias[0] == second else None


def _named(layer: str, shape: tuple[int, ...]) -> LayerKind | None:
    """The kind that the name of a layer says, if it does."""
    last = re.sub(r"(\.\d+)+$", "", layer).rsplit(".", 1)[-1].lower()
    if len(shape) == 2:
        return CONV1D if CONV1DS.search(layer) else None
    if len(shape) == 3 and STACKED.search(layer):
        return EXPERTS
    return TRANSPOSED if UP.fullmatch(last) else None
