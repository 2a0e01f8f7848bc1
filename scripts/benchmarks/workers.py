"""Work in a process of its own, without a screen and away from the person's folders, that answers in JSON."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .figures import DifferenceError

SCRIPT = Path(__file__).resolve().parent.parent / "benchmark.py"


NO_WARNINGS = "default.warning=false"
"""What the platform without a screen says of every window is no news."""


class WorkerError(Exception):
    """A worker ended without an answer."""


def run_worker(module: str, **options: Any) -> dict[str, Any]:
    """What `work(**options)` of a module of this package returns, run by another process of this script.

    Raises `DifferenceError` where it does, and `WorkerError`.
    """
    call = json.dumps({"module": module, "options": options})
    found = json.loads(run_alone([sys.executable, str(SCRIPT), "--worker", call]).splitlines()[-1])
    if "differs" in found:
        raise DifferenceError(found["differs"])
    return found


def answer(call: str) -> str:
    """The worker's side of `run_worker`."""
    asked = json.loads(call)
    try:
        return json.dumps(importlib.import_module(f"benchmarks.{asked['module']}").work(**asked["options"]))
    except DifferenceError as difference:
        return json.dumps({"differs": str(difference)})


def run_alone(command: list[str]) -> str:
    """Run a program without a screen, in fresh folders; its output. Raises `WorkerError` where it fails."""
    with _fresh_folders() as environ:
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode or not done.stdout.strip():
        raise WorkerError(f"{' '.join(command[1:])} ended with exit status {done.returncode}")
    return done.stdout


@contextmanager
def _fresh_folders() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="qexplorer-benchmark-", ignore_cleanup_errors=True) as home:
        folders = {f"XDG_{kind}_HOME": str(Path(home, kind.lower())) for kind in ("DATA", "STATE", "CONFIG", "CACHE")}
        yield {**os.environ, **folders, "QT_QPA_PLATFORM": "offscreen", "QT_LOGGING_RULES": NO_WARNINGS}
