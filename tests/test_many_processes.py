"""Several windows and commands of one person use the same files."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_ten_processes_write_and_read_every_store_at_once_and_nothing_is_damaged_or_lost(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    command = [sys.executable, "-m", "tests.ten_processes", str(tmp_path), "1.5"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("left") == []
    assert found.pop("rounds") >= 10
    assert set(found.values()) == {0}, found
