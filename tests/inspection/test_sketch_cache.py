"""The sketches on disk: what comes back, what is thrown out, and that nothing depends on them."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.progress import finish
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.tensor_source import Values


def sketched(seed: int = 0, n: int = 50_000) -> Sketch:
    return finish(sketch(Values.of(np.random.default_rng(seed).normal(size=n).astype(np.float32))))


def test_a_sketch_comes_back_as_it_was_from_another_process_file(tmp_path: Path) -> None:
    whole = sketched()
    SketchCache(tmp_path / "s.sqlite3").put("one", whole)
    found = SketchCache(tmp_path / "s.sqlite3").get("one")
    assert found is not None
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)
        assert found.arrays()[name].dtype == array.dtype
    assert SketchCache(tmp_path / "s.sqlite3").get("two") is None


def test_those_that_were_not_used_longest_make_room(tmp_path: Path) -> None:
    whole = sketched()
    size = sum(array.nbytes for array in whole.arrays().values())
    cache = SketchCache(tmp_path / "s.sqlite3", most_bytes=int(3.5 * size))
    for name in "abc":
        cache.put(name, whole)
    assert cache.get("a") is not None
    cache.put("d", whole)
    assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    cache = SketchCache(tmp_path / "s.sqlite3", most_bytes=1000)
    cache.put("a", sketched())
    assert cache.get("a") is None


@pytest.mark.parametrize("damage", ["garbage", "truncated", "row", "folder", "other version"])
def test_a_damaged_cache_is_as_good_as_none(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    cache, whole = SketchCache(path), sketched()
    cache.put("a", whole)
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        database = sqlite3.connect(path)
        if damage == "row":
            database.execute("UPDATE sketches SET sketch = ?", (b"\x80\x04N.",))
        else:
            database.execute("PRAGMA user_version = 99")
        database.commit()
        database.close()
    assert cache.get("a") is None
    cache.put("b", whole)
    if damage in ("row", "other version"):
        assert cache.get("b") is not None


def test_without_a_place_or_an_identity_nothing_is_kept(tmp_path: Path) -> None:
    cache = SketchCache(None)
    cache.put("a", sketched())
    assert cache.get("a") is None
    cache = SketchCache(tmp_path / "s.sqlite3")
    cache.put("", sketched())
    assert cache.get("") is None
    assert not (tmp_path / "s.sqlite3").exists()
