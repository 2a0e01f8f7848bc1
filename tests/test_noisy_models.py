"""Models that do on the side what a model should not: the command's answer is its own all the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = """
import ctypes, os, sys
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))

    def forward(self, x):
        {act}
        return self.layers(x)

def make():
    return Net()
"""


def run(tmp_path: Path, act: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "net.py"
    file.write_text(MODEL.format(act=act))
    words = ["--model", f"{file}:make", "--limit", "8", "--timing", "off", "--trust", "--json"]
    command = [sys.executable, "-m", "qexplorer", "run", "evaluate", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


PRINTS = (
    "print('{python')",
    "os.write(1, b'{descriptor')",
    "ctypes.CDLL(None).puts(b'{library')",
    "os.system('echo {child')",
)


@pytest.mark.skipif(sys.platform == "win32", reason="asks the C library as Unix does")
def test_what_a_model_prints_is_not_in_the_answer(tmp_path: Path) -> None:
    done = run(tmp_path, "; ".join(PRINTS))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["job"] == "evaluate"
    for how in ("python", "descriptor", "library", "child"):
        assert f"{{{how}" in done.stderr


@pytest.mark.parametrize("act", ["sys.exit(3)", "raise MemoryError('of 80 GB')"])
def test_a_model_that_ends_the_program_fails_its_run_in_a_sentence(tmp_path: Path, act: str) -> None:
    done = run(tmp_path, act)
    assert done.returncode == 2
    assert ("sys.exit" if "MemoryError" not in act else "Not enough memory: of 80 GB") in done.stderr
    assert "Traceback" not in done.stderr
    listed = subprocess.run([sys.executable, "-m", "qexplorer", "runs", "--json"], capture_output=True, check=True)
    (first, *_) = json.loads(listed.stdout)["runs"]
    assert first["status"] == "failed"
