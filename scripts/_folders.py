"""Where the program keeps what is the person's own, told without platformdirs, which `.venv` may not have any more."""

import os
import sys
from pathlib import Path

APP = "qexplorer"
KINDS = {"DATA": "run history and files of runs", "STATE": "session, layout and crash reports", "CONFIG": "settings",
         "CACHE": "caches"}  # fmt: skip
LINUX = {"DATA": ".local/share", "STATE": ".local/state", "CONFIG": ".config", "CACHE": ".cache"}
MAC = {**dict.fromkeys(KINDS, "Library/Application Support"), "CACHE": "Library/Caches"}


def environments() -> Path:
    """The folder of the environments of checkouts that may not be written; each is named after its checkout's path."""
    return home_of("DATA") / f"{APP}-environments"


def own_folders() -> dict[Path, str]:
    """The person's folders, whether they are there or not, and what is in each."""
    folders: dict[Path, str] = {}
    for kind, what in KINDS.items():
        folder = home_of(kind) / APP
        folders[folder] = f"{folders[folder]}, {what}" if folder in folders else what
    return folders


def home_of(kind: str) -> Path:
    """The folder in which all programs of this person keep such files; `kind` is one of `KINDS`."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    value = os.environ.get(f"XDG_{kind}_HOME", "").strip()
    default = (MAC if sys.platform == "darwin" else LINUX)[kind]
    return Path(value) if Path(value).is_absolute() else Path.home() / default
