import io
import json
import os
import pickle
import socket
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgeries import opened, refused, safetensors_bytes, write
from safetensors.numpy import save_file

from qexplorer.errors import UserError
from qexplorer.progress import Progress, finish
from qexplorer.weights import FormatError, open_checkpoint
from qexplorer.weights.positioned_file import PositionedFile

LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind", "said"),
    [
        ("model.safetensors", b"", "EmptyFile", "empty"),
        ("model.bin", b"x", "Truncated", "1 bytes"),
        ("model.gguf", b"GGUF", "Truncated", "4 bytes"),
        ("model.pt", b"PK\x03\x04", "Truncated", "4 bytes"),
        ("model.npy", b"\x93NUMPY", "Truncated", "6 bytes"),
        ("model.pt", b"PK\x03\x04" + bytes(40), "Truncated", "list of its records"),
        ("model.npy", b"\x93NUMPY\x01\x00\x76\x00{'de", "Truncated", "ends within the header"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "GitLfsPointer", "pointer, not the weig"),
        ("a.safetensors", b"\n<!DOCTYPE html><html>", "WebPage", "a web page"),
        ("a.safetensors.part", safetensors_bytes({}), "UnfinishedDownload", "download"),
        ("a.incomplete", bytes(100), "UnfinishedDownload", "download"),
        ("model.pt", b"GGUF\x03\x00\x00\x00" + bytes(40), "GgufFile", "GGUF"),
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), "Hdf5File", "HDF5"),
        ("model.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(40), "TfliteFile", "TensorFlow Lite"),
        ("model.onnx", b"\x08\x0a\x12\x07pytorch" + bytes(40), "OnnxFile", "ONNX"),
        ("model.pt", LEGACY_MAGIC + bytes(40), "LegacyTorch", "before version 1.6"),
        ("model.npy", pickle.dumps({"a": [1, 2]}), "PlainPickle", "pickle"),
        ("model.pkl", pickle.dumps({"a": [1, 2]}, 0), "PlainPickle", "pickle"),
        ("model.nemo", _tar(), "TarArchive", "tar archive"),
        ("model.pt", b"\x1f\x8b\x08" + bytes(40), "CompressedFile", "gzip"),
        ("config.json", b'{"hidden_size": 4, "x": 1}', "JsonFile", "JSON"),
        ("config.json", b'{"meta":{"hidden_size": 4}}', "JsonFile", "JSON"),
        ("model.xml", b"<?xml version='1.0'?><net/>", "XmlFile", "XML"),
        ("notes.txt", b"These are not weights.", "TextFile", "text"),
        ("noise.bin", b"\xf0\x9f\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00", "UnknownFormat", "not a kind"),
        ("empty.npz", b"PK\x05\x06" + bytes(18), "NoWeights", "empty zip"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, kind: str, said: str
) -> None:
    error = refused(write(tmp_path / name, content), kind)
    assert name in str(error)
    assert said in error.what


@pytest.mark.parametrize(
    ("members", "kind"),
    [(["metadata.json", "config.json", "model.weights.h5"], "KerasFile"), (["readme.txt"], "ZipArchive")],
)
def test_a_zip_archive_without_tensors_is_refused_by_name(tmp_path: Path, members: list[str], kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for member in members:
            archive.writestr(member, "{}")
    refused(tmp_path / "model.zip", kind)


def test_an_exported_program_is_refused_by_name(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), tmp_path / "model.pt2")
    refused(tmp_path / "model.pt2", "ExportedProgram")


def test_a_real_legacy_torch_file_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", "LegacyTorch")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    assert "nowhere.pt" in str(refused(tmp_path / "nowhere.pt", "NotFound"))


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    refused(f"{tmp_path}/a\x00b", "Unreadable")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_pipes_devices_and_sockets_are_refused_without_blocking() -> None:
    started = time.perf_counter()
    refused("/dev/zero", "NotRegular")
    assert time.perf_counter() - started < 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_a_pipe_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    assert "a pipe" in refused(tmp_path / "model.safetensors", "NotRegular").what


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets in the file system")
def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may only be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("model.pt")
        assert "a socket" in refused(Path("model.pt"), "NotRegular").what


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, "NoWeights")


def test_a_file_is_known_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "model.npy")
    assert opened(tmp_path / "model.npy").format == "safetensors"


