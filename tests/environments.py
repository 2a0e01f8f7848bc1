"""Environments as scripts/launch.py makes them, without an install."""

import os
from pathlib import Path

import pytest
from _environment import Environment

ROOT = Path(__file__).resolve().parents[1]


posix_only = pytest.mark.skipif(os.name != "posix", reason="needs programs that are shell scripts")


def make_environment(root: Path, pip: str = "exit 0", extras: tuple[str, ...] = ()) -> Environment:
    """A stamped environment whose Python is a shell script: `-c` succeeds, `-m pip` runs the text `pip`."""
    environment = Environment(root)
    environment.python.parent.mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "qexplorer"\n')
    (root / "constraints.txt").write_text("numpy==2.4.6\n")
    (environment.folder / "pyvenv.cfg").write_text(f"home = {environment.python.parent}\n")
    environment.python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$@" >> "{root}/calls"\n{pip}\n')
    environment.python.chmod(0o755)
    environment.write_stamp(list(extras))
    return environment
