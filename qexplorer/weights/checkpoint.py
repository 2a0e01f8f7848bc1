"""What every reader produces: descriptors of tensors, and a way to their numbers block by block."""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError
from qexplorer.numbers import size
from qexplorer.progress import Progress, Steps, finish
from qexplorer.quant.layer_kinds import kind_name
from qexplorer.quant.tensor_source import Values, require_floating
from qexplorer.text import first_few, printable
from qexplorer.weights import limits
from qexplorer.weights.budget import budget
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.kinds import Guess, guess_kind
from qexplorer.weights.roles import PARAMETERS, Role, role_of

BLOCK_BYTES = 64 << 20
"""The most bytes that are held at once while a tensor is read in blocks."""


class FormatError(UserError):
    """A file that cannot be read, said in one line: the file and tensor, what was found and what was expected.

    `kind` is a stable word for tests and scripts, e.g. "Truncated" or "HeaderTooLarge".
    """

    def __init__(self, kind: str, where: str, what: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {what}", remedy)
        self.kind = kind
        self.where = where


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the file's header describes it; nothing of its numbers has been read.

    `dtype` is torch's name for the stored type (`float32`, `bfloat16`, `int8`, `float8_e4m3fn` …), `nbytes` what it
    takes in the file. `unsupported` is empty, or says why its numbers cannot be shown. `storage` is the reader's own.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    file: Path
    tied_to: str = ""
    unsupported: str = ""
    storage: Any = field(default=None, repr=False, compare=False)

    @property
    def n(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Amount:
    """So many tensors, their values, and their bytes in the file."""

    tensors: int = 0
    values: int = 0
    bytes: int = 0

    def plus(self, tensor: TensorInfo) -> "Amount":
        """This and one more tensor."""
        return Amount(self.tensors + 1, self.values + tensor.n, self.bytes + tensor.nbytes)


@dataclass(frozen=True)
class Checkpoint(ABC):
    """An opened file or folder: its tensors in the file's order, and what else its header says.

    `warnings` are things that the person should know and that do not hinder; `code_references` are the names of
    functions that a pickle in the file refers to. They are shown and never run.
    """

    path: Path
    format: str
    tensors: tuple[TensorInfo, ...]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[str, ...] = ()
    code_references: tuple[str, ...] = ()

    @abstractmethod
    def compact_blocks(self, tensor: TensorInfo) -> Generator[NDArray[Any]]:
        """The tensor's values in C order as 1-D arrays of at most `BLOCK_BYTES`, in native byte order.

        bfloat16 comes as its bits, uint16; float8 as float32, which holds each of its values exactly. A tensor without
        elements has no blocks.
        Raises `FormatError` where the file changed since it was listed, or the tensor is `unsupported`.
        """

    def blocks(self, tensor: TensorInfo) -> Generator[NDArray[Any]]:
        """The same with bfloat16 as float32."""
        dtype = DTYPES.get(tensor.dtype)
        wide = dtype is not None and dtype.compact != dtype.values
        with closing(self.compact_blocks(tensor)) as blocks:
            for block in blocks:
                yield dtype.decode(block) if dtype is not None and wide else block

    def read(self, tensor: TensorInfo) -> NDArray[Any]:
        """The whole tensor, in its own shape; read-only."""
        return finish(self.read_steps(tensor))

    def read_steps(self, tensor: TensorInfo) -> Steps[NDArray[Any]]:
        """The same, with a chance to cancel after each block. Raises what `blocks` raises, and "OutOfMemory"."""
        return (yield from _gathered(tensor, self.blocks(tensor)))

    def values_steps(self, tensor: TensorInfo) -> Steps[Values]:
        """Its values to be read piece by piece, from memory where they are few; a `UserError` for whole numbers.

        Raises what `blocks` raises, and "OutOfMemory"; so does reading a piece.
        """
        if tensor.dtype in DTYPES:
            require_floating(DTYPES[tensor.dtype].compact, tensor.dtype)
        array = yield from _gathered(tensor, self.compact_blocks(tensor))
        return Values.of(array, tensor.dtype, self.kind(tensor).kind)

    def kind(self, tensor: TensorInfo) -> Guess:
        """What kind of layer it is the weights of, as far as names and shapes tell."""
        return guess_kind(tensor.name, tensor.shape, self.roles[tensor.name].name, self.by_name)

    def kind_name(self, tensor: TensorInfo) -> str:
        """That kind, as rules name it."""
        known = self._kind_names.get(tensor.name)
        if known is None:
            known = self._kind_names[tensor.name] = kind_name(self.kind(tensor).kind, tensor.shape)
        return known

    @cached_property
    def _kind_names(self) -> dict[str, str]:
        return {}

    def identity(self, tensor: TensorInfo) -> str:
        """What says that a tensor of some file is this very one: path, size, times, inode, a digest of the file's
        header, and its place; empty where unknown.
        """
        del tensor
        return ""

    def require_unchanged(self, tensor: TensorInfo) -> None:
        """Raise "Changed" where the tensor's file is not the one any more that was listed."""
        del tensor

    @cached_property
    def by_name(self) -> dict[str, TensorInfo]:
        """Every tensor by its name."""
        return {t.name: t for t in self.tensors}

    def tensor(self, name: str) -> TensorInfo:
        """The tensor of that name; a `UserError` names the nearest ones where there is none."""
        if name in self.by_name:
            return self.by_name[name]
        near = difflib.get_close_matches(name, self.by_name, n=3, cutoff=0.3)
        remedy = f"Did you mean {first_few(near)}?" if near else "`qexplorer list` shows what there is."
        raise UserError(f"{printable(self.path.name)} has no tensor “{printable(name)}”.", remedy, field="tensor")

    @cached_property
    def roles(self) -> dict[str, Role]:
        """What each tensor is in its model, by its name."""
        return {t.name: role_of(t.name, t.dtype, t.shape, self.by_name) for t in self.tensors}

    @cached_property
    def by_role(self) -> dict[str, "Amount"]:
        """How much there is of each role that occurs; tied tensors are counted once."""
        found: dict[str, Amount] = {}
        for t in self.tensors:
            if not t.tied_to:
                role = self.roles[t.name].name
                found[role] = found.get(role, Amount()).plus(t)
        return found

    @property
    def parameters(self) -> int:
        """How many values the model learns; tied tensors are counted once."""
        return sum(self.by_role[role].values for role in PARAMETERS if role in self.by_role)

    @cached_property
    def n(self) -> int:
        """The number of values; tied tensors are counted once."""
        return sum(t.n for t in self.tensors if not t.tied_to)

    @cached_property
    def nbytes(self) -> int:
        """What the tensors take in the file; tied tensors are counted once."""
        return sum(t.nbytes for t in self.tensors if not t.tied_to)


def _gathered(tensor: TensorInfo, blocks: Generator[NDArray[Any]]) -> Steps[NDArray[Any]]:
    """The whole tensor from its blocks. Raises "OutOfMemory" before the first is read where it cannot be held."""
    known = not tensor.unsupported and tensor.dtype in DTYPES
    itemsize = DTYPES[tensor.dtype].compact.itemsize if known else 0
    require_room(tensor.n * itemsize, tensor.file.name, f"the tensor {printable(tensor.name)}")
    values: NDArray[Any] | None = None
    done = 0
    with closing(blocks):
        for block in blocks:
            if values is None:
                values = block if block.size == tensor.n else _room(tensor, block.dtype)
            if values is not block:
                values[done : done + block.size] = block
            done += block.size
            yield Progress("Reading", done, tensor.n)
    if values is None:
        values = np.empty(tensor.n, DTYPES[tensor.dtype].values)
    values = values.reshape(tensor.shape)
    values.flags.writeable = False
    return values


def _room(tensor: TensorInfo, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.empty(tensor.n, dtype)
    except MemoryError:
        what = f"there is not enough memory for its {tensor.n:,} values."
        raise FormatError("OutOfMemory", printable(tensor.name), what) from None


def require_room(need: int, file: str, what: str) -> None:
    """Raise `FormatError` "OutOfMemory" where `what` needs more bytes of memory than it may take, before it takes any.

    Small needs are met without a look.
    """
    if need > limits.MEMORY_UNASKED and need > (most := budget()):
        found = f"{what} needs {size(need)} of memory to be read. It may take {size(most)}: "
        found += f"{limits.MEMORY_SHARE:.0%} of what is free."
        raise FormatError("OutOfMemory", printable(file), found, "Close other programs, or use a larger machine.")
