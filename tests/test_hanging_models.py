"""Models whose forward never returns: Ctrl-C and Cancel end the job all the same, and the run history says so."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qexplorer.engine.jobs import jobs
from qexplorer.engine.models.trust import Untrusted, trust
from qexplorer.engine.runs.history import History
from qexplorer.state.runner import given_up

MODEL = """
import os, signal, sys, time
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))

    def forward(self, x):
        print("it is in forward", flush=True)
        {act}
        return self.layers(x)

def make():
    return Net()
"""
HANGING = {
    "python": "while True: pass",
    "c": "time.sleep(1000)",
    "keeps_the_lock": "sum(iter(int, 1))",
    "stubborn": """
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except ValueError:
            pass
        while True:
            try:
                time.sleep(0.1)
            except BaseException:
                pass""",
}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")


def command(folder: Path, act: str) -> list[str]:
    folder.mkdir()
    (folder / "net.py").write_text(MODEL.format(act=act))
    options = ["--limit", "8", "--timing", "off", "--threads", "1", "--trust", "--json"]
    return [sys.executable, "-m", "qexplorer", "run", "evaluate", "--model", f"{folder / 'net.py'}:make", *options]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, **{f"XDG_{kind}_HOME": str(folder) for kind in ("DATA", "STATE", "CONFIG")}}


def statuses(folder: Path) -> list[str]:
    history = History(folder / "qexplorer" / "history.sqlite3")
    history.mark_interrupted()
    return [run.status for run in history.runs()]


def interrupted(folder: Path, act: str) -> tuple[int, float, str]:
    """Run a model until it hangs, press Ctrl-C once: the exit code, the seconds that it took, and stdout."""
    words = command(folder, act)
    process = subprocess.Popen(
        words, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any("it is in forward" in line for line in process.stderr)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code = process.wait(30)
    return code, time.monotonic() - began, process.communicate()[0]


def test_ctrl_c_ends_a_command_within_five_seconds_whatever_the_model_does(tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(HANGING)) as pool:
        done = list(pool.map(interrupted, [tmp_path / how for how in HANGING], HANGING.values()))
    ends = dict(zip(HANGING, [code for code, _, _ in done], strict=True))
    assert ends == {"python": 130, "c": 130, "keeps_the_lock": -signal.SIGKILL, "stubborn": 130}
    assert max(seconds for _, seconds, _ in done) < 5.5  # four at once on few cores
    assert {out for _, _, out in done} == {""}
    assert [statuses(tmp_path / how) for how in HANGING] == [["interrupted"]] * 4


def test_threads_and_forks_that_a_model_leaves_behind_do_not_outlive_its_job(tmp_path: Path) -> None:
    act = """
        import threading
        threading.Thread(target=time.sleep, args=(1000,)).start()
        os.fork()"""
    began = time.monotonic()
    words = command(tmp_path / "own", act)
    done = subprocess.run(
        words, env=environment(tmp_path / "own"), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["job"] == "evaluate"
    assert time.monotonic() - began < 60
    assert statuses(tmp_path / "own") == ["done"]
    logs = "".join(path.read_text("utf-8") for path in (tmp_path / "own" / "qexplorer" / "logs").glob("*.log"))
    assert "print: it is in forward" in logs


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A job on a model that hangs until the test is over."""
    over = threading.Event()
    monkeypatch.setattr(threading, "over", over, raising=False)
    file = tmp_path / "net.py"
    file.write_text(MODEL.format(act="import threading; threading.over.wait()"))
    job = jobs["evaluate"](model=f"{file}:make", limit=8, timing="off")
    with pytest.raises(Untrusted) as question:
        job.check()
    trust(question.value.path, question.value.fingerprint)
    yield job
    over.set()
    for thread in given_up:
        thread.join(10)
    given_up.clear()


def test_cancel_ends_a_job_that_hangs_and_the_next_one_runs(qtbot, open_window, made_up, hanging, capfd) -> None:
    window = open_window(replace(made_up, job=hanging))
    window.menus.actions["run"].trigger()
    qtbot.waitUntil(lambda: "it is in forward" in capfd.readouterr().out, timeout=60_000)
    with qtbot.waitSignal(window.jobs.ended, timeout=2000):
        window.menus.actions["cancel"].trigger()
    assert [run.status for run in window.parts.history.runs()] == ["cancelled"]
    window.store.update(job=jobs["evaluate"](limit=8, timing="off"))
    with qtbot.waitSignal(window.jobs.ended, timeout=60_000):
        window.menus.actions["run"].trigger()
    assert sorted(run.status for run in window.parts.history.runs()) == ["cancelled", "done"]


def test_the_window_closes_on_a_job_that_hangs(qtbot, open_window, made_up, hanging, capfd) -> None:
    from PySide6.QtWidgets import QMessageBox, QPushButton

    window = open_window(replace(made_up, job=hanging))
    window.menus.actions["run"].trigger()
    qtbot.waitUntil(lambda: "it is in forward" in capfd.readouterr().out, timeout=60_000)
    window.close()
    question = window.findChild(QMessageBox)
    (button,) = [b for b in question.findChildren(QPushButton) if b.text() == "Cancel the job and quit"]
    began = time.monotonic()
    button.click()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=3000)
    assert time.monotonic() - began < 2.5
    assert [run.status for run in window.parts.history.runs()] == ["cancelled"]
