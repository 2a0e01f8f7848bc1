"""The bundled handwritten digits: 1,797 images of 8 × 8 from the UCI repository."""

import zipfile
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.datasets import SIDE, Data, Source, datasets, fingerprint
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.resources import resource


@datasets.register
@dataclass(frozen=True)
class Digits(Source):
    """“Optical Recognition of Handwritten Digits” (Alpaydin and Kaynak 1998, CC BY 4.0), test part, as in
    `sklearn.datasets.load_digits`. Which images are the test samples is stored with them: 1,437 train, 360 test.
    """

    name: ClassVar[str] = "digits"
    title: ClassVar[str] = "Digits (bundled)"
    help: ClassVar[str] = "“digits”, the bundled UCI digits"
    order: ClassVar[int] = 10
    word: ClassVar[str] = "digits"

    def read(self) -> Steps[Data]:
        yield Progress("Reading digits")
        path = resource("digits.npz")
        try:
            with np.load(path, allow_pickle=False) as file:
                x, y, test = file["x"], file["y"].astype(np.int64), file["test"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"The bundled digits cannot be read: {path} ({error}).", "Install again.") from error
        images = enlarge(x)
        return Data("digits", images[~test], y[~test], images[test], y[test], fingerprint(x, y, test))


def enlarge(x: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8 × 8 images of 0 … 16 [N, 8, 8] as [N, 1, 32, 32] of 0 … 1; each pixel becomes 4 × 4."""
    factor = SIDE // x.shape[1]
    large = x.repeat(factor, axis=1).repeat(factor, axis=2)
    return large[:, None].astype(np.float32) / np.float32(16)
