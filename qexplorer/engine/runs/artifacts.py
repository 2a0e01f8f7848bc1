"""The model that a run leaves behind."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qexplorer.folders import write_whole


def save_state(state: Mapping[str, Any], path: Path) -> int:
    """Write a state dict with `torch.save` and return the file's size in bytes.

    No half of it is ever found under `path`. Raises `UserError` where the disk is full or may not be written.
    """
    import torch

    buffer = io.BytesIO()  # torch's own writer aborts where a write fails half-way
    torch.save(dict(state), buffer)
    return write_whole(path, buffer.getbuffer())
