import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from forgeries import opened, refused, settled_within, write

from qexplorer.weights import FormatError

MATRIX = np.arange(35, dtype=np.float32).reshape(5, 7)


def _npy(path: Path, array: np.ndarray[Any, Any], **options: Any) -> Path:
    np.save(path / "array.npy", array, **options)
    return path / "array.npy"


def _header(text: str, data: bytes = bytes(64), version: int = 1, length: int | None = None) -> bytes:
    n = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<L", n) + text.encode() + data


def _form(descr: str = "'<f4'", shape: str = "(3, 4)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"])
def test_every_type_is_read_in_both_byte_orders(tmp_path: Path, kind: str, order: str) -> None:
    bits = np.random.default_rng(1).integers(0, 256, (4, 16), np.uint8)
    array = bits > 100 if kind == "?" else bits.view(order + kind)
    path = _npy(tmp_path, array)
    checkpoint = opened(path)
    values = checkpoint.read(checkpoint.tensor("array"))
    judge = np.load(path)
    assert values.dtype == judge.dtype.newbyteorder("=")
    np.testing.assert_array_equal(values, judge)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4)])
def test_shapes_are_kept(tmp_path: Path, shape: tuple[int, ...]) -> None:
    checkpoint = opened(_npy(tmp_path, np.zeros(shape)))
    assert checkpoint.tensors[0].shape == shape
    assert checkpoint.read(checkpoint.tensors[0]).shape == shape


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, MATRIX, version=version)
    checkpoint = opened(tmp_path / "a.npy")
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensor("a")), MATRIX)


def test_a_header_of_python_2_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", _header(_form("'<f4'", "(3L, 4L)"), bytes(48)))
    assert opened(path).tensors[0].shape == (3, 4)


def test_a_column_major_array_is_read_in_row_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 40)
    for array in (np.asfortranarray(MATRIX), np.asfortranarray(np.arange(60.0).reshape(3, 4, 5))):
        checkpoint = opened(_npy(tmp_path, array))
        np.testing.assert_array_equal(checkpoint.read(checkpoint.tensors[0]), array)


def test_nameless_two_byte_values_are_read_as_bfloat16_with_a_warning(tmp_path: Path) -> None:
    array = np.linspace(-3, 3, 50).astype(ml_dtypes.bfloat16)
    checkpoint = opened(_npy(tmp_path, array))
    assert checkpoint.tensors[0].dtype == "bfloat16"
    assert "bfloat16" in checkpoint.warnings[0]
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensors[0]), array.astype(np.float32))


@pytest.mark.parametrize(
    "array",
    [np.array([{}, []], object), np.zeros(2, [("a", "f4"), ("b", "O")])],
    ids=["objects", "a field of objects"],
)
def test_python_objects_are_refused(tmp_path: Path, array: Any) -> None:
    refused(_npy(tmp_path, array, allow_pickle=True), "ObjectArray")


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "V3"),
        np.zeros(2, "g"),
    ],
    ids=["texts", "bytes", "fields", "dates", "raw", "extended"],
)
def test_what_are_no_numbers_is_listed_as_unsupported(tmp_path: Path, array: Any) -> None:
    checkpoint = opened(_npy(tmp_path, array))
    assert checkpoint.tensors[0].unsupported
    with pytest.raises(FormatError):
        checkpoint.read(checkpoint.tensors[0])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (_header(_form(shape="(1099511627776,)")), "Truncated"),
        (_header(_form(shape="(4611686018427387904, 4)")), "BadShape"),
        (_header(_form(shape="(-1, 4)")), "BadShape"),
        (_header(_form(shape=f"({'1, ' * 20_000})"), version=2), "BadShape"),
        (_header(_form(shape=f"({'9' * 5000},)")), "BadShape"),
        (_header(_form(shape="(3 4,)")), "BadShape"),
        (_header(_form(shape="(3-4,)")), "BadShape"),
        (_header(_form(shape="(3)")), "BadShape"),
        (_header(_form(shape="(3,,4)")), "BadShape"),
        (_header(_form(shape="(3,4,,)")), "BadShape"),
        (_header(_form(shape="(,)")), "BadShape"),
        (_header(_form(shape="(٣, ٤)"), version=3), "BadShape"),
        (b"\x93NUMPY\x01\x00\x76\x00", "Truncated"),
        (_header(_form()[:-2] + "'shape': (4, 3), }"), "Duplicate"),
        (_header(_form()[:-2] + '"shape": (4, 3), }'), "Duplicate"),
        (_header(_form()[:-2] + "'descr': '<i4', }"), "Duplicate"),
        (_header(_form()[:-2] + "'sh\\x61pe': (4, 3), }"), "BadHeader"),
        (_header(_form(), length=0xFFFFFFF0, version=2), "HeaderTooLarge"),
        (_header(_form(), b"", length=5000), "Truncated"),
        (_header(_form(), bytes(47)), "Truncated"),
        (_header(_form(), version=9), "BadHeader"),
        (_header("{'descr': '<f4'}"), "BadHeader"),
        (_header(_form(shape="(__import__('os').system('x'),)")), "BadHeader"),
        (_header("(" * 5000), "BadHeader"),
        (_header(_form("'|O'")), "ObjectArray"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, content: bytes, kind: str) -> None:
    refused(write(tmp_path / "a.npy", content), kind)


