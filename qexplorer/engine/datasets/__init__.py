"""Data sets of small images: each file here reads one kind, into NumPy arrays and never through torch."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.progress import Steps

SIDE = 32
"""Height and width in pixels of what the shipped models take; some sources pad, enlarge or resize to it."""
MOST_BYTES = 1 << 30
"""What holds more, once it is unpacked, is refused; the largest file of MNIST has 47 million."""


@dataclass(frozen=True)
class Data:
    """Images and labels, split; the arrays are read-only.

    `x_train`, `x_test`: float32 [N, C, H, W], C 1 for grey and 3 for red, green, blue, all images of one size; what is
    stored as whole numbers is scaled to 0 … 1. `y_train`, `y_test`: int64 [N], the class, from 0 on. `sha256` is that
    of the stored pixels and labels, so it is the same for packed and unpacked files. `note` says in whole sentences
    what was done that the person did not ask for.
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    sha256: str
    note: str = ""

    def __post_init__(self) -> None:
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            array.setflags(write=False)


class Source(Plugin):
    """A kind of data set: says whether a word or path is one of its own, and reads it. `help` is what one writes."""

    word: ClassVar[str] = ""
    """What names it, where it is not at a path."""

    @classmethod
    def claim(cls, text: str) -> Self | None:
        """The source of that name or at that path, or None where it is not of this kind."""
        return cls() if cls.word and text == cls.word else None

    @abstractmethod
    def read(self) -> Steps[Data]:
        """Read it whole. Raises `UserError` naming the file at fault."""
        raise NotImplementedError


datasets = Registry[Source]("data set")


def open_dataset(text: str | Path) -> Steps[Data]:
    """Read the data set of that name (`digits`, `mnist`) or at that path (a folder, a `.npz`)."""
    return (yield from find_dataset(text).read())


def find_dataset(text: str | Path) -> Source:
    """The source of that name or path; nothing of it is read yet. A `UserError` says what there is.

    A `Path` is never taken for a name, and neither is a text such as `./mnist`.
    """
    try:
        where = Path(text).expanduser()
        word = str(where.absolute()) if isinstance(text, Path) else text
        source = next((found for kind in datasets if (found := kind.claim(word)) is not None), None)
        exists = where.exists()
    except (OSError, RuntimeError) as error:  # a RuntimeError where `~name` names nobody
        raise UserError(f"There is no data set “{text}” to be seen: {error}.", field="data") from error
    if source is not None:
        return source
    what = f"{where} is not a data set." if exists else f"There is no data set “{text}”."
    raise UserError(what, f"What can be opened: {data_help()}.", field="data")


def data_help() -> str:
    """What a person can write for a data set."""
    return "; ".join(kind.help for kind in datasets)


def fingerprint(*arrays: NDArray[Any]) -> str:
    """SHA-256 over the shapes and bytes of `arrays`, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


datasets.discover(__name__, list(__path__))
