"""How many values share one scale: all, those of a channel, or those of a group."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.quant.arrays import AnyArray, Floats


class Granularity(Plugin):
    """A way to divide a tensor into groups that each have a scale of their own."""

    order: ClassVar[int]

    @abstractmethod
    def rows(self, tensor: AnyArray) -> Floats:
        """The tensor as float32 rows, one a group: `[G, N]`. A short last group is filled up with NaN."""

    @abstractmethod
    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        """Undo `rows`: put `[G, N]` back into the tensor's shape."""

    def refusal(self, shape: tuple[int, ...]) -> str:
        """Why a tensor of this shape cannot be divided so; empty if it can."""
        del shape
        return ""

    def remark(self, shape: tuple[int, ...]) -> str:
        """What one should know about dividing such a tensor so; empty if there is nothing."""
        del shape
        return ""


granularities: Registry[Granularity] = Registry("granularity")


@granularities.register
@dataclass(frozen=True)
class PerTensor(Granularity):
    """One scale for the whole tensor: `[2, 3]` → rows `[1, 6]`."""

    name: ClassVar[str] = "tensor"
    title: ClassVar[str] = "Tensor"
    help: ClassVar[str] = "One scale for all values. Smallest, and the first to suffer from outliers."
    order: ClassVar[int] = 0

    def rows(self, tensor: AnyArray) -> Floats:
        return _float32(tensor).reshape(1, -1)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        return rows.reshape(shape)


@granularities.register
@dataclass(frozen=True)
class PerChannel(Granularity):
    """One scale for each index of `axis`: `[32, 16, 3, 3]`, axis 0 → rows `[32, 144]`."""

    axis: int = 0
    name: ClassVar[str] = "channel"
    title: ClassVar[str] = "Channel"
    help: ClassVar[str] = "One scale for each output channel (axis 0 of a convolution or linear weight)."
    order: ClassVar[int] = 1

    def rows(self, tensor: AnyArray) -> Floats:
        first = np.moveaxis(tensor, self.axis, 0)
        return _float32(first).reshape(first.shape[0], -1 if first.size else 0)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        axis = self.axis % len(shape)
        moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
        return np.moveaxis(rows.reshape(moved), 0, axis)

    def refusal(self, shape: tuple[int, ...]) -> str:
        if -len(shape) <= self.axis < len(shape):
            return ""
        axes = f"axes 0 to {len(shape) - 1}" if shape else "no axes"
        return f"Axis {self.axis} is not there: the tensor has {axes}."


@granularities.register
@dataclass(frozen=True)
class PerGroup(Granularity):
    """One scale for each `size` neighbours along the last axis: `[4, 70]`, size 32 → rows `[12, 32]`.

    The last group of each line may be short (ONNX allows it, and so does `[4, 70]`: 32 + 32 + 6).
    """

    size: int = 32
    name: ClassVar[str] = "group"
    title: ClassVar[str] = "Group"
    help: ClassVar[str] = "One scale for each run of neighbours along the last axis. Precise; scales cost bits."
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"A group of {self.size} values is not possible.", "Take 1 or more.",
                            field="granularity")  # fmt: skip

    def rows(self, tensor: AnyArray) -> Floats:
        length, size = self._cut(tensor.shape)
        lines = _float32(tensor).reshape(-1, length)
        short = -length % size
        if short:
            lines = np.pad(lines, ((0, 0), (0, short)), constant_values=np.nan)
        return lines.reshape(-1, size)

    def restore(self, rows: AnyArray, shape: tuple[int, ...]) -> AnyArray:
        length, size = self._cut(shape)
        return rows.reshape(-1, length + -length % size)[:, :length].reshape(shape)

    def remark(self, shape: tuple[int, ...]) -> str:
        length, size = self._cut(shape)
        if size == self.size:
            return ""
        values = "1 value" if length == 1 else f"{length} values"
        return f"A line along the last axis has {values}: each is a group, and scales cost more bits than they save."

    def _cut(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The length of a line, and of the groups in it: a line shorter than a group is one group."""
        length = max(shape[-1], 1) if shape else 1
        return length, min(self.size, length)


def _float32(tensor: AnyArray) -> Floats:
    return np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape)
