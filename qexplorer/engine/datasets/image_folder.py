"""A folder of class folders of pictures, perhaps in two parts."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.datasets import MOST_BYTES, SIDE, Data, Source, datasets
from qexplorer.engine.datasets.holdout import NOTE, holdout, shuffled
from qexplorer.engine.datasets.picture import SUFFIXES, Look, look_at, pixels
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, within
from qexplorer.text import first_few, printable

TRAIN, TESTS = "train", ("test", "val")
EVERY = 20
"""After so many pictures there is a chance to cancel."""
LOOKED = 0.2
"""Where looking at the headers ends, as a fraction of the whole."""
RESIZED = f"Images of several sizes were resized to {SIDE} × {SIDE}."
REMEDY = "Each class is a folder of pictures; the class folders may lie in train/ and test/ (or val/)."

Classes = dict[str, list[Path]]


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and its class."""

    path: Path
    label: int


@datasets.register
@dataclass(frozen=True)
class ImageFolder(Source):
    """A class is a folder, its number the place of its name among all, sorted; a picture is a file straight in it with
    one of `SUFFIXES`. Names that begin with a dot are left out. Grey if every picture is, else red, green and blue.
    The samples come in a seeded order, so that the first few are of many classes.
    """

    folder: Path

    name: ClassVar[str] = "image_folder"
    title: ClassVar[str] = "Folder of images"
    help: ClassVar[str] = "a folder of class folders of images, perhaps in train/ and test/"
    order: ClassVar[int] = 40

    @classmethod
    def claim(cls, text: str) -> Self | None:
        folder = Path(text).expanduser()
        return cls(folder) if folder.is_dir() and next(_folders(folder), None) else None

    def read(self) -> Steps[Data]:
        train, test, notes = yield from self._parts()
        samples = [*train, *test]
        looks = yield from within(_looks(samples), 0.0, LOOKED)
        channels = 1 if all(look.is_grey for look in looks) else 3
        is_mixed = len({(look.width, look.height) for look in looks}) > 1
        side = SIDE if is_mixed else 0
        if is_mixed:
            notes.append(RESIZED)
        shape = (channels, SIDE, SIDE) if is_mixed else (channels, looks[0].height, looks[0].width)
        _check_total(self.folder, len(samples), shape)
        x_train = np.empty((len(train), *shape), np.float32)
        x_test = np.empty((len(test), *shape), np.float32)
        digest = hashlib.sha256(str((x_train.shape, x_test.shape)).encode())
        for i, (sample, look) in enumerate(zip(samples, looks, strict=True)):
            if i % EVERY == 0:
                yield Progress("Reading the images", i, len(samples), LOOKED + (1 - LOOKED) * i / len(samples))
            image = x_train[i] if i < len(train) else x_test[i - len(train)]
            image[:] = pixels(sample.path, look, channels=channels, side=side)
            digest.update(image.data)
        y_train, y_test = _labels(train), _labels(test)
        digest.update(y_train.data)
        digest.update(y_test.data)
        name = self.folder.resolve().name
        return Data(name, x_train, y_train, x_test, y_test, digest.hexdigest(), " ".join(notes))

    def _parts(self) -> Steps[tuple[list[Sample], list[Sample], list[str]]]:
        """The samples that train, those that test, and what is to be said about it."""
        train = self.folder / TRAIN
        tests = [self.folder / name for name in TESTS if _is_part(self.folder / name)]
        if not tests or not _is_part(train):
            samples = _samples(self.folder, (yield from _classes(self.folder)))
            parts = holdout(len(samples), self.folder)
            return [samples[i] for i in parts[0]], [samples[i] for i in parts[1]], [NOTE]
        both = {train: (yield from _classes(train))}
        both[tests[0]] = yield from _classes(tests[0])
        names = sorted({name for classes in both.values() for name in classes})
        listed = [_samples(folder, {n: classes.get(n, []) for n in names}) for folder, classes in both.items()]
        ordered = [[samples[i] for i in shuffled(len(samples))] for samples in listed]
        return ordered[0], ordered[1], [f"The folder {other.name} was left out." for other in tests[1:]]


def _is_part(folder: Path) -> bool:
    return folder.is_dir() and next(_folders(folder), None) is not None


def _folders(folder: Path) -> Iterator[Path]:
    return _visible(folder, Path.is_dir)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _visible(folder: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    """What is in a folder, is `wanted` and is not hidden, in no order. Raises `UserError` where it cannot be listed."""
    try:
        for path in folder.iterdir():
            if not path.name.startswith(".") and wanted(path):
                yield path
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}.", field="data") from error


def _classes(folder: Path) -> Steps[Classes]:
    """The pictures in each class folder, by its name, sorted."""
    classes: Classes = {}
    for path in sorted(_folders(folder)):
        yield Progress(f"Listing {printable(path.name, 80)}", fraction=0.0)
        classes[path.name] = sorted(_visible(path, _is_picture))
    return classes


def _samples(folder: Path, classes: Classes) -> list[Sample]:
    """All samples of a part, class by class; a `UserError` where a class has none."""
    if not any(classes.values()):
        raise UserError(f"{folder} has no picture in a class folder.", REMEDY, field="data")
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise UserError(f"{folder} has no picture of the class {first_few(empty)}.", REMEDY, field="data")
    return [Sample(path, label) for label, files in enumerate(classes.values()) for path in files]


def _looks(samples: Sequence[Sample]) -> Steps[list[Look]]:
    looks: list[Look] = []
    for i, sample in enumerate(samples):
        if i % EVERY == 0:
            yield Progress("Looking at the images", i, len(samples))
        looks.append(look_at(sample.path))
    return looks


def _check_total(folder: Path, n: int, shape: tuple[int, ...]) -> None:
    """Refuse what takes too much memory, counted with a byte for each value as in a file that is not packed."""
    nbytes = n * int(np.prod(shape, dtype=object))
    if nbytes > MOST_BYTES:
        raise UserError(
            f"{folder} unpacks to {nbytes >> 20:,} MiB; at most {MOST_BYTES >> 20:,} MiB are read.", field="data"
        )


def _labels(samples: Sequence[Sample]) -> NDArray[np.int64]:
    return np.array([sample.label for sample in samples], np.int64)
