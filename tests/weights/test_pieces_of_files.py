"""Tensors that are read from the file piece by piece: the same values, from any thread, in little memory."""

import itertools
import os
import struct
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from forgeries import opened, settled_within
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.sketch import sketch
from qexplorer.quant.tensor_source import widened
from qexplorer.weights import Checkpoint, FormatError, file_checkpoint, inflated_record, limits

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor is so small that it is held in memory."""
    monkeypatch.setattr(file_checkpoint, "HELD_BYTES", 0)
    monkeypatch.setattr(limits, "INFLATED_HELD_BYTES", 0)


def whole(checkpoint: Checkpoint, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The tensor from pieces, and read at once."""
    tensor = checkpoint.tensor(name)
    values = finish(checkpoint.values_steps(tensor))
    assert values.shape == tensor.shape
    cuts = [0, 1, 7, tensor.n // 2, tensor.n]
    pieces = [values.read(a, b) for a, b in itertools.pairwise(cuts)]
    assert all(piece.dtype == values.dtype for piece in pieces)
    return widened(np.concatenate(pieces)), checkpoint.read(tensor).astype(np.float32).reshape(-1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_pieces_are_what_is_read_at_once(dtype: torch.dtype, kind: str, tmp_path: Path, streamed: None) -> None:
    w = torch.randn(50, 31).to(dtype)
    path = tmp_path / f"w.{kind}"
    save_file({"w": w}, path) if kind == "safetensors" else torch.save({"w": w}, path)
    pieces, at_once = whole(opened(path), "w")
    np.testing.assert_array_equal(pieces, at_once)
    np.testing.assert_array_equal(pieces, w.float().numpy().reshape(-1))


def test_bfloat16_stays_two_bytes(tmp_path: Path, streamed: None) -> None:
    save_file({"w": torch.randn(9, 9).bfloat16()}, tmp_path / "w.safetensors")
    checkpoint = opened(tmp_path / "w.safetensors")
    assert finish(checkpoint.values_steps(checkpoint.tensors[0])).nbytes == 162


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("compressed", [False, True])
def test_numpy_archives(order: str, compressed: bool, tmp_path: Path, streamed: None) -> None:
    w = np.asarray(np.random.default_rng(0).normal(size=(40, 30)), order=order)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "w.npz", w=w)
    pieces, at_once = whole(opened(tmp_path / "w.npz"), "w")
    np.testing.assert_array_equal(pieces, at_once)


def test_a_transposed_view_comes_in_the_order_of_its_indices(tmp_path: Path, streamed: None) -> None:
    w = torch.randn(20, 30)
    torch.save({"w": w.t()}, tmp_path / "w.pt")
    pieces, _ = whole(opened(tmp_path / "w.pt"), "w")
    np.testing.assert_array_equal(pieces, w.t().reshape(-1).numpy())


def test_shards_are_read_from_their_own_files(tmp_path: Path, streamed: None) -> None:
    for i in (1, 2):
        save_numpy({f"w{i}": np.full((8, 8), i, np.float32)}, tmp_path / f"model-0000{i}-of-00002.safetensors")
    index = '{"weight_map": {"w1": "model-00001-of-00002.safetensors", "w2": "model-00002-of-00002.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    checkpoint = opened(tmp_path / "model.safetensors.index.json")
    assert len({checkpoint.identity(tensor) for tensor in checkpoint.tensors}) == 2
    for i in (1, 2):
        pieces, _ = whole(checkpoint, f"w{i}")
        assert (pieces == i).all()


def test_a_damaged_archive_is_refused_before_any_piece_is_given(tmp_path: Path, streamed: None) -> None:
    path = tmp_path / "w.pt"
    w = torch.arange(4096, dtype=torch.float32)
    torch.save({"w": w}, path)
    data = bytearray(path.read_bytes())
    data[data.index(w.numpy().tobytes()) + 5000] ^= 1
    path.write_bytes(data)
    checkpoint = opened(path)
    with pytest.raises(FormatError) as caught:
        finish(checkpoint.values_steps(checkpoint.tensors[0]))
    assert caught.value.kind == "BadChecksum"


def test_a_file_that_changes_is_read_no_further(tmp_path: Path, streamed: None) -> None:
    path = tmp_path / "w.safetensors"
    save_numpy({"w": np.ones(5000, np.float32)}, path)
    checkpoint = opened(path)
    values = finish(checkpoint.values_steps(checkpoint.tensors[0]))
    assert values.read(0, 9).sum() == 9
    os.utime(path, ns=(1, 1))
    with pytest.raises(FormatError) as caught:
        values.read(0, 9)
    assert caught.value.kind == "Changed"


def test_an_analysis_of_a_file_that_vanishes_ends_with_its_reason(tmp_path: Path, streamed: None) -> None:
    path = tmp_path / "w.safetensors"
    save_numpy({"w": np.ones((64, 5000), np.float32)}, path)
    checkpoint = opened(path)
    values = finish(checkpoint.values_steps(checkpoint.tensors[0]))
    path.unlink()
    with pytest.raises(FormatError) as caught:
        finish(analyze(values, QuantSpec()))
    assert caught.value.kind == "NotFound"


@pytest.mark.parametrize("held", [0, 1 << 30])
def test_whole_numbers_are_refused_before_they_are_read(held: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(file_checkpoint, "HELD_BYTES", held)
    save_numpy({"steps": np.arange(9)}, tmp_path / "w.safetensors")
    checkpoint = opened(tmp_path / "w.safetensors")
    monkeypatch.setattr(file_checkpoint, "PositionedFile", None)
    with pytest.raises(UserError, match="int64"):
        finish(checkpoint.values_steps(checkpoint.tensors[0]))


def test_threads_read_at_once(tmp_path: Path, streamed: None) -> None:
    w = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    save_numpy({"w": w}, tmp_path / "w.safetensors")
    checkpoint = opened(tmp_path / "w.safetensors")
    values = finish(checkpoint.values_steps(checkpoint.tensors[0]))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda at: values.read(at, at + 100), range(0, w.size, 100)))
    np.testing.assert_array_equal(np.concatenate(parts), w)


