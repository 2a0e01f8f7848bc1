import errno
import os
import threading
from pathlib import Path

import pytest

from qexplorer.errors import UserError
from qexplorer.folders import write_whole


def failing(code: int):
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_written_with_its_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.bin"
    assert write_whole(path, memoryview(b"12345")) == 5
    assert path.read_bytes() == b"12345"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "remedy"), [(errno.ENOSPC, "Free some space"), (errno.EROFS, "another folder"), (errno.EIO, "Check")]
)
def test_a_failed_write_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    monkeypatch.setattr(os, "fsync", failing(code))
    with pytest.raises(UserError) as caught:
        write_whole(tmp_path / "x.pt", b"new")
    assert "x.pt" in caught.value.what
    assert remedy in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_whole_when_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"older")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(UserError):
        write_whole(path, b"new")
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_one_file_at_the_same_time_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, both_wrote = tmp_path / "x.bin", threading.Barrier(2, timeout=20)
    monkeypatch.setattr(os, "fsync", lambda _: both_wrote.wait())  # neither renames before the other has written
    contents = [b"a" * 1000, b"b" * 2000]
    writers = [threading.Thread(target=write_whole, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.mkdir()
    with pytest.raises(UserError):
        write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    assert write_whole(path, b"through") == 7
    reader.join()
    assert read == [b"through"]
    assert path.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_named_with_what_it_has_left() -> None:
    with pytest.raises(UserError, match=r"No space left.*Free some space on the disk of /dev.*MB left of .* MB"):
        write_whole(Path("/dev/full"), b"x")
