"""How much memory reading may take follows from what is free, in the machine and in each group that limits it."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from qexplorer.weights import budget as module
from qexplorer.weights.budget import budget

GB = 1 << 30
V1 = {
    "memory.limit_in_bytes": "{most}",
    "memory.usage_in_bytes": "{used}",
    "memory.stat": "total_inactive_file {cached}",
}
V2 = {"memory.max": "{most}", "memory.current": "{used}", "memory.stat": "anon 5\ninactive_file {cached}"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One with 16 GB free, in no group; returns the folder of the groups."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": 16 * GB}))
    monkeypatch.setattr(module, "PROC", tmp_path / "cgroup")
    monkeypatch.setattr(module, "CGROUPS", tmp_path / "groups")
    return tmp_path


def group(folder: Path, files: dict[str, str], most: str, used: int, cached: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text.format(most=most, used=used, cached=cached))


def test_half_of_what_is_free_may_be_taken(machine: Path) -> None:
    assert budget() == 8 * GB


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_limits_it_and_files_in_its_cache_do_not_count(machine: Path, version: int) -> None:
    (machine / "cgroup").write_text("4:cpu,memory:/a/b\n9:name=systemd:/" if version == 1 else "0::/a/b")
    files, root = (V1, machine / "groups" / "memory") if version == 1 else (V2, machine / "groups")
    group(root / "a" / "b", files, "max", 0, 0)  # no limit of its own; that of the group around it holds
    group(root / "a", files, str(4 * GB), 3 * GB, GB)
    assert budget() == GB
    group(root / "a", files, str(4 * GB), 9 * GB, GB)
    assert budget() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v")
def test_a_limit_of_the_process_holds() -> None:
    code = "import resource as r; r.setrlimit(r.RLIMIT_AS, (1 << 30, 1 << 30)); "
    code += "from qexplorer.weights.budget import budget; print(budget())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < GB // 2