def test_trailing_bytes_are_a_warning(tmp_path: Path) -> None:
    assert "16 bytes follow" in opened(write(tmp_path / "a.npy", _header(_form()))).warnings[0]


# Archives


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_is_read_array_by_array(tmp_path: Path, save: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 4000)
    arrays = {
        "matrix": MATRIX,
        "columns": np.asfortranarray(MATRIX),
        "big": np.arange(9999, dtype=">i4"),
        "scalar": np.array(3.5),
        "none": np.zeros((0, 2)),
        "noise": np.random.default_rng(1).standard_normal((300, 70)),
    }
    save(tmp_path / "a.npz", **arrays)
    checkpoint = opened(tmp_path / "a.npz")
    assert [t.name for t in checkpoint.tensors] == list(arrays)
    for name, array in arrays.items():
        info = checkpoint.tensor(name)
        assert info.nbytes == array.nbytes
        np.testing.assert_array_equal(checkpoint.read(info), array)
        assert all(block.nbytes <= 4000 for block in checkpoint.blocks(info))


def test_an_archive_lists_objects_as_unsupported_and_names_what_is_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=MATRIX, objects=np.array([{}], object))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("readme.txt", "x")
    checkpoint = opened(tmp_path / "a.npz")
    assert "objects" in checkpoint.tensor("objects").unsupported
    assert "readme.txt" in checkpoint.warnings[0]
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensor("objects"))
    assert caught.value.kind == "ObjectArray"


def test_an_archive_is_listed_without_inflating_it(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(200 << 20, np.uint8))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        (tensor,) = opened(tmp_path / "bomb.npz").tensors
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert tensor.n == 200 << 20


def _member(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _archive(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # zipfile warns of the duplicates that are wanted here
        with zipfile.ZipFile(path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return path / "a.npz"


def test_duplicate_members_are_refused(tmp_path: Path) -> None:
    refused(_archive(tmp_path, [("a.npy", _member(MATRIX))] * 2), "Duplicate")


def test_a_member_with_a_hostile_name_is_only_a_name(tmp_path: Path) -> None:
    checkpoint = opened(_archive(tmp_path, [("../../x.npy", _member(MATRIX))]))
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensor("../../x")), MATRIX)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


def test_a_member_of_another_size_than_its_header_says_is_refused(tmp_path: Path) -> None:
    refused(_archive(tmp_path, [("a.npy", _member(MATRIX) + b"x")]), "Truncated")
    refused(_archive(tmp_path, [("a.npy", _member(MATRIX)[:-1])]), "Truncated")


@pytest.mark.parametrize(("stated", "kind"), [(-8, "TooLarge"), (8, "Truncated")])
def test_a_stream_that_is_not_as_long_as_stated_is_refused(tmp_path: Path, stated: int, kind: str) -> None:
    content = _member(MATRIX)
    path = _archive(tmp_path, [("a.npy", content)])
    data, size = path.read_bytes(), len(content)
    path.write_bytes(data.replace(struct.pack("<L", size), struct.pack("<L", size + stated)))
    refused(path, kind)


def test_a_stream_longer_than_stated_is_stopped(tmp_path: Path) -> None:
    content = _member(np.random.default_rng(1).standard_normal(100_000))
    path = _archive(tmp_path, [("a.npy", content + bytes(50 << 20))])
    data, size = path.read_bytes(), len(content)
    path.write_bytes(data.replace(struct.pack("<L", size + (50 << 20)), struct.pack("<L", size)))
    checkpoint = opened(path)
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensors[0])
    assert caught.value.kind == "TooLarge"


