"""What pip installed into a folder, and whether it is all still there; nothing of it is imported.

pip writes a RECORD for every distribution: its files with their sizes and digests. To read all of them takes a third
of a second, too long for every start. A file that comes or goes changes the time of its folder, so a start compares
those times, and reads the records only where one is another than before.
"""

import base64
import csv
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

INFO = ".dist-info"


def folder_times(site: Path) -> dict[str, int]:
    """Every folder below `site` and itself, by its relative path, and when its list of entries last changed, in ns."""
    times: dict[str, int] = {}
    open_folders = [""]
    while open_folders:
        name = open_folders.pop()
        place = site / name
        times[name] = place.stat().st_mtime_ns
        with os.scandir(place) as entries:
            open_folders += [
                f"{name}/{entry.name}".lstrip("/")
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__"
            ]
    return times


def is_unchanged(site: Path, times: dict[str, int]) -> bool:
    """Whether no file has come or gone in any folder since `folder_times` was asked; some ten milliseconds."""
    try:
        return all(os.stat(os.path.join(site, name)).st_mtime_ns == time for name, time in times.items())  # noqa: PTH116, PTH118  Path takes three times as long
    except OSError:
        return False


def damaged(site: Path, times: dict[str, int], *, read: bool = False) -> list[str]:
    """The names of distributions that lack a file or have one of another size; with `read` also of other content.

    `times` names those that were there before, of which one may be gone without a trace.
    """
    found = {name.removesuffix(INFO) for name in times if name.endswith(INFO) and "/" not in name}
    gone = {name for name in found if not (site / f"{name}{INFO}").is_dir()}
    broken = {info.name.removesuffix(INFO) for info in site.glob(f"*{INFO}") if not _is_whole(site, info, read)}
    return sorted({name.partition("-")[0] for name in gone | broken})


def forget(site: Path, names: list[str]) -> None:
    """Let pip take these distributions for missing, so that it installs them again over what is left of them."""
    import shutil

    for info in site.glob(f"*{INFO}"):
        if info.name.partition("-")[0] in names:
            shutil.rmtree(info)


def _is_whole(site: Path, info: Path, read: bool) -> bool:
    try:
        return all(
            _size(site, path) == size and (not read or _digest(site, path) == digest)
            for path, digest, size in _records(info / "RECORD")
        )
    except (OSError, ValueError, csv.Error):
        return False


def _records(record: Path) -> Iterator[tuple[str, str, int]]:
    """The path, digest and size in bytes of every file that pip vouches for; compiled files come and go."""
    with record.open(encoding="utf-8", newline="") as file:
        for path, digest, size in csv.reader(file):
            if size and not path.endswith(".pyc"):
                yield path, digest.removeprefix("sha256="), int(size)


def _size(site: Path, path: str) -> int:
    return os.stat(os.path.join(site, path)).st_size  # noqa: PTH116, PTH118  of 50,000 files


def _digest(site: Path, path: str) -> str:
    with (site / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