def _save_safetensors(path: Path) -> None:
    save_file({"a": np.ones(1000, np.float32)}, path)


def _save_torch(path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, path)


def _save_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, a=np.arange(1000.0))


@pytest.mark.parametrize("save", [_save_safetensors, _save_torch, _save_npz])
def test_a_file_truncated_after_it_was_listed_is_refused_as_changed(tmp_path: Path, save) -> None:
    path = tmp_path / "model"
    save(path)
    checkpoint = opened(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensors[0])
    assert caught.value.kind == "Changed"


def test_a_file_changed_between_two_blocks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 400)
    _save_safetensors(tmp_path / "model")
    checkpoint = opened(tmp_path / "model")
    blocks = checkpoint.blocks(checkpoint.tensors[0])
    assert len(next(blocks)) == 100
    os.truncate(tmp_path / "model", 600)
    with pytest.raises(FormatError) as caught:
        list(blocks)
    assert caught.value.kind == "Changed"


def _raiser(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("bug", [TypeError, KeyError, IndexError, AttributeError, ValueError, RuntimeError])
@pytest.mark.parametrize(
    "place", ["readers.safetensors.checked_shape", "readers.torch_zip.TensorRebuilder.describe", "strided.Strided.part"]
)
def test_a_bug_of_ours_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: type[Exception], place: str
) -> None:
    (_save_torch if "torch" in place else _save_safetensors)(tmp_path / "model")
    monkeypatch.setattr(f"qexplorer.weights.{place}", _raiser(bug("planted")))
    with pytest.raises(bug, match="planted"):
        opened(tmp_path / "model").read(opened(tmp_path / "model").tensors[0])


@pytest.mark.parametrize(("error", "kind"), [(MemoryError(), "OutOfMemory"), (OSError(5, "broken"), "Unreadable")])
def test_what_the_system_refuses_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    _save_safetensors(tmp_path / "model")
    monkeypatch.setattr("qexplorer.weights.readers.safetensors.checked_shape", _raiser(error))
    refused(tmp_path / "model", kind)


def test_a_tensor_is_read_step_by_step_and_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 400)
    save_file({"a": np.arange(1000, dtype=np.float32).reshape(20, 50)}, tmp_path / "model")
    checkpoint = opened(tmp_path / "model")
    steps: list[Progress] = []
    values = finish(checkpoint.read_steps(checkpoint.tensors[0]), steps.append)
    assert [(step.done, step.total) for step in steps] == [(100 * n, 1000) for n in range(1, 11)]
    np.testing.assert_array_equal(values, np.arange(1000).reshape(20, 50))
    assert not values.flags.writeable
    assert not checkpoint.read(checkpoint.tensors[0]).flags.writeable


def test_a_reading_that_is_cancelled_closes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 400)
    _save_safetensors(tmp_path / "model")
    checkpoint = opened(tmp_path / "model")
    files: list[PositionedFile] = []

    def noted(*arguments: Any) -> PositionedFile:
        files.append(PositionedFile(*arguments))
        return files[-1]

    monkeypatch.setattr("qexplorer.weights.file_checkpoint.PositionedFile", noted)
    steps = checkpoint.read_steps(checkpoint.tensors[0])
    next(steps)
    assert len(files[0].read(0, 8)) == 8
    steps.close()
    with pytest.raises(ValueError, match="closed"):
        files[0].read(0, 8)


def test_a_file_changed_between_listing_and_opening_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save_torch(tmp_path / "model")
    steps = open_checkpoint(tmp_path / "model")
    next(steps)
    with (tmp_path / "model").open("ab") as file:
        file.write(b"x")
    with pytest.raises(FormatError) as caught:
        finish(steps)
    assert caught.value.kind == "Changed"


def test_a_tensor_that_is_not_there_is_answered_with_the_nearest_names(tmp_path: Path) -> None:
    save_file({"conv.weight": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"conv\.weight"):
        opened(tmp_path / "model.safetensors").tensor("conv.wieght\x1b[2J")


def test_a_header_is_listed_without_reading_the_numbers(tmp_path: Path) -> None:
    n = 1 << 40
    header = json.dumps({"a": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}})
    path = write(tmp_path / "sparse.safetensors", safetensors_bytes(header))
    if sys.platform != "linux":
        pytest.skip("needs files with holes")
    os.truncate(path, 8 + len(header) + n)
    assert opened(path).tensors[0].nbytes == n
