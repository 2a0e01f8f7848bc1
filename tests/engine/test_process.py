import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from qexplorer.engine.runs import process
from qexplorer.engine.runs.process import is_alive, own_token, start_token


def test_this_process_is_alive() -> None:
    pid, token = own_token()
    assert pid == os.getpid()
    assert token
    assert is_alive(pid, token)


def test_another_process_of_the_same_id_is_not_mistaken_for_it() -> None:
    assert not is_alive(os.getpid(), "began at another time")
    assert not is_alive(os.getpid(), "")


def test_a_process_that_ended_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        token = start_token(child.pid)
        assert is_alive(child.pid, token)
    assert not is_alive(child.pid, token)


def test_ps_is_asked_in_no_language_and_no_time_zone_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        asked.update(settings)
        return subprocess.CompletedProcess(command, 0, "Sat Nov 21 00:44:30 2026\n", "")

    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setattr(subprocess, "run", run)
    assert process._ps(1) == "Sat Nov 21 00:44:30 2026"
    assert (asked["env"]["LC_ALL"], asked["env"]["TZ"]) == ("C", "UTC0")
    assert asked["env"]["PATH"] == os.environ["PATH"]


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("ps") is None, reason="there is no ps here")
def test_ps_knows_this_process_and_none_that_is_gone() -> None:
    assert process._ps(os.getpid())
    assert process._ps(os.getpid()) == process._ps(os.getpid())
    assert process._ps(999_999_999) == ""
