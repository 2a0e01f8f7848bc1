"""Where the program keeps what is the person's own, and how it writes files: whole or not at all."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from qexplorer.errors import UserError
from qexplorer.log import log
from qexplorer.text import printable

APP = "qexplorer"
REMEDIES = {
    errno.EACCES: "Make that folder writable, or choose another folder.",
    errno.EROFS: "That disk is read-only; choose another folder.",
}

MOST_NAME = 200
ELSEWHERE = re.compile(r'[/\\:\x00-\x1f\x7f*?"<>|]|^[. ]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
"""What no name of a single file has on any system: separators, drives, devices, and names of other folders."""


def data_folder() -> Path:
    """The folder of the run history and its artifacts (`XDG_DATA_HOME` on Linux); made if it is missing.

    Raises `UserError` where it cannot be made.
    """
    return _made(platformdirs.user_data_path(APP, appauthor=False))


def state_folder() -> Path:
    """The folder of the last session, the window's layout and the logs; made if it is missing."""
    return _made(platformdirs.user_state_path(APP, appauthor=False))


def log_folder() -> Path:
    """The folder of the logs and of what crashes leave. It may be missing, and need not be writable."""
    return platformdirs.user_state_path(APP, appauthor=False) / "logs"


def cache_folder() -> Path:
    """The folder of what can be fetched again (`XDG_CACHE_HOME` on Linux); made if it is missing."""
    return _made(platformdirs.user_cache_path(APP, appauthor=False))


def inside(folder: Path, name: str) -> Path:
    """The path of a file or folder of that name directly in `folder`.

    Every path that is made from stored text is made here. Raises `UserError` for a name that could lead elsewhere.
    """
    if not name or len(name) > MOST_NAME or not name.isprintable() or ELSEWHERE.search(name):
        what = f"“{printable(name, 80)}” is not the name of a file in {folder}."
        raise UserError(what, "Nothing was read or written there: the entry that has this name is damaged.")
    return folder / name


def write_whole(path: Path, content: bytes | memoryview) -> int:
    """Write a file under a name of its own, force it to the disk and rename it; returns its size in bytes.

    A missing folder is made. Nobody ever finds half of the file under `path`, and an older one stays whole if the new
    one fails. Raises `UserError` where the disk is full or may not be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced; a folder refuses
            return path.write_bytes(content)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # two processes may write the same file
        try:
            with part.open("wb") as file:
                size = file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        return size


def set_aside(path: Path) -> Path | None:
    """Rename a damaged file, so that the next save does not replace it; where it is now, if the disk lets it."""
    aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
    try:
        path.replace(aside)
    except OSError:
        return None
    log.warning("%s is damaged; it was kept as %s", path.name, aside.name)
    return aside


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say a failed write of `path` as a `UserError` with what to do about it."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = to_free(path) if full else REMEDIES.get(error.errno or 0, "Check the folder, or choose another one.")
        raise UserError(f"{path} could not be written: {error.strerror or error}.", remedy) from error


def to_free(path: Path) -> str:
    """On which disk room has to be made for a file, and how much it has."""
    folder = next((each for each in path.absolute().parents if each.is_dir()), path.parent)
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return f"Free some space on the disk of {folder}."
    left = f"it has {disk.free / 1e6:,.1f} MB left of {disk.total / 1e6:,.0f} MB"
    return f"Free some space on the disk of {folder}, or of your share of it: {left}."


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} could not be created: {error.strerror}.",
            "Nothing can be saved there until that is fixed.",
        ) from error
    return folder
