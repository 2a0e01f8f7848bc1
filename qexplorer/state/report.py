"""The report that a person can copy for whoever mends the program: what runs where, what is open, and what was done."""

import os
import platform
import re
import sys
import tempfile
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from PySide6.QtCore import qVersion

from qexplorer import __version__
from qexplorer.log import recent
from qexplorer.text import printable
from qexplorer.weights import Checkpoint

PACKAGES = ("PySide6-Essentials", "pyqtgraph", "numpy", "numba", "torch")
FOLDERS = re.compile(r"""(?<![\w/:.])(?:[A-Za-z]:(?=[/\\]))?(?:[/\\][^\s/\\"'“”:;,()<>]+)+[/\\](?=[^\s/\\])""")
"""The folders of an absolute path."""


def report(checkpoint: Checkpoint | None, what: str = "") -> str:
    """All of it as plain text: `what` went wrong, then the facts. It names no folders and holds no values."""
    parts = [what] if what else []
    parts += ["\n".join((*_versions(), *_machine(), _file(checkpoint)))]
    if recent.lines:
        parts.append("\n".join(("Last actions:", *recent.lines)))
    if recent.error and recent.error.strip() not in what:
        parts.append(f"Last error:\n{recent.error.strip()}")
    return without_folders("\n\n".join(parts), checkpoint.path if checkpoint is not None else None) + "\n"


def installed(name: str) -> str:
    """The version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def facts(checkpoint: Checkpoint) -> str:
    """What kind of file it is, without anything that stands in it."""
    dtypes = ", ".join(f"{printable(name, 20)} {n}" for name, n in Counter(t.dtype for t in checkpoint.tensors).items())
    tensors = f"{len(checkpoint.tensors):,} tensors of {checkpoint.nbytes:,} bytes"
    return f"{printable(checkpoint.path.name, 120)}: {checkpoint.format}, {tensors} ({dtypes})"


def without_folders(text: str, opened: Path | None = None) -> str:
    """The text with every path cut down to what says which file is meant: of modules the dotted folders remain."""
    folders = {str(Path.home()), str(Path.cwd()), tempfile.gettempdir(), str(Path(__file__).parents[2]), *sys.path}
    if opened is not None:
        folders |= {str(folder) for folder in opened.absolute().parents}
    for folder in sorted((f for f in folders if len(Path(f).parts) > 1), key=len, reverse=True):
        text = text.replace(folder.rstrip(os.sep) + os.sep, "")
    return FOLDERS.sub("", text)


def _versions() -> tuple[str, ...]:
    packages = ", ".join(f"{name} {installed(name)}" for name in PACKAGES)
    return (f"qexplorer {__version__}", f"Python {platform.python_version()} ({platform.python_implementation()})",
            packages)  # fmt: skip


def _machine() -> tuple[str, ...]:
    from PySide6.QtGui import QGuiApplication  # the state needs no more of Qt than its core, but for a report

    screens = ", ".join(
        f"{s.size().width()}×{s.size().height()} at {s.devicePixelRatio():g}, {s.logicalDotsPerInch():.0f} dpi"
        for s in QGuiApplication.screens()
    )
    return (f"{platform.platform()}, {os.cpu_count()} cores",
            f"Qt {qVersion()} on {QGuiApplication.platformName()}, screens: {screens}")  # fmt: skip


def _file(checkpoint: Checkpoint | None) -> str:
    return f"File: {facts(checkpoint)}" if checkpoint is not None else "No file is open."