def test_a_wrong_checksum_is_found_while_reading(tmp_path: Path) -> None:
    path = _archive(tmp_path, [("a.npy", _member(MATRIX))])
    crc = struct.pack("<L", zipfile.ZipFile(path).getinfo("a.npy").CRC)
    path.write_bytes(path.read_bytes().replace(crc, b"\1\2\3\4"))
    checkpoint = opened(path)
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensors[0])
    assert caught.value.kind == "BadChecksum"


@pytest.mark.parametrize("array", [MATRIX, np.asfortranarray(MATRIX), np.zeros((0, 3))])
@pytest.mark.parametrize("at", [-1, 20])
def test_a_flipped_byte_in_a_stored_record_is_found_before_its_last_block(
    tmp_path: Path, array: np.ndarray[Any, Any], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 40)
    np.savez(tmp_path / "a.npz", a=array)
    content = _member(array)
    # One more space between two words of the header is no other array, and yet another file.
    other = bytearray(content)
    if at < 0 and array.size:
        other[at] ^= 1
    else:
        other[content.index(b" }") + 4] = ord("\t")
    path = write(tmp_path / "a.npz", (tmp_path / "a.npz").read_bytes().replace(content, bytes(other)))
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC"), np.load(path) as judge:
        judge["a"]
    checkpoint = opened(path)
    blocks: list[np.ndarray[Any, Any]] = []
    with pytest.raises(FormatError) as caught:
        any(blocks.append(block) for block in checkpoint.blocks(checkpoint.tensors[0]))
    assert caught.value.kind == "BadChecksum"
    assert sum(block.size for block in blocks) < max(array.size, 1)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_checksum_of_nought_is_wrong_in_numpy_archives(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", a=MATRIX)
    crc = struct.pack("<L", zipfile.ZipFile(tmp_path / "a.npz").getinfo("a.npy").CRC)
    path = write(tmp_path / "a.npz", (tmp_path / "a.npz").read_bytes().replace(crc, bytes(4)))
    checkpoint = opened(path)
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensors[0])
    assert caught.value.kind == "BadChecksum"


def test_a_type_of_endless_size_is_listed_as_unsupported(tmp_path: Path) -> None:
    assert opened(write(tmp_path / "a.npy", _header(_form("'<f" + "4" * 5000 + "'")))).tensors[0].unsupported


def test_a_field_named_shape_is_no_duplicate(tmp_path: Path) -> None:
    assert opened(_npy(tmp_path, np.zeros(2, [("shape", "f4"), ("descr", "f4")]))).tensors[0].shape == (2,)


@pytest.mark.parametrize("compressed", [True, False])
def test_what_needs_more_memory_than_there_may_be_is_refused_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", w=np.zeros((3000, 4000), order="F"))
    checkpoint = opened(tmp_path / "a.npz")
    monkeypatch.setattr("qexplorer.weights.checkpoint.budget", lambda: 80_000_000)
    with settled_within(5.0, 10_000_000), pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensors[0])
    assert caught.value.kind == "OutOfMemory"
    for part in ("a.npz", "tensor w needs", "MB of memory", "80.00 MB"):
        assert part in caught.value.what


def test_an_archive_whose_headers_are_nearly_all_of_it_is_refused_at_once(tmp_path: Path) -> None:
    content = _header(_form(shape="(3, 4)" + " " * 900_000), bytes(48), version=2)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(300):
            archive.writestr(f"a{i}.npy", content)
    assert "headers" in refused(tmp_path / "a.npz", "TooLarge").what
