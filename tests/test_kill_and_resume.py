"""A run is killed as a power cut would, and goes on to the result that it would have had."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SETTINGS = ["--model", "vit_digits", "--weight-spec", "int3 channel:0", "--activation-spec", "float", "--limit",
            "64", "--epochs", "3", "--timing", "off", "--threads", "1", "--calibration", "32", "--teacher",
            "none"]  # fmt: skip


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "qexplorer", *words]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_DATA_HOME": str(folder)}


def printed(folder: Path, *words: str) -> Any:
    done = subprocess.run(
        command(*words, "--json"), env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def epochs_done(folder: Path) -> int:
    """How many epochs a run's history has, read as another program would."""
    path = folder / "qexplorer" / "history.sqlite3"
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        try:
            (n,) = database.execute("SELECT COUNT(*) FROM steps WHERE key LIKE 'point/%'").fetchone()
        except sqlite3.OperationalError:  # the tables are being made
            n = 0
    database.close()
    return n


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_training_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = printed(tmp_path / "whole", "run", "qat", *SETTINGS)
    folder = tmp_path / "killed"
    process = subprocess.Popen(command("run", "qat", *SETTINGS), env=environment(folder), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while epochs_done(folder) < 1 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    (run,) = printed(folder, "runs")["runs"]
    assert run["status"] == "interrupted"
    assert 1 <= epochs_done(folder) < 3
    resumed = printed(folder, "run", "qat", "--resume", run["run_id"])
    assert resumed["run_id"] == run["run_id"]
    assert resumed["history"] == whole["history"]
    for own, other in zip(resumed["rows"], whole["rows"], strict=True):
        assert [own[k] for k in ("name", "top1", "flips", "bytes_theoretical")] == [
            other[k] for k in ("name", "top1", "flips", "bytes_theoretical")
        ]
    (done,) = printed(folder, "runs")["runs"]
    assert done["status"] == "done"
