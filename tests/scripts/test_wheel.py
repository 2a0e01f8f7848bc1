"""The wheel that `pip install .` makes carries all that the program needs, and nothing of the checkout's own life."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from environments import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is in the wheel, and nothing else of the program."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_it_carries_the_samples_the_typeface_the_icon_and_every_licence(installed: Path) -> None:
    files = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    needed = {path.name for path in (ROOT / "resources").rglob("*.*") if path.suffix != ".png"}
    assert needed <= {Path(file).name for file in files}
    [metadata] = installed.glob("*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    assert "License-Expression: MIT AND OFL-1.1 AND CC-BY-4.0" in text
    for name in ("LICENSE", "resources/fonts/OFL.txt"):
        assert f"License-File: {name}" in text
        assert (metadata.parent / "licenses" / name).exists()
    assert not [file for file in files if "__pycache__" in file or "/pictures/" in file or file.startswith("tests")]


def test_it_finds_its_sample_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "from qexplorer.resources import resource; print(resource('vit_digits.safetensors'))"
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-c", code]
    answer = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True)
    assert Path(answer.stdout.strip()).is_relative_to(installed)
