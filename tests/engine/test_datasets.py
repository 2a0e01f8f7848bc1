import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qexplorer.engine.datasets import Data, open_dataset
from qexplorer.engine.datasets.mnist import FILES
from qexplorer.errors import UserError
from qexplorer.progress import finish


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five training and three test images, unpacked."""
    numbers = np.random.default_rng(0)
    for name, n in zip(FILES, (5, 5, 3, 3), strict=True):
        shape = (n, 28, 28) if "images" in name else (n,)
        high = 256 if "images" in name else 10
        (tmp_path / name).write_bytes(idx(numbers.integers(0, high, shape, dtype=np.uint8)))
    return tmp_path


def check_shapes(data: Data, train: int, test: int) -> None:
    assert data.x_train.shape == (train, 1, 32, 32)
    assert data.x_test.shape == (test, 1, 32, 32)
    assert data.x_train.dtype == np.float32
    assert data.y_train.dtype == np.int64
    assert data.y_train.shape == (train,)
    assert data.y_test.shape == (test,)
    assert data.x_train.min() >= 0
    assert data.x_train.max() <= 1
    assert len(data.sha256) == 64


def test_digits_are_all_1797_in_a_fixed_split() -> None:
    data = finish(open_dataset("digits"))
    check_shapes(data, 1437, 360)
    assert data.sha256 == "2617fa14ad103213721bdad5de66f92bfbdb5463e3d5f8cfa6021df8fc715398"
    assert set(data.y_test.tolist()) == set(range(10))


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    images, _ = load_digits(return_X_y=True)
    data = finish(open_dataset("digits"))
    ours = np.concatenate([data.x_train, data.x_test])[:, 0, ::4, ::4].reshape(-1, 64) * 16
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, images.tolist()))


def test_digits_say_their_licence() -> None:
    from qexplorer.resources import resource

    with np.load(resource("digits.npz"), allow_pickle=False) as file:
        assert "CC BY 4.0" in str(file["licence"])


def test_the_arrays_cannot_be_changed() -> None:
    data = finish(open_dataset("digits"))
    with pytest.raises(ValueError, match="read-only"):
        data.x_test[0] = 1


def test_mnist_images_are_padded_to_32_and_scaled_to_one(folder: Path) -> None:
    data = finish(open_dataset(folder))
    check_shapes(data, 5, 3)
    raw = np.frombuffer((folder / FILES[0]).read_bytes(), np.uint8, offset=16).reshape(5, 28, 28)
    np.testing.assert_array_equal(data.x_train[:, 0, 2:-2, 2:-2], raw / np.float32(255))
    assert data.x_train[:, 0, :2].sum() == 0
    assert data.x_train[:, 0, :, -2:].sum() == 0


def test_packed_and_unpacked_files_are_the_same_data(folder: Path) -> None:
    unpacked = finish(open_dataset(folder))
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    packed = finish(open_dataset(folder))
    assert packed.sha256 == unpacked.sha256
    np.testing.assert_array_equal(packed.x_test, unpacked.x_test)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def change_magic(path: Path) -> None:
    path.write_bytes(b"\0\0\x0d" + path.read_bytes()[3:])


def behead(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6])


def claim_huge(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4] + b"\xff" * 12 + path.read_bytes()[16:])


def shrink_images(path: Path) -> None:
    path.write_bytes(idx(np.zeros((5, 20, 20), np.uint8)))


def drop_one(path: Path) -> None:
    path.write_bytes(idx(np.zeros(4, np.uint8)))


def label_eleven(path: Path) -> None:
    path.write_bytes(idx(np.full(5, 11, np.uint8)))


def empty(path: Path) -> None:
    path.write_bytes(idx(np.zeros((0, 28, 28), np.uint8)))


def break_gzip(path: Path) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()


def is_no_gzip(path: Path) -> None:
    path.rename(path.with_name(path.name + ".gz"))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (FILES[0], cut, "holds 3919 values where its header says 3920"),
        (FILES[1], lengthen, "holds 6 values where its header says 5"),
        (FILES[2], change_magic, "starts with 0x00000d03 where MNIST has 0x00000803"),
        (FILES[3], behead, "too short for an IDX header"),
        (FILES[0], claim_huge, "where its header says 79228162458924105385300197375"),
        (FILES[0], shrink_images, "images of 20 × 20"),
        (FILES[1], drop_one, "has 4 labels for 5 images"),
        (FILES[1], label_eleven, "has a label 11"),
        (FILES[0], empty, "is empty"),
        (FILES[0], break_gzip, "cannot be read"),
        (FILES[0], is_no_gzip, "cannot be read"),
        (FILES[2], Path.unlink, "lacks"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, damage: Callable[[Path], None], message: str) -> None:
    damage(folder / name)
    with pytest.raises(UserError) as caught:
        finish(open_dataset(folder))
    assert message in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.field == "data"


def test_what_is_no_data_set_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a data set.*digits.*MNIST"):
        finish(open_dataset(tmp_path))
    with pytest.raises(UserError, match="There is no data set “dijits”"):
        finish(open_dataset("dijits"))


@pytest.mark.parametrize("text", ["~nobody-of-that-name/x", "x" * 5000, "x\0y", ""])
def test_a_text_that_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(UserError) as caught:
        finish(open_dataset(text))
    assert caught.value.field == "data"


def test_real_mnist_files_are_read(mnist: Path) -> None:
    data = finish(open_dataset(mnist))
    check_shapes(data, len(data.y_train), len(data.y_test))
    assert len(data.y_train) >= 6000
    assert set(data.y_train.tolist()) == set(range(10))
    assert 0.05 < data.x_train.mean() < 0.2
