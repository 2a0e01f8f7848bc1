"""A folder with the four MNIST files in their IDX format, packed with gzip or not."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.datasets import MOST_BYTES, SIDE, Data, Source, datasets, fingerprint
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801
"""IDX: two zero bytes, 0x08 for unsigned bytes, the number of dimensions; then each size as big-endian uint32."""
IMAGE, CLASSES = 28, 10


@datasets.register
@dataclass(frozen=True)
class Mnist(Source):
    """LeCun, Cortes, Burges, “The MNIST database of handwritten digits”: images of 28 × 28, padded to 32 × 32."""

    folder: Path

    name: ClassVar[str] = "mnist"
    title: ClassVar[str] = "MNIST (IDX files)"
    help: ClassVar[str] = "a folder with the four MNIST IDX files, .gz or not"
    order: ClassVar[int] = 20

    @classmethod
    def claim(cls, text: str) -> Self | None:
        folder = Path(text).expanduser()
        return cls(folder) if folder.is_dir() and any(_find(folder, name) for name in FILES) else None

    def read(self) -> Steps[Data]:
        parts: list[NDArray[np.uint8]] = []
        for name in FILES:
            yield Progress(f"Reading {name}", len(parts), len(FILES))
            path = _find(self.folder, name)
            if path is None:
                raise UserError(f"{self.folder} lacks {name}.", "It may end in .gz.", field="data")
            parts.append(read_images(path) if "images" in name else read_labels(path))
        x_train, y_train, x_test, y_test = parts
        for x, y, name in ((x_train, y_train, FILES[1]), (x_test, y_test, FILES[3])):
            if len(x) != len(y):
                raise UserError(f"{self.folder / name} has {len(y)} labels for {len(x)} images.", field="data")
        yield Progress("Padding the images", len(parts), len(FILES))
        sha256 = fingerprint(*parts)
        name = self.folder.resolve().name
        return Data(name, pad(x_train), y_train.astype(np.int64), pad(x_test), y_test.astype(np.int64), sha256)


def pad(x: NDArray[np.uint8]) -> NDArray[np.float32]:
    """28 × 28 images of 0 … 255 [N, 28, 28] as [N, 1, 32, 32] of 0 … 1, with two pixels of background around."""
    edge = (SIDE - IMAGE) // 2
    images = np.zeros((len(x), 1, SIDE, SIDE), np.float32)
    np.divide(x, np.float32(255), out=images[:, 0, edge:-edge, edge:-edge])
    return images


def read_images(path: Path) -> NDArray[np.uint8]:
    """The images [N, 28, 28] of an IDX file."""
    images = read_idx(path, IMAGES_MAGIC)
    if images.shape[1:] != (IMAGE, IMAGE):
        raise UserError(f"{path} has images of {images.shape[1]} × {images.shape[2]}, not 28 × 28.", field="data")
    return images


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The labels [N] of an IDX file, each 0 … 9."""
    labels = read_idx(path, LABELS_MAGIC)
    if labels.max() >= CLASSES:
        raise UserError(f"{path} has a label {labels.max()}; MNIST has the classes 0 to 9.", field="data")
    return labels


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """The unsigned bytes of an IDX file whose first four bytes must be `magic`."""
    raw = _bytes(path)
    dimensions = magic & 0xFF
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise UserError(f"{path} is too short for an IDX header: {len(raw)} bytes.", field="data")
    header = np.frombuffer(raw, ">u4", 1 + dimensions)
    if header[0] != magic:
        raise UserError(f"{path} starts with 0x{header[0]:08x} where MNIST has 0x{magic:08x}.", field="data")
    shape = tuple(int(size) for size in header[1:])
    expected = int(np.prod(shape, dtype=object))
    if not expected:
        raise UserError(f"{path} is empty: its header says {' × '.join(map(str, shape))}.", field="data")
    if len(raw) - start != expected:
        found = len(raw) - start
        raise UserError(f"{path} holds {found} values where its header says {expected}.", field="data")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _bytes(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}.", field="data") from error
    if len(raw) > MOST_BYTES:
        raise UserError(f"{path} holds more than {MOST_BYTES >> 20} MiB.", field="data")
    return raw
