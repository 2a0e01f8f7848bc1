"""Where the output channels lie in the weights of each kind of layer."""

import math
from dataclasses import dataclass

from qexplorer.errors import UserError

ROWS = "rows"
"""Instead of an axis: every line along the last axis is a channel."""


@dataclass(frozen=True)
class LayerKind:
    """`output` is the axis of the output channels, or `ROWS`; empty where the layer has none, which is one channel."""

    name: str
    output: str = "0"

    def output_axis(self, axes: int) -> int | None:
        """The axis of weights with so many axes; of stacked experts that within each expert."""
        if not self.output or axes < 2:
            return None
        return axes - 2 if self.output == ROWS else int(self.output) % axes

    @property
    def where(self) -> str:
        """The axis in words."""
        return {"": "no output axis", "-1": "output axis last", ROWS: "output axes all but the last"}.get(
            self.output, f"output axis {self.output}"
        )


DEPTHWISE = "depthwise "
"""What stands before the kind of a convolution with one input channel for each of several outputs."""
LINEAR = LayerKind("linear")
CONVOLUTION = LayerKind("convolution")
TRANSPOSED = LayerKind("transposed convolution", "1")
CONV1D = LayerKind("Conv1D", "1")
"""That of transformers, by which GPT-2 is made of weights [in, out]."""
EMBEDDING = LayerKind("embedding")
EXPERTS = LayerKind("stacked experts", ROWS)
"""[E, out, in]: the channels are those of all experts."""
TOKENS = LayerKind("embedding", ROWS)
"""[1, N, dim], as vision transformers have those of places."""
KERNEL = LayerKind("kernel of Flax or Keras", "-1")
VECTOR = LayerKind("vector", "")
INPUTS = LayerKind("inputs of a layer", ROWS)
"""What a layer reads, the axis that it sums over put last."""


def kind_name(kind: LayerKind, shape: tuple[int, ...]) -> str:
    """What weights of a kind and a shape are called in rules: the kind's name, or `depthwise convolution`."""
    depthwise = kind == CONVOLUTION and len(shape) > 2 and shape[1] == 1 < shape[0]
    return DEPTHWISE + kind.name if depthwise else kind.name


@dataclass(frozen=True)
class Matrix:
    """A tensor with `axis` put first, as a matrix of channels × their inputs, `high` × `wide`."""

    axis: int
    high: int
    wide: int

    @staticmethod
    def of(shape: tuple[int, ...], axis: str) -> "Matrix":
        """For channels along `axis`, which must be there, or `ROWS`; without either it is the first axis of several,
        and a tensor of one axis is a single channel.
        """
        n = math.prod(shape)
        if axis == ROWS:
            wide = shape[-1] if shape else 1
            return Matrix(0, math.prod(shape[:-1]), wide)
        if not axis and len(shape) < 2:
            return Matrix(0, 1, n)
        at = int(axis or 0) % len(shape)
        return Matrix(at, shape[at], math.prod(shape[:at]) * math.prod(shape[at + 1 :]))


def axis_of(text: object) -> str:
    """An axis as settings have it: a whole number, `ROWS` or nothing. Raises `UserError`."""
    word = str(text).strip().replace("−", "-")
    try:
        return word if word in ("", ROWS) else str(int(word))
    except ValueError:
        remedy = f"Write nothing for the output axis of the layer's kind, or {ROWS} for all axes but the last."
        raise UserError(f"Axis must be a whole number, not “{word[:80]}”.", remedy, field="axis") from None
