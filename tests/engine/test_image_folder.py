from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qexplorer.engine.datasets import Data, find_dataset, open_dataset
from qexplorer.engine.datasets.mnist import FILES
from qexplorer.errors import UserError
from qexplorer.progress import Progress, finish

SPLIT_NOTE = "No test part: a seeded fifth of the samples is the test set."


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def grey(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of five grey pictures of 4 × 6; the pixels of each tell its class and number."""
    for label, name in enumerate(("apple", "pear", "plum")):
        for i in range(5):
            save(tmp_path / "fruit" / name / f"{i}.png", grey(50 * label + i))
    return tmp_path / "fruit"


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """Two classes in `train/` and in `test/`."""
    for part, n in (("train", 6), ("test", 2)):
        for label, name in enumerate(("a", "b")):
            for i in range(n):
                save(tmp_path / "parted" / part / name / f"{i}.png", grey(100 * label + i))
    return tmp_path / "parted"


def values(data: Data) -> list[int]:
    """The pixel that all pixels of a picture are, of all pictures."""
    everything = np.concatenate([data.x_train, data.x_test])
    assert (everything == everything[:, :1, :1, :1]).all()
    return np.rint(everything[:, 0, 0, 0] * 255).astype(int).tolist()


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        finish(open_dataset(folder))
    assert caught.value.field == "data"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_class_is_the_place_of_its_folder(folder: Path) -> None:
    data = finish(open_dataset(folder))
    assert data.name == "fruit"
    assert data.x_train.shape == (12, 1, 4, 6)
    assert data.x_test.shape == (3, 1, 4, 6)
    assert data.x_train.dtype == np.float32
    labels = np.concatenate([data.y_train, data.y_test])
    assert [value // 50 for value in values(data)] == labels.tolist()
    assert sorted(values(data)) == [50 * label + i for label in range(3) for i in range(5)]
    assert data.note == SPLIT_NOTE


def test_the_split_is_the_same_every_time(folder: Path) -> None:
    first, second = finish(open_dataset(folder)), finish(open_dataset(folder))
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.x_test, second.x_test)
    save(folder / "plum" / "4.png", grey(7))
    assert finish(open_dataset(folder)).sha256 != first.sha256


@pytest.mark.parametrize("name", ["test", "val"])
def test_two_folders_are_two_parts(parted: Path, name: str) -> None:
    (parted / "test").rename(parted / name)
    data = finish(open_dataset(parted))
    assert len(data.y_train) == 12
    assert sorted(data.y_test.tolist()) == [0, 0, 1, 1]
    assert [value // 100 for value in values(data)] == [*data.y_train.tolist(), *data.y_test.tolist()]
    assert set(data.y_train[:6].tolist()) == {0, 1}
    assert data.note == ""


def test_a_third_part_is_left_out_and_that_is_said(parted: Path) -> None:
    save(parted / "val" / "c" / "0.png", grey(1))
    assert finish(open_dataset(parted)).note == "The folder val was left out."


def test_classes_called_train_and_test_are_classes(tmp_path: Path) -> None:
    for name in ("train", "test"):
        for i in range(3):
            save(tmp_path / name / f"{i}.png", grey(i))
    assert len(finish(open_dataset(tmp_path)).y_train) == 5


def test_one_coloured_picture_makes_all_coloured(folder: Path) -> None:
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[..., 0], colour[..., 2] = 255, 51
    save(folder / "zebra" / "0.png", colour)
    data = finish(open_dataset(folder))
    everything = np.concatenate([data.x_train, data.x_test])
    labels = np.concatenate([data.y_train, data.y_test])
    assert everything.shape == (16, 3, 4, 6)
    np.testing.assert_array_equal(everything[labels == 3][0, :, 0, 0], np.float32([1, 0, 51 / 255]))
    assert (everything[labels < 3] == everything[labels < 3][:, :1]).all()


def test_sixteen_bits_and_one_bit_are_grey(folder: Path) -> None:
    deep = np.full((4, 6), 25700, np.uint16)
    save(folder / "zebra" / "0.png", deep)
    save(folder / "zebra" / "1.tif", deep.astype(">u2"))
    Image.fromarray(grey(255)).convert("1").save(folder / "zebra" / "2.png")
    data = finish(open_dataset(folder))
    everything = np.concatenate([data.x_train, data.x_test])[np.concatenate([data.y_train, data.y_test]) == 3]
    assert data.x_train.shape[1] == 1
    assert sorted(everything[:, 0, 0, 0].tolist()) == [np.float32(25700 / 65535)] * 2 + [1.0]


def test_pictures_of_several_sizes_are_resized(folder: Path) -> None:
    save(folder / "plum" / "large.png", grey(200, 40, 50))
    save(folder / "plum" / "deep.png", np.full((8, 8), 200 * 257, np.uint16))
    data = finish(open_dataset(folder))
    assert data.x_train.shape[1:] == (1, 32, 32)
    assert sorted(values(data))[-2:] == [200, 200]
    assert data.note == f"{SPLIT_NOTE} Images of several sizes were resized to 32 × 32."


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "bmp", "gif", "webp", "tiff", "ppm"])
def test_pictures_of_several_formats_are_read(tmp_path: Path, suffix: str) -> None:
    for i in range(4):
        save(tmp_path / "a" / f"{i}.{suffix}", grey(120, 8, 8))
    data = finish(open_dataset(tmp_path))
    assert data.x_train.shape[2:] == (8, 8)
    np.testing.assert_allclose(data.x_train, 120 / 255, atol=0.01)


def test_transparency_and_palettes_are_left_out(tmp_path: Path) -> None:
    clear = Image.fromarray(np.full((4, 4, 4), (255, 0, 0, 0), np.uint8))
    (tmp_path / "a").mkdir()
    for i in range(2):
        clear.save(tmp_path / "a" / f"{i}.png")
        Image.fromarray(grey(0, 4, 4)).convert("P").save(tmp_path / "a" / f"p{i}.png", transparency=b"\x00\x80")
    data = finish(open_dataset(tmp_path))
    assert data.x_train.shape[1] == 3
    assert set(np.concatenate([data.x_train, data.x_test])[:, 0].ravel().tolist()) == {0.0, 1.0}


def test_what_is_no_picture_or_hidden_is_skipped(folder: Path) -> None:
    (folder / "apple" / "notes.txt").write_text("five apples")
    (folder / "apple" / ".hidden.png").write_text("no picture")
    (folder / "apple" / "folder.png").mkdir()
    (folder / "apple" / "gone.png").symlink_to(folder / "nothing")
    (folder / "apple" / "device.png").symlink_to("/dev/null")
    (folder / ".thumbnails").mkdir()
    (folder / "readme.md").write_text("fruit")
    assert len(values(finish(open_dataset(folder)))) == 15


def test_links_that_lead_in_circles_do_no_harm(folder: Path) -> None:
    (folder / "apple" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "apple" / "self.png").symlink_to(folder / "apple" / "self.png")
    (folder / "self").symlink_to(folder / "self", target_is_directory=True)
    assert len(values(finish(open_dataset(folder)))) == 15
    (folder / "round").symlink_to(folder, target_is_directory=True)
    assert "has no picture of the class round" in refusal(folder)


def test_a_class_must_be_in_both_parts(parted: Path) -> None:
    save(parted / "train" / "c" / "0.png", grey(1))
    assert "test has no picture of the class c" in refusal(parted)
    (parted / "test" / "c").mkdir()
    assert "test has no picture of the class c" in refusal(parted)
    save(parted / "test" / "c" / "0.png", grey(1))
    save(parted / "test" / "d" / "0.png", grey(1))
    assert "train has no picture of the class d" in refusal(parted)


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "has no picture in a class folder. Each class is a folder of pictures" in refusal(tmp_path)
    save(tmp_path / "a" / "0.png", grey(1))
    assert "has a single sample" in refusal(tmp_path)


def is_no_picture(path: Path) -> None:
    path.write_text("no picture")


def is_empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-600])


def is_float(path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), np.float32)).save(path, "TIFF")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (is_no_picture, "is not a picture of a known kind"),
        (is_empty, "is not a picture of a known kind"),
        (cut, "cannot be read: image file is truncated"),
        (is_float, "has pixels of a kind (F)"),
    ],
)
def test_a_damaged_picture_is_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder / "pear" / "3.png")
    assert message in refusal(folder)
    assert str(folder / "pear") in refusal(folder)


@pytest.mark.parametrize("most", [20, 13, 5])
def test_a_picture_of_too_many_pixels_is_refused(folder: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)  # Pillow warns at 24 pixels of 13 and refuses at 24 of 5
    assert "0.png claims more pixels" in refusal(folder)


def test_too_many_pixels_together_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.engine.datasets.image_folder.MOST_BYTES", 15 * 24 - 1)
    assert "unpacks to" in refusal(folder)


def test_an_unreadable_folder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    source = find_dataset(folder)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match="fruit cannot be listed: Permission denied"):
        finish(source.read())


def test_it_can_be_cancelled_every_fifty_pictures(tmp_path: Path) -> None:
    for i in range(120):
        save(tmp_path / "a" / f"{i}.png", grey(i, 2, 2))
    reports: list[Progress] = []
    finish(open_dataset(tmp_path), reports.append)
    for phase in ("Looking at the images", "Reading the images"):
        done = [report.done for report in reports if report.phase == phase]
        assert max(np.diff([*done, 120])) <= 50
    fractions = [report.fraction or 0 for report in reports]
    assert fractions == sorted(fractions)
    steps = open_dataset(tmp_path)
    while next(steps).phase != "Reading the images":
        pass
    steps.close()


def test_a_folder_of_idx_files_is_not_one_of_images(folder: Path) -> None:
    (folder / FILES[0]).write_bytes(b"")
    assert find_dataset(folder).name == "mnist"
    (folder / FILES[0]).unlink()
    assert find_dataset(folder).name == "image_folder"
