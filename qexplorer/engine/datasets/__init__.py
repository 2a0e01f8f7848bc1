"""Data sets of small grey images: each file here reads one kind, into NumPy arrays and never through torch."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps

SIDE = 32
"""Height and width in pixels of every image that the models here take."""


@dataclass(frozen=True)
class Data:
    """Images and labels, split; the arrays are read-only.

    `x_train`, `x_test`: float32 [N, 1, 32, 32], 0 is the background and 1 the darkest ink; `y_train`, `y_test`: int64
    [N], the class. `sha256` is that of the stored pixels and labels, so it is the same for packed and unpacked files.
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    sha256: str

    def __post_init__(self) -> None:
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            array.setflags(write=False)


class Source(Plugin):
    """A kind of data set: says whether a word or path is one of its own, and reads it."""

    @classmethod
    @abstractmethod
    def claim(cls, text: str) -> Self | None:
        """The source of that name or at that path, or None where it is not of this kind."""

    @abstractmethod
    def read(self) -> Steps[Data]:
        """Read it whole. Raises `UserError` naming the file at fault."""
        raise NotImplementedError


datasets = Registry[Source]("data set")


def open_dataset(text: str | Path) -> Steps[Data]:
    """Read the data set of that name (`digits`) or at that path (a folder of MNIST IDX files)."""
    return (yield from find_dataset(text).read())


def find_dataset(text: str | Path) -> Source:
    """The source of that name or path; nothing of it is read yet. A `UserError` says what there is."""
    for kind in datasets:
        source = kind.claim(str(text))
        if source is not None:
            return source
    where = Path(text).expanduser()
    what = f"{where} is not a data set." if where.exists() else f"There is no data set “{text}”."
    kinds = "; ".join(kind.help for kind in datasets)
    raise UserError(what, f"What can be opened: {kinds}.", field="data")


def fingerprint(*arrays: NDArray[Any]) -> str:
    """SHA-256 over the shapes and bytes of `arrays`, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


datasets.discover(__name__, list(__path__))
