"""Checkpoints made for measuring: safetensors files written by hand, so that headers and holes can be of any size."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

BYTES = {"F32": 4, "BF16": 2}
MATRIX = (4096, 4096)
"""The shape of each tensor of the checkpoint that is scanned: 33.5 MB."""


def write_scan(path: Path, tensors: int) -> None:
    """Matrices of bfloat16 with normal values, no two alike."""
    rng = np.random.default_rng(0)
    words = (rng.standard_normal(MATRIX[0] * MATRIX[1], dtype=np.float32) * np.float32(0.02)).view(np.uint16)[1::2]
    with path.open("wb") as file:
        file.write(_header({f"model.layers.{i}.weight": ("BF16", MATRIX) for i in range(tensors)}))
        for i in range(tensors):
            file.write(np.roll(words, i).data)


def write_many(path: Path, tensors: int) -> None:
    """So many small float32 tensors, named like the experts of a model."""
    names = (f"model.layers.{i // 5000}.experts.{i // 4 % 1250}.{'abcd'[i % 4]}.weight" for i in range(tensors))
    with path.open("wb") as file:
        file.write(_header(dict.fromkeys(names, ("F32", (8,)))))
        file.write(np.random.default_rng(0).standard_normal(8 * tensors, dtype=np.float32).data)


def write_sparse(path: Path, nbytes: int) -> None:
    """A file of about so many bytes that takes no room on the disk: float32 tensors of nothing but zeros."""
    shape = (5120, 8192)
    n = -(-nbytes // (4 * shape[0] * shape[1]))
    header = _header({f"model.layers.{i}.weight": ("F32", shape) for i in range(n)})
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + n * 4 * shape[0] * shape[1])


def write_square(path: Path, values: np.ndarray[Any, Any]) -> None:
    """One float32 tensor."""
    with path.open("wb") as file:
        file.write(_header({"weight": ("F32", values.shape)}))
        file.write(np.ascontiguousarray(values).data)


def _header(tensors: Mapping[str, tuple[str, Iterable[int]]]) -> bytes:
    entries: dict[str, Any] = {}
    at = 0
    for name, (dtype, shape) in tensors.items():
        dims = list(shape)
        end = at + BYTES[dtype] * int(np.prod(dims))
        entries[name] = {"dtype": dtype, "shape": dims, "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text
