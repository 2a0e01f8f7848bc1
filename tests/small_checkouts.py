"""Checkouts whose program is one small package: their real environment is made in seconds, without a network."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "import sys, tiny.deep.part\nprint(tiny.deep.part.VALUE, *sys.argv[1:])\n"
CHECK = "import sys\ndef glibc_problem(): pass\nif __name__ == '__main__': print('Qt can open a window here.')\n"
BACKEND = """
import small_checkouts

def build_editable(folder, config_settings=None, metadata_directory=None):
    from pathlib import Path
    files = {"qexplorer.pth": str(Path.cwd())}
    return small_checkouts.write_wheel(Path(folder), "qexplorer", files, "Requires-Dist: tiny\\n").name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["build_backend"]

[project]
name = "qexplorer"
version = "1.0"
dependencies = ["tiny"]
"""
TINY = {"tiny/__init__.py": "", "tiny/deep/__init__.py": "", "tiny/deep/part.py": "VALUE = 'whole'\n"}


def write_wheel(folder: Path, name: str, files: dict[str, str], more: str = "") -> Path:
    """A wheel of version 1.0 with these files."""
    info = f"{name}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{more}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: small\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()]
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,"])}.items():
            archive.writestr(path, text)
    return wheel


def make_checkout(root: Path) -> Path:
    """A checkout with the real launcher; its program needs the package `tiny`, which lies in the folder `wheels`."""
    texts = {
        "pyproject.toml": PROJECT, "constraints.txt": "tiny==1.0\n", "build_backend/backend.py": BACKEND,
        "qexplorer/__init__.py": "", "qexplorer/__main__.py": PROGRAM, "qexplorer/platform_check.py": CHECK,
    }  # fmt: skip
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    shutil.copy(__file__, root / "build_backend")
    (root / "wheels").mkdir()
    write_wheel(root / "wheels", "tiny", TINY)
    (root / "scripts").mkdir()
    for script in (ROOT / "scripts").glob("*.py"):
        shutil.copy(script, root / "scripts")
    return root


def launch(root: Path, *words: str, answers: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher of a checkout as a person does, with more in the `environ`ment."""
    command = [sys.executable, root / "scripts" / "launch.py", *words]
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, input=answers, capture_output=True, text=True, check=False, env={**usual, **environ})


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
