import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.engine.datasets import Data, find_dataset, open_dataset
from qexplorer.errors import UserError
from qexplorer.progress import finish

N = 20


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def classes(n: int) -> np.ndarray:
    return np.arange(n) % 3


def opened(path: Path, **arrays: Any) -> Data:
    np.savez_compressed(path, **arrays)
    return finish(open_dataset(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.npz"


def test_whole_numbers_are_scaled_and_floats_are_taken_as_they_are(path: Path) -> None:
    x = pictures(N, 7, 9)
    data = opened(path, x=x, y=classes(N), x_test=x[:4], y_test=classes(4))
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_train, x[:, None] / np.float32(255))
    np.testing.assert_array_equal(data.x_test, data.x_train[:4])
    assert data.y_train.dtype == np.int64
    assert data.y_test.tolist() == [0, 1, 2, 0]
    assert (data.name, data.note) == ("set", "")
    floats = opened(path, x=x - 128.0, y=classes(N), x_test=x[:4] - 128.0, y_test=classes(4))
    assert floats.x_train.dtype == np.float32
    np.testing.assert_array_equal(floats.x_train[:, 0], x - np.float32(128))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_channels_may_come_first_or_last(path: Path, channels: int) -> None:
    x = pictures(N, channels, 7, 9)
    first = opened(path, x=x, y=classes(N))
    last = opened(path, x=x.transpose(0, 2, 3, 1), y=classes(N))
    assert first.x_train.shape == (16, channels, 7, 9)
    np.testing.assert_array_equal(first.x_train, last.x_train)
    assert last.x_train.flags.c_contiguous


def test_without_a_test_part_a_seeded_fifth_is_it(path: Path) -> None:
    x = np.arange(N, dtype=np.uint8).repeat(4).reshape(N, 2, 2)
    data = opened(path, x=x, y=np.arange(N))
    assert len(data.y_test) == 4
    assert sorted([*data.y_train.tolist(), *data.y_test.tolist()]) == list(range(N))
    np.testing.assert_array_equal(data.x_test[:, 0, 0, 0], data.y_test.astype(np.float32) / np.float32(255))
    assert data.y_test.tolist() == np.random.default_rng(0).permutation(N)[:4].tolist()
    assert data.note == "No test part: a seeded fifth of the samples is the test set."
    assert len(opened(path, x=x[:2], y=np.arange(2)).y_test) == 1


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_a_mask_says_which_samples_test(path: Path, dtype: type) -> None:
    mask = np.arange(N) % 4 == 1
    data = opened(path, x=pictures(N, 5, 5), y=np.arange(N), test=mask.astype(dtype))
    assert data.y_test.tolist() == [1, 5, 9, 13, 17]
    assert len(data.y_train) == 15
    assert data.note == ""


def test_the_checksum_is_that_of_pixels_and_labels(path: Path) -> None:
    x, y = pictures(N, 5, 5), classes(N)
    packed = opened(path, x=x, y=y)
    np.savez(path, x=x, y=y)
    assert finish(open_dataset(path)).sha256 == packed.sha256
    assert opened(path, x=x, y=y[::-1]).sha256 != packed.sha256


def test_the_arrays_cannot_be_changed(path: Path) -> None:
    data = opened(path, x=pictures(N, 5, 5), y=classes(N))
    assert not any(a.flags.writeable for a in (data.x_train, data.y_train, data.x_test, data.y_test))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        finish(open_dataset(path))
    assert caught.value.field == "data"
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


IMAGES, LABELS = pictures(N, 5, 5), classes(N)
GOOD = {"x": IMAGES, "y": LABELS}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "lacks y"),
        ({"labels": LABELS}, "lacks x and y"),
        ({**GOOD, "x_test": IMAGES}, "lacks y_test"),
        ({**GOOD, "y_test": LABELS}, "lacks x_test"),
        ({**GOOD, "x_test": IMAGES, "y_test": LABELS, "test": LABELS > 1}, "has both x_test and test"),
        ({"x": IMAGES, "y": LABELS[1:]}, "has 19 values in y for 20 images in x"),
        ({**GOOD, "x_test": IMAGES[:3], "y_test": LABELS[:2]}, "has 2 values in y_test for 3 images in x_test"),
        ({**GOOD, "test": LABELS[1:] > 1}, "has 19 values in test for 20 images"),
        ({"x": IMAGES[0], "y": LABELS}, "x of shape [5, 5], not [N, H, W]"),
        ({"x": pictures(N, 5, 5, 2), "y": LABELS}, "x of shape [20, 5, 5, 2]"),
        ({"x": IMAGES, "y": LABELS[:, None]}, "y of shape [20, 1], not [N]"),
        ({**GOOD, "x_test": pictures(N, 6, 5), "y_test": LABELS}, "1 × 6 × 5 for x_test and 1 × 5 × 5 for x"),
        ({"x": IMAGES.astype(np.int64), "y": LABELS}, "int64 in x where uint8 or floats belong"),
        ({"x": IMAGES, "y": LABELS.astype(np.float32)}, "float32 in y where whole numbers belong"),
        ({**GOOD, "test": LABELS / 2}, "float64 in test where true or false"),
        ({"x": np.where(IMAGES > 250, np.nan, 0.5), "y": LABELS}, "NaN, infinity"),
        ({"x": np.full((N, 5, 5), 1e300), "y": LABELS}, "more than float32 can hold"),
        ({"x": IMAGES, "y": LABELS - 1}, "has a label -1 in y"),
        ({"x": IMAGES, "y": LABELS.astype(np.uint64) + np.uint64(2**63)}, "has a label 9223372036854775810 in y"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "is empty"),
        ({"x": IMAGES[:, :0], "y": LABELS}, "is empty"),
        ({"x": IMAGES[:1], "y": LABELS[:1]}, "has a single sample"),
        ({**GOOD, "test": LABELS}, "other values than 0 and 1"),
        ({**GOOD, "test": LABELS >= 0}, "marks all of its samples"),
        ({**GOOD, "test": LABELS < 0}, "marks none of its samples"),
        ({"x": IMAGES.astype(object), "y": LABELS}, "has x, which cannot be read: it holds Python objects"),
        ({"x": IMAGES, "y": LABELS.astype(str)}, "has y, which cannot be read"),
        ({}, "is"),
    ],
)
def test_what_is_no_data_set_is_refused_in_a_line(path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    assert message in refusal(path)


def test_a_bomb_is_refused_before_it_is_unpacked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(path, x=np.zeros((5000, 28, 28), np.uint8), y=np.zeros(5000, np.uint8))
    assert path.stat().st_size < 1 << 14
    monkeypatch.setattr("qexplorer.engine.datasets.npz_headers.MOST_BYTES", 3 << 20)
    monkeypatch.setattr("qexplorer.weights.checkpoint.Checkpoint.read_steps", None)
    assert "holds 3 MiB; at most 3 MiB are read" in refusal(path)


def test_a_damaged_archive_is_refused(path: Path) -> None:
    np.savez_compressed(path, x=IMAGES, y=LABELS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert "no list of its records" in refusal(path)
    path.write_bytes(whole[:200] + b"\xff" * 8 + whole[208:])
    refusal(path)
    for nothing in (b"", b"not a zip archive at all, but a text"):
        path.write_bytes(nothing)
        refusal(path)


def test_an_archive_that_is_none_of_numpys_says_what_it_needs(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    assert "is not an archive of NumPy arrays. It needs x (images) and y (labels)" in refusal(path)


def test_a_path_that_is_not_there_is_no_archive(path: Path) -> None:
    with pytest.raises(UserError, match="There is no data set"):
        find_dataset(path)