def test_a_large_tensor_is_analyzed_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_numpy({"w": np.ones((1 << 13, 1 << 13), np.float32)}, path)
    checkpoint = opened(path)
    finish(analyze(np.ones(1 << 21, np.float32), QuantSpec()))  # kernels are loaded
    with settled_within(60, 100 << 20):
        values = finish(checkpoint.values_steps(checkpoint.tensors[0]))
        assert finish(analyze(values, QuantSpec())).metrics.n == 1 << 26


def test_a_tensor_is_known_again_by_path_size_time_and_place(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_numpy({"a": np.ones(9, np.float32), "b": np.ones(9, np.float32)}, path)
    first = opened(path)
    ids = [first.identity(tensor) for tensor in first.tensors]
    again = opened(path)
    assert [again.identity(tensor) for tensor in again.tensors] == ids
    assert len(set(ids)) == 2
    os.utime(path, ns=(1, 1))
    changed = opened(path)
    assert not {changed.identity(tensor) for tensor in changed.tensors} & set(ids)


@pytest.mark.parametrize("kind", ["noise", "even"])
def test_a_compressed_tensor_is_read_at_any_place_by_any_thread(
    kind: str, tmp_path: Path, streamed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflated_record, "SPACING", 100_000)
    rng = np.random.default_rng(0)
    w = rng.normal(size=300_000).astype(np.float32) if kind == "noise" else np.repeat(np.arange(300, dtype="f4"), 1000)
    np.savez_compressed(tmp_path / "w.npz", other=np.zeros(9), w=w)
    checkpoint = opened(tmp_path / "w.npz")
    values = finish(checkpoint.values_steps(checkpoint.tensor("w")))
    cuts = rng.permutation(np.arange(0, w.size, 1000))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda at: values.read(at, at + 1000), cuts))
    for at, part in zip(cuts, parts, strict=True):
        np.testing.assert_array_equal(part, w[at : at + 1000])
    assert values.read(w.size, w.size).size == 0


@pytest.mark.parametrize("harm", ["flip", "cut", "longer"])
def test_a_damaged_compressed_tensor_is_refused_before_any_piece_is_given(
    harm: str, tmp_path: Path, streamed: None
) -> None:
    w = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    np.savez_compressed(tmp_path / "w.npz", w=w)
    data = bytearray((tmp_path / "w.npz").read_bytes())
    crc = struct.pack("<L", zipfile.ZipFile(tmp_path / "w.npz").getinfo("w.npy").CRC)
    if harm == "flip":
        data = data.replace(crc, b"\1\2\3\4")
    (tmp_path / "w.npz").write_bytes(data)
    checkpoint = opened(tmp_path / "w.npz")
    if harm == "flip":
        with pytest.raises(FormatError) as caught:
            finish(checkpoint.values_steps(checkpoint.tensors[0]))
        assert caught.value.kind == "BadChecksum"
        return
    values = finish(checkpoint.values_steps(checkpoint.tensors[0]))
    (tmp_path / "w.npz").write_bytes(data[:-1000] if harm == "cut" else data + b"x")
    with pytest.raises(FormatError) as caught:
        values.read(0, 9)
    assert caught.value.kind == "Changed"


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel how much was held")
def test_a_large_compressed_tensor_takes_no_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": (60_000_000,)})
        for _ in range(60):
            file.write(bytes(4_000_000))
    checkpoint = opened(tmp_path / "w.npz")
    finish(analyze(np.zeros(1 << 20, np.float32), QuantSpec()))  # its kernels stay
    with settled_within(60.0, 60_000_000):
        values = finish(checkpoint.values_steps(checkpoint.tensors[0]))
        assert finish(sketch(values)).n == 60_000_000
