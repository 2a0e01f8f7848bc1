"""Small weight files, sound and forged, and the two ways to look at what a reader makes of them."""

import io
import json
import pickle
import struct
import sys
import time
import zipfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from qexplorer.progress import finish
from qexplorer.weights import Checkpoint, FormatError, open_checkpoint


def opened(path: Path | str) -> Checkpoint:
    return finish(open_checkpoint(path))


def refused(path: Path | str, kind: str) -> FormatError:
    """The error with which a file is refused: of that kind, and said in one line that names the file."""
    with pytest.raises(FormatError) as caught:
        opened(path)
    assert caught.value.kind == kind, caught.value
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


@contextmanager
def settled_within(seconds: float, nbytes: int) -> Generator[None]:
    """Fails where what is done takes more processor time or, on Linux, more memory than that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the most that was held so far
    before, started = _most_held(), time.process_time()
    yield
    assert time.process_time() - started < seconds
    assert _most_held() - before < nbytes


def _most_held() -> int:
    if sys.platform != "linux":
        return 0
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def safetensors_bytes(header: dict[str, Any] | str | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, str) else json.dumps(header) if isinstance(header, dict) else ""
    encoded = header if isinstance(header, bytes) else text.encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def entry(shape: list[Any], begin: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


class _Name:
    """Pickles as a reference to a function that need not exist."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.key = ("storage", _Name("torch", kind), key, "cpu", count)


class _Call:
    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.function, self.arguments = _Name(module, name), arguments


class _Pickler(pickle._Pickler):  # the one in Python, whose steps can be replaced
    def persistent_id(self, obj: Any) -> Any:
        return obj.key if isinstance(obj, _Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Name):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def call(module: str, name: str, *arguments: Any) -> Any:
    """Something that pickles as a call of `module.name`."""
    return _Call(module, name, *arguments)


def tensor(
    key: str = "0",
    count: int = 6,
    offset: Any = 0,
    size: Any = (2, 3),
    stride: Any = (3, 1),
    kind: str = "FloatStorage",
) -> Any:
    """Something that pickles as torch pickles a tensor."""
    return _Call("torch._utils", "_rebuild_tensor_v2", _Storage(kind, key, count), offset, size, stride, False, None)


def pickled(value: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def torch_file(
    path: Path, value: Any, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED
) -> Path:
    """A file as `torch.save` lays it out; `value` is pickled unless it is bytes already."""
    data = value if isinstance(value, bytes) else pickled(value)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in (records if records is not None else {"data/0": FLOATS}).items():
            archive.writestr(f"archive/{name}", content)
    return path


FLOATS = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
