"""Good files of every kind that can be made here, mutants of them, and files made by hand to do harm."""

import io
import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from qexplorer.resources import resource

Attack = Callable[[Path, Path], Path]
"""`attack(folder, marker)` writes a file that tries to make `marker`, or to hang or flood its reader."""


class Touching:
    """An object whose pickle runs a command where it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def good_files(folder: Path, rng: np.random.Generator) -> list[Path]:
    """One of each kind, small enough to be opened many times."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"layers.{i}.weight": rng.standard_normal((16, 8 + i)).astype(np.float32) for i in range(6)}
    tensors = {name: torch.from_numpy(w) for name, w in weights.items()}
    np.save(folder / "array.npy", rng.laplace(size=(64, 32)).astype(np.float16))
    np.savez(folder / "stored.npz", **weights)  # pyright: ignore[reportArgumentType]
    np.savez_compressed(folder / "deflated.npz", **weights)  # pyright: ignore[reportArgumentType]
    torch.save({"model": tensors, "epoch": 3}, folder / "plain.pt")
    torch.save(torch.nn.Linear(5, 3).half().state_dict(), folder / "half.pth")
    torch.jit.save(torch.jit.script(torch.nn.Linear(4, 2)), folder / "script.pt")
    shutil.copy(resource("vit_digits.safetensors"), folder / "vit.safetensors")
    (folder / "small.safetensors").write_bytes(safetensors(weights))
    shards = folder / "sharded"
    shards.mkdir(exist_ok=True)
    (shards / "a.safetensors").write_bytes(safetensors(weights))
    index = {"weight_map": dict.fromkeys(weights, "a.safetensors")}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    return sorted(folder.iterdir())


def safetensors(weights: dict[str, np.ndarray], header: bytes = b"") -> bytes:
    """A file of these float32 tensors, or one with that header before their bytes."""
    entries: dict[str, object] = {}
    at = 0
    for name, w in weights.items():
        entries[name] = {"dtype": "F32", "shape": list(w.shape), "data_offsets": [at, at + w.nbytes]}
        at += w.nbytes
    text = header or json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(w.tobytes() for w in weights.values())


def mutant(path: Path, target: Path, rng: random.Random) -> Path:
    """A copy of a file in which bytes were changed, cut off, doubled or overwritten."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(max(1, min(len(data), rng.choice((64, 4096, len(data) + 1)))))
        match rng.randrange(5):
            case 0 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:]
            case 2:
                data[at:at] = data[at : at + rng.randrange(1, 64)]
            case 3:
                data[at : at + 8] = struct.pack("<Q", rng.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)))
            case _:
                data[at : at + 4] = rng.randbytes(4)
    target.write_bytes(data)
    return target


def _pickle_in_npy(folder: Path, marker: Path) -> Path:
    np.save(folder / "object.npy", np.array([Touching(marker)], object), allow_pickle=True)
    return folder / "object.npy"


def _pickle_in_pt(folder: Path, marker: Path) -> Path:
    torch.save({"weight": torch.zeros(4), "extra": Touching(marker)}, folder / "code.pt")
    return folder / "code.pt"


def _names_of_paths(folder: Path, marker: Path) -> Path:
    held = io.BytesIO()
    np.save(held, np.ones(4, np.float32))
    with zipfile.ZipFile(folder / "slip.npz", "w") as archive:
        for name in ("../../../victim/x.npy", str(marker) + ".npy", "a\x1b[2J=HYPERLINK(1).npy", "\u202elive.npy"):
            archive.writestr(name, held.getvalue())
    return folder / "slip.npz"


def _bomb(folder: Path, marker: Path) -> Path:
    del marker
    np.savez_compressed(folder / "bomb.npz", zeros=np.zeros(60_000_000, np.float32))
    return folder / "bomb.npz"


def _many_headers(folder: Path, marker: Path) -> Path:
    del marker
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 20) + b"{'descr':'<f4','fortran_order':False,'shape':(1,)}"
    with zipfile.ZipFile(folder / "headers.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(200):
            archive.writestr(f"{i}.npy", header.ljust((1 << 20) + 12) + b"\0\0\0\0")
    return folder / "headers.npz"


def _huge_header(folder: Path, marker: Path) -> Path:
    del marker
    (folder / "huge.safetensors").write_bytes(struct.pack("<Q", 2**62) + b'{"a":')
    return folder / "huge.safetensors"


def _deep_header(folder: Path, marker: Path) -> Path:
    del marker
    (folder / "deep.safetensors").write_bytes(safetensors({}, b'{"a":' + b"[" * 100_000))
    return folder / "deep.safetensors"


def _overlap(folder: Path, marker: Path) -> Path:
    del marker
    tensor = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    header = json.dumps({"a": tensor, "b": tensor, "c": {**tensor, "shape": [-4]}}).encode()
    (folder / "overlap.safetensors").write_bytes(safetensors({"a": np.ones(4, np.float32)}, header))
    return folder / "overlap.safetensors"


def _loop(folder: Path, marker: Path) -> Path:
    del marker
    (folder / "loop.pt").symlink_to(folder / "loop.pt")
    return folder / "loop.pt"


def _pipe(folder: Path, marker: Path) -> Path:
    del marker
    os.mkfifo(folder / "pipe.npy")
    return folder / "pipe.npy"


def _shards_elsewhere(folder: Path, marker: Path) -> Path:
    del marker
    index = {"weight_map": {"a": "../../../../etc/passwd", "b": "/etc/passwd", "c": "model.safetensors.index.json"}}
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder / "elsewhere"


ATTACKS: tuple[Attack, ...] = (_pickle_in_npy, _pickle_in_pt, _names_of_paths, _bomb, _many_headers, _huge_header,
                               _deep_header, _overlap, _loop, _pipe, _shards_elsewhere)  # fmt: skip
