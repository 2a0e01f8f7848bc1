import errno
import os
from pathlib import Path

import pytest
import torch

from qexplorer.engine.runs.artifacts import save_state
from qexplorer.errors import UserError


def test_the_size_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.pt"
    size = save_state({"w": torch.ones(1000)}, path)
    assert size == path.stat().st_size > 4000
    assert torch.load(path, weights_only=True)["w"].sum() == 1000
    assert os.listdir(path.parent) == ["x.pt"]  # noqa: PTH208


@pytest.mark.parametrize(("code", "remedy"), [(errno.ENOSPC, "Free some space"), (errno.EROFS, "another data folder")])
def test_a_failed_write_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=rf"x\.pt cannot be written: .*{remedy}"):
        save_state({"w": torch.ones(10)}, tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_whole_when_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"older")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError):
        save_state({"w": torch.ones(10)}, path)
    assert path.read_bytes() == b"older"
