"""Which of the person's own files may be run: those whose very bytes they have allowed."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from qexplorer.errors import UserError
from qexplorer.folders import data_folder, set_aside, write_whole
from qexplorer.text import printable

FILE = "trusted.json"
VERSION = 1
PATIENCE_S = 10.0


class Untrusted(UserError):  # noqa: N818  it says what the person is asked, and is no mistake of theirs
    """A file that is code and that the person has not allowed to run, or not with these bytes.

    `path` is resolved; `fingerprint` is the SHA-256 of the bytes that were looked at, for `trust`.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        name = printable(path.name)
        super().__init__(
            f"{name} is code, and you have not allowed it to run in its present form: {printable(str(path), 300)}.",
            f"Running {name} can do everything that you can do on this computer: read, change and delete files, and "
            "use the network. Go on only if you wrote it or trust whoever did. A change to the file asks again; a "
            "change to others that it imports does not.",
            field="model",
        )
        self.path = path
        self.fingerprint = fingerprint


def require_trust(path: Path) -> None:
    """Raises `Untrusted` unless `trust` was told of this path with the bytes that the file has now.

    Raises `UserError` where it cannot be read.
    """
    trusted_bytes(path)


def trusted_bytes(path: Path) -> bytes:
    """The same, returning those bytes: who runs them runs what was allowed, whatever becomes of the file."""
    path, content, fingerprint = _looked_at(path)
    if fingerprint not in _read().get(str(path), []):
        raise Untrusted(path, fingerprint)
    return content


def trust(path: Path, fingerprint: str | None = None) -> None:
    """Remember that the file may run with the bytes that it has now.

    With the `fingerprint` that the person was asked about, raises `Untrusted` where the file has changed since.
    Raises `UserError` where it cannot be read, or where this cannot be written down.
    """
    path, _, now = _looked_at(path)
    if fingerprint not in (None, now):
        raise Untrusted(path, now)
    with _held():
        entries = _read()
        known = entries.setdefault(str(path), [])
        if now not in known:
            known.append(now)
            _write(entries)


def forget(path: Path) -> None:
    """Ask again about this file, whatever its bytes; it need not be there any more."""
    with _held():
        entries = _read()
        if entries.pop(str(path.resolve()), None) is not None:
            _write(entries)


def _looked_at(path: Path) -> tuple[Path, bytes, str]:
    """Its resolved path, its bytes and their SHA-256."""
    try:
        path = path.resolve()
        content = path.read_bytes()
    except (OSError, RuntimeError) as error:  # a RuntimeError for a link that leads to itself
        raise UserError(f"{printable(str(path), 300)} cannot be read: {error}.", field="model") from error
    return path, content, hashlib.sha256(content).hexdigest()


@contextmanager
def _held() -> Iterator[None]:
    """Inside, no other process of this program changes what is written down; a disk without locks has none."""
    try:
        lock = FileLock((data_folder() / FILE).with_suffix(".lock"), timeout=PATIENCE_S)
        lock.acquire()
    except (OSError, NotImplementedError):  # `filelock.Timeout` is an `OSError`
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _read() -> dict[str, list[str]]:
    """The fingerprints by path; none where nothing was written down, or what was is damaged and set aside."""
    path = data_folder() / FILE
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError("it was written by another version")
        return {path: [str(word) for word in words] for path, words in document["trusted"].items()}
    except OSError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        set_aside(path)
        return {}


def _write(entries: dict[str, list[str]]) -> None:
    write_whole(data_folder() / FILE, json.dumps({"version": VERSION, "trusted": entries}, indent=1).encode())
