"""Files that a run leaves behind: either whole or not there at all."""

import errno
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qexplorer.errors import UserError

REMEDIES = {
    errno.ENOSPC: "Free some space on that disk.",
    errno.EDQUOT: "Free some of your space on that disk.",
    errno.EACCES: "Make that folder writable.",
    errno.EROFS: "That disk cannot be written to; set another data folder.",
}


def save_state(state: Mapping[str, Any], path: Path) -> int:
    """Write a state dict with `torch.save` and return the file's size in bytes.

    No half of it is ever found under `path`. Raises `UserError` where the disk is full or may not be written.
    """
    import torch

    buffer = io.BytesIO()  # torch's own writer aborts where a write fails half-way
    torch.save(dict(state), buffer)
    return write_whole(path, buffer.getbuffer())


def write_whole(path: Path, content: bytes | memoryview) -> int:
    """Write a file under another name, force it to the disk and rename it; returns its size in bytes.

    Raises `UserError` where the disk is full or may not be written.
    """
    part = path.with_name(path.name + ".part")
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path.stat().st_size


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say a failed write of `path` as a `UserError` with what to do about it."""
    try:
        yield
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "")
        raise UserError(f"{path} cannot be written: {error.strerror or error}.", remedy) from error
