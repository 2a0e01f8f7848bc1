"""Damaged files: whatever bytes are changed, a reader lists the file or says in one line why it does not."""

import random
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from forgeries import opened, pickled, tensor, torch_file
from safetensors.torch import save_file

from qexplorer.weights import FormatError

TENSORS = {
    "layer.weight": torch.arange(12.0).reshape(3, 4),
    "layer.bias": torch.ones(3).bfloat16(),
    "n": torch.tensor(7),
}
ARRAYS = {name: tensor.float().numpy() for name, tensor in TENSORS.items()}


def _safetensors(path: Path) -> Path:
    save_file(TENSORS, path / "model.safetensors", {"format": "pt"})
    return path / "model.safetensors"


def _index(path: Path) -> Path:
    save_file(TENSORS, path / "model-1.safetensors")
    index = path / "model.safetensors.index.json"
    index.write_text('{"metadata": {"a": 1}, "weight_map": {"layer.weight": "model-1.safetensors", "n": "model-2"}}')
    return index


def _torch(path: Path) -> Path:
    torch.save({"state": TENSORS, "view": TENSORS["layer.weight"].T}, path / "model.pt")
    return path / "model.pt"


def _torch_without_checksums(path: Path) -> Path:
    """Without them every flip in the pickle reaches the reader of its instructions."""
    torch.serialization.set_crc32_options(False)
    try:
        return _torch(path)
    finally:
        torch.serialization.set_crc32_options(True)


def _torch_protocol_4(path: Path) -> Path:
    path = torch_file(path / "model.pt", pickled({"a": tensor(), "b": [tensor(size=(2,), stride=(2,))]}, 4))
    with zipfile.ZipFile(path) as archive:
        crc = struct.pack("<L", archive.getinfo("archive/data.pkl").CRC)
    path.write_bytes(path.read_bytes().replace(crc, bytes(4)))
    return path


def _npy(path: Path) -> Path:
    np.save(path / "a.npy", np.asfortranarray(ARRAYS["layer.weight"]))
    return path / "a.npy"


def _npz(path: Path) -> Path:
    np.savez(path / "a.npz", **ARRAYS)
    return path / "a.npz"


def _npz_compressed(path: Path) -> Path:
    np.savez_compressed(path / "a.npz", **ARRAYS)
    return path / "a.npz"


@pytest.mark.parametrize(
    "make", [_safetensors, _index, _torch, _torch_without_checksums, _torch_protocol_4, _npy, _npz, _npz_compressed]
)
def test_fifteen_hundred_byte_flips_end_in_a_list_or_in_one_line(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    sound = path.read_bytes()
    rng = random.Random(1)  # noqa: S311
    messages: list[str] = []
    for _ in range(1500):
        data = bytearray(sound)
        for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
            data[rng.randrange(len(data))] = rng.choice([rng.randrange(256), 0, 0xFF])
        if rng.random() < 0.05:
            del data[rng.randrange(len(data)) :]
        path.unlink()  # a new file is written at once, one cut short only when the disk has it
        path.write_bytes(data)
        started = time.process_time()
        try:
            checkpoint = opened(path)
            for info in checkpoint.tensors:
                if not info.unsupported:
                    assert checkpoint.read(info).shape == info.shape
        except FormatError as error:
            messages.append(str(error))
        assert time.process_time() - started < 2
    assert all(message.isprintable() for message in messages)
    assert 20 < len(messages) < 1480
