"""The program as a person starts it, in a process of its own: nothing but the program holds its window."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qexplorer.state.session import load_session

LOOK = """
import gc, sys
from PySide6.QtCore import QTimer
from qexplorer.app import make_application, run_window
from qexplorer.main_window import MainWindow
app, looks, reached = make_application(), [], []
sys.addaudithook(lambda event, args: event in ("socket.connect", "socket.getaddrinfo") and reached.append(event))
def look():
    gc.collect()
    looks.append(1)
    window = next((w for w in app.topLevelWidgets() if isinstance(w, MainWindow)), None)
    if window and len(looks) == 1:
        print("torch early" if "torch" in sys.modules else "no torch early")
    if len(looks) > 400 or (window and window.settled):
        print(window.settled, window.failure, window.banner.text, "torch" in sys.modules, *reached, sep="|")
        window.close()
    else:
        QTimer.singleShot(100, app, look)
QTimer.singleShot(0, app, look)
sys.exit(run_window(sys.argv[1:]))
"""


def started(folder: Path, *words: str) -> tuple[bool, str, str, bool]:
    """Start the program with its own folders below `folder`, close it when all is drawn.

    Returns whether it was, what a panel and the window complained of, and whether torch had been loaded.
    """
    folders = {f"XDG_{kind}_HOME": str(folder) for kind in ("DATA", "STATE", "CONFIG")}
    environment = {**os.environ, **folders, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", LOOK, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    early, seen = done.stdout.splitlines()
    assert early == "no torch early"
    settled, failure, banner, torch = seen.split("|")
    return settled == "True", failure, banner, torch == "True"


@pytest.mark.parametrize("words", [[], ["synthetic:normal"]])
def test_it_stays_open_until_it_is_closed_keeps_its_session_and_needs_no_torch(
    tmp_path: Path, words: list[str]
) -> None:
    assert started(tmp_path, *words) == (True, "", "", False)
    assert load_session(tmp_path / "qexplorer" / "session.json") is not None


def test_a_damaged_session_is_said_and_kept_aside(tmp_path: Path) -> None:
    session = tmp_path / "qexplorer" / "session.json"
    session.parent.mkdir()
    session.write_text('{"version": 1, "state": {"spec": {"format": "int99"}}}')
    settled, _, banner, _ = started(tmp_path)
    assert settled
    assert "session" in banner
    assert "int99" in banner
    assert "int99" in session.with_name("session.damaged.json").read_text()
    assert load_session(session) is not None


def test_folders_that_cannot_be_used_are_said_and_the_window_opens_nevertheless(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    settled, _, banner, _ = started(tmp_path / "file")
    assert settled
    assert "could not be created" in banner
