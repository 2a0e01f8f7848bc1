"""Paths found inside files: hostile, and yet the Hugging Face cache is made of links. Two steps tell them apart."""

from pathlib import Path

from qexplorer.text import printable
from qexplorer.weights.checkpoint import FormatError

_DEVICES = {"CON", "PRN", "AUX", "NUL"} | {f"{port}{digit}" for port in ("COM", "LPT") for digit in range(1, 10)}


def neighbour(folder: Path, name: str, where: str) -> Path:
    """The path of the file that a file in `folder` calls `name`.

    `name` must be a bare file name, and what it leads to must lie in the folder itself or, in a Hugging Face cache
    (`models--*/snapshots/<revision>`), in that model's own `blobs`. Raises `FormatError` "UnsafePath".
    """
    if not _is_bare_name(name):
        raise _unsafe(where, name, "is not the plain name of a file beside it")
    path = folder / name
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # before Python 3.13 a link that leads to itself is a RuntimeError
        raise _unsafe(where, name, "is a link that leads nowhere") from None
    if not any(target.is_relative_to(home) for home in _homes(folder)):
        raise _unsafe(where, name, "is a link that leads out of its folder")
    return path


def _is_bare_name(name: str) -> bool:
    if not name or len(name) > 255 or not name.isprintable():
        return False
    if any(c in name for c in '/\\:*?"<>|') or name.strip(" .") != name:
        return False
    return name.partition(".")[0].strip().upper() not in _DEVICES


def _homes(folder: Path) -> list[Path]:
    real = folder.resolve()
    snapshots = real.parent
    is_cache = snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--")
    return [real, snapshots.parent / "blobs"] if is_cache else [real]


def _unsafe(where: str, name: str, what: str) -> FormatError:
    return FormatError(
        "UnsafePath", where, f"the file name “{printable(name, 80)}” {what}.", "Open that file itself, if you trust it."
    )
