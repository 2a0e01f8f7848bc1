"""The sketches on disk: what comes back, what is thrown out, and that nothing depends on them."""

import io
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("damage", ["garbage", "truncated", "table", "schema", "folder", "other version"])
def test_a_damaged_cache_is_set_aside_and_made_anew(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    cache, whole = SketchCache(path), sketched()
    cache.put("a", whole)
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "schema":
        path.write_bytes(path.read_bytes().replace(b"PRIMARY KEY", b"PRIMARY \xcdEY"))  # SQLite quotes it
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("DROP TABLE sketches" if damage == "table" else "PRAGMA user_version = 99")
    assert cache.get("a") is None
    cache.put("b", whole)
    if damage != "folder":
        assert cache.get("b") is not None
        assert (tmp_path / "s.damaged.sqlite3").exists() == (damage != "other version")


HEADERS = (
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,,)}",
    b"{'descr': '<f4', (",
    b"{'descr': 'O'}",
    b"1/0",
)


def values() -> Iterator[Any]:
    """What may stand where a sketch should: other types, other archives, and flipped bytes of a true one."""
    yield from (b"", b"\x80\x04N.", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\0\x02\0(\n", "a text", 3, 2.5)
    for header in HEADERS:  # numpy reads these with Python's own tokenizer
        member = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_LZMA):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", method) as archive:
                for name in sketched(n=10).arrays():
                    archive.writestr(f"{name}.npy", member)
            yield packed.getvalue()
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **sketched(n=1000).arrays())
    good, random = packed.getvalue(), np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(good)
        for at in random.integers(0, len(bad), 4):
            bad[at] = random.integers(256)
        yield bytes(bad)
        yield good[: random.integers(len(good))]


def test_a_damaged_sketch_is_taken_out_and_the_others_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.sqlite3"
    cache, whole = SketchCache(path), sketched(n=1000)
    cache.put("good", whole)
    taken = 0
    for i, value in enumerate(values()):
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("INSERT INTO sketches VALUES (?, 0, 1, ?)", (str(i), value))
        if cache.get(str(i)) is None:
            taken += 1
            assert cache.get(str(i)) is None
    assert taken > 300
    assert caplog.text.count("a damaged sketch was taken out of s.sqlite3") == taken
    assert cache.get("good") is not None


def test_without_a_place_or_an_identity_nothing_is_kept(tmp_path: Path) -> None:
    cache = SketchCache(None)
    cache.put("a", sketched())
    assert cache.get("a") is None
    cache = SketchCache(tmp_path / "s.sqlite3")
    cache.put("", sketched())
    assert cache.get("") is None
    assert not (tmp_path / "s.sqlite3").exists()
