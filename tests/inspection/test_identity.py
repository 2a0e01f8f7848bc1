"""What was found of a file is never shown as another file's, whatever else the two have in common."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from qexplorer.inspection.analyses import Analyses
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.weights import open_checkpoint
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.file_checkpoint import FileCheckpoint

SPEC = QuantSpec()
Change = Callable[[Path, bytes], None]
only_posix = pytest.mark.skipif(os.name == "nt", reason="nothing but the content tells them apart there")


def content(seed: int, name: str = "w") -> bytes:
    """A file with one tensor, as long as any other with a name of that length."""
    return save({name: np.random.default_rng(seed).normal(size=(8, 50)).astype(np.float32)})


def analyses(path: Path, cache: SketchCache | None = None) -> Analyses:
    return Analyses(finish(open_checkpoint(path)), cache)


def by_another(path: Path, new: bytes) -> None:
    """The file is replaced by one that was made beside it."""
    other = path.with_name("other")
    other.write_bytes(new)
    other.replace(path)


def by_another_with_its_inode(path: Path, new: bytes) -> None:
    path.unlink()
    path.write_bytes(new)  # file systems mostly give away at once what has become free


def in_place(path: Path, new: bytes) -> None:
    with path.open("r+b") as file:
        file.write(new)


def change(how: Change, path: Path, new: bytes) -> None:
    """Change a file so that its path, size and time stay."""
    before = path.stat()
    how(path, new)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@only_posix
@pytest.mark.parametrize("name", ["w", "v"])
@pytest.mark.parametrize("how", [by_another, by_another_with_its_inode, in_place])
def test_a_sketch_on_the_disk_is_not_that_of_a_changed_file(how: Change, name: str, tmp_path: Path) -> None:
    path, cache = tmp_path / "m.safetensors", SketchCache(tmp_path / "sketches.sqlite3")
    path.write_bytes(content(0))
    old = finish(analyses(path, cache).sketch("w"))
    assert analyses(path, cache).known_sketch("w") is not None
    change(how, path, content(1, name))
    changed = analyses(path, cache)
    assert changed.known_sketch(name) is None
    new = finish(changed.sketch(name)).arrays()
    assert any(not np.array_equal(array, new[part]) for part, array in old.arrays().items())


@only_posix
@pytest.mark.parametrize("how", [by_another, by_another_with_its_inode, in_place])
def test_what_was_found_is_not_shown_once_the_file_has_changed(how: Change, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content(0))
    own = analyses(path)
    finish(own.exact("w", SPEC))
    finish(own.glance("w"))
    assert own.known("w", SPEC) is not None
    assert own.known_sketch("w") is None
    finish(own.sketch("w"))
    assert own.known_sketch("w") is not None
    change(how, path, content(1))
    assert own.known("w", SPEC) is None
    assert own.known_sketch("w") is None
    for steps in (own.exact("w", SPEC), own.quick("w", SPEC), own.sketch("w"), own.glance("w"), own.inspect("w")):
        with pytest.raises(FormatError, match="changed since it was opened"):
            finish(steps)


def test_what_was_found_of_a_file_that_is_gone_stays(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content(0))
    own = analyses(path)
    finish(own.exact("w", SPEC))
    path.unlink()
    assert own.known("w", SPEC) is not None


def test_the_header_alone_tells_files_apart(tmp_path: Path) -> None:
    found: list[FileCheckpoint] = []
    for name in "wv":
        (tmp_path / "m.safetensors").write_bytes(content(0, name))
        checkpoint = finish(open_checkpoint(tmp_path / "m.safetensors"))
        assert isinstance(checkpoint, FileCheckpoint)
        found.append(checkpoint)
    first, second = found[0], replace(found[1], fingerprint=found[0].fingerprint)
    assert first.identity(first.tensors[0]) != second.identity(second.tensors[0])


@pytest.mark.parametrize("kind", ["m.safetensors", "m.npy", "m.npz", "m.pt"])
def test_the_same_file_is_known_again(kind: str, tmp_path: Path) -> None:
    path, array = tmp_path / kind, np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32)
    if kind == "m.pt":
        torch.save({"w": torch.from_numpy(array)}, path)
    elif kind == "m.npz":
        np.savez(path, w=array)
    elif kind == "m.npy":
        np.save(path, array)
    else:
        path.write_bytes(content(0))
    cache = SketchCache(tmp_path / "sketches.sqlite3")
    first, again = analyses(path, cache), analyses(path, cache)
    name = first.checkpoint.tensors[0].name
    finish(first.sketch(name))
    assert again.known_sketch(name) is not None
