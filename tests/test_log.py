"""The log of each process, the report, and the stack that a crash leaves for the next start."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qexplorer.log import actions, log, logged, prints, recent, take_crash

START = """
import ctypes, os, signal, sys
from PySide6.QtCore import QTimer, qWarning
from PySide6.QtGui import QGuiApplication
from qexplorer.app import make_application, run_window
from qexplorer.main_window import MainWindow
how = sys.argv.pop(1)
app = make_application()
def look():
    window = next((w for w in app.topLevelWidgets() if isinstance(w, MainWindow)), None)
    if window is None or not window.settled:
        return
    print(window.banner.text, flush=True)
    qWarning("the moon is too bright")
    if window.banner.text:
        window.banner._copy.click()
        print(QGuiApplication.clipboard().text(), flush=True)
    if how == "crash":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    window.close()
timer = QTimer(app, interval=50)
timer.timeout.connect(look)
timer.start()
sys.exit(run_window(["synthetic:normal"]))
"""
WRITE = """
import sys
from pathlib import Path
from qexplorer import log as module
module.LOG_BYTES = 20_000
with module.logged(Path(sys.argv[1])):
    for i in range(300):
        module.log.info("%s %04d", sys.argv[2], i)
"""


def start(folder: Path, how: str) -> tuple[int, str]:
    """Start the window, which ends as soon as all is drawn: by an orderly close, a crash or a kill."""
    folders = {f"XDG_{kind}_HOME": str(folder) for kind in ("DATA", "STATE", "CONFIG", "CACHE")}
    done = subprocess.run([sys.executable, "-c", START, how], env={**os.environ, **folders}, capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSEGV and SIGKILL")
def test_a_crash_leaves_its_stack_and_the_next_start_offers_it_once(tmp_path: Path) -> None:
    logs = tmp_path / "qexplorer" / "logs"
    assert start(tmp_path, "crash") == (-signal.SIGSEGV, "\n")
    code, said = start(tmp_path, "kill")  # a kill leaves nothing to offer
    assert code == -signal.SIGKILL
    assert said.startswith("qexplorer crashed last time. Your saved work is intact")
    for part in ("Segmentation fault", "string_at", "opened synthetic:normal", "Python 3", "Qt 6", "offscreen"):
        assert part in said
    assert str(tmp_path) not in said
    assert str(Path(__file__).parents[1]) not in said
    assert len(list(logs.glob("*.crash"))) == 1
    assert start(tmp_path, "close") == (0, "\n")
    assert list(logs.glob("*.crash")) == []
    assert "WARNING Qt: the moon is too bright" in "".join(path.read_text("utf-8") for path in logs.glob("*.log"))


def test_processes_that_log_at_once_lose_no_line(tmp_path: Path) -> None:
    names = [f"process{i}" for i in range(4)]
    running = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), name]) for name in names]
    assert [process.wait(60) for process in running] == [0] * 4
    lines = [line.partition(" INFO ")[2] for path in tmp_path.glob("*.log*") for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name} {i:04d}" for name in names for i in range(300))


def test_a_log_is_rotated_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    for day in range(10, 40):
        (tmp_path / f"202001{day}-000000-1-aaaa.log").write_text("old")
    with logged(tmp_path) as base:
        for _ in range(3000):
            log.info("x" * 1000)
    own = list(tmp_path.glob(f"{base.name}.log*"))
    assert len(own) == 2
    assert sum(path.stat().st_size for path in own) < 2_100_000
    assert sorted(path.name[6:8] for path in tmp_path.glob("202001*")) == [str(day) for day in range(20, 40)]


def test_what_a_model_prints_is_in_the_file_and_in_no_report(tmp_path: Path) -> None:
    with logged(tmp_path) as base:
        actions.info("opened a file")
        prints.info("print: %s", "a secret")
    assert "a secret" in Path(f"{base}.log").read_text("utf-8")
    assert "a secret" not in "".join(recent.lines)
    assert recent.lines[-1].endswith("opened a file")


def test_a_log_that_cannot_be_written_hinders_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with logged(tmp_path / "file" / "logs"):
        log.error("nobody hears")
    assert take_crash(tmp_path / "file" / "logs") is None
    assert capfd.readouterr().err == ""
    assert logging.getLogger("qexplorer").level != logging.INFO
