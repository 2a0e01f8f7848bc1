"""A `.npz` archive with images and labels, as `numpy.savez` writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.datasets import Data, Source, datasets, fingerprint
from qexplorer.engine.datasets.holdout import NOTE, holdout
from qexplorer.engine.datasets.npz_headers import CHANNELS, COUNTED_BY, REMEDY, check_headers
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.weights import FormatError
from qexplorer.weights.guards import guarded
from qexplorer.weights.readers import look_at, readers

MOST_CLASSES = 100_000
READ = 0.9
"""Where reading ends, as a fraction of the whole; scaling is the rest."""


@datasets.register
@dataclass(frozen=True)
class Npz(Source):
    """`x`: uint8, scaled to 0 … 1, or floats, taken as they are; [N, H, W], [N, C, H, W] or, where that does not fit,
    [N, H, W, C] with C 1 or 3. `y`: whole numbers [N]. The test part is `x_test` and `y_test`, or the samples whose
    `test` is true or 1; without either a seeded fifth.
    """

    path: Path

    name: ClassVar[str] = "npz"
    title: ClassVar[str] = "NumPy archive (.npz)"
    help: ClassVar[str] = "a .npz with x and y, and perhaps x_test and y_test"
    order: ClassVar[int] = 30

    @classmethod
    def claim(cls, text: str) -> Self | None:
        path = Path(text).expanduser()
        return cls(path) if path.suffix.lower() == ".npz" and path.is_file() else None

    def read(self) -> Steps[Data]:
        yield Progress("Reading the headers", fraction=0.0)
        try:
            arrays = yield from _arrays(self.path)
        except FormatError as error:
            raise UserError(error.what, error.remedy, field="data") from error
        yield Progress("Scaling the images", fraction=READ)
        x, y, sha256, note = arrays["x"], labels(self.path, arrays, "y"), fingerprint(*arrays.values()), ""
        if "x_test" in arrays:
            parts = x, y, arrays["x_test"], labels(self.path, arrays, "y_test")
        else:
            note = "" if "test" in arrays else NOTE
            train, test = marked(self.path, arrays["test"]) if "test" in arrays else holdout(len(x), self.path)
            parts = x[train], y[train], x[test], y[test]
        x_train, y_train, x_test, y_test = parts
        return Data(
            self.path.stem, images(self.path, x_train), y_train, images(self.path, x_test), y_test, sha256, note
        )


def images(path: Path, x: NDArray[Any]) -> NDArray[np.float32]:
    """Images as they are stored as float32 [N, C, H, W]; a `UserError` where one is not finite in float32."""
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[1] not in CHANNELS:
        x = np.moveaxis(x, 3, 1)
    if x.dtype == np.uint8:
        return np.divide(x, np.float32(255), order="C")
    with np.errstate(over="ignore"):  # what no float32 can hold becomes infinite and is refused
        scaled = np.array(x, np.float32, order="C")
    if not np.isfinite(scaled).all():
        raise UserError(f"{path} has images with NaN, infinity or more than float32 can hold.", field="data")
    return scaled


def labels(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.int64]:
    """The labels of that name; a `UserError` where one is negative or absurdly high."""
    y = arrays[name]
    if y.min() < 0 or y.max() >= MOST_CLASSES:
        worst = y.min() if y.min() < 0 else y.max()
        raise UserError(f"{path} has a label {worst} in {name}; labels are 0 to {MOST_CLASSES - 1:,}.", field="data")
    return y.astype(np.int64)


def marked(path: Path, mask: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which samples train and which test, by the mask of the latter."""
    if mask.min() < 0 or mask.max() > 1:
        raise UserError(f"{path} has other values than 0 and 1 in test.", REMEDY, field="data")
    test = mask.astype(np.bool_)
    if test.all() or not test.any():
        raise UserError(f"{path} marks {'all' if test.all() else 'none'} of its samples as test.", field="data")
    return ~test, test


def _arrays(path: Path) -> Steps[dict[str, NDArray[Any]]]:
    """The arrays, once their headers are found to be in order. Raises `FormatError` where the archive is not."""
    with guarded(path.name):
        source, reader = (yield from look_at(path)), readers["numpy"]()
        if source.records is None or not reader.accepts(source):
            raise UserError(f"{path} is not an archive of NumPy arrays.", REMEDY, field="data")
        checkpoint = yield from reader.open(source)
    infos = {name: checkpoint.by_name[name] for name in COUNTED_BY if name in checkpoint.by_name}
    nbytes = check_headers(path, infos)
    arrays: dict[str, NDArray[Any]] = {}
    done = 0
    for info in infos.values():
        start, done = done, done + info.nbytes
        part = within(checkpoint.read_steps(info), READ * start / nbytes, READ * done / nbytes)
        arrays[info.name] = yield from part
    return arrays
