import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="older versions read it on Linux only")
def test_a_token_of_an_older_version_is_understood() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert is_alive(os.getpid(), f"{boot} {ticks}")
    assert not is_alive(os.getpid(), f"{boot} {int(ticks) + 1}")


@pytest.mark.parametrize("token", ["Sat Nov 21 00:44:30 2026", "133769150700000000", "boot ", " 1", "a b c"])
def test_a_token_that_says_nothing_here_is_no_process_s(token: str) -> None:
    assert not is_alive(os.getpid(), token)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no zombies")
def test_a_process_that_ended_and_was_not_waited_for_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        token = start_token(child.pid)
        assert child.stdin is not None
        child.stdin.close()
        deadline = time.monotonic() + 20
        while is_alive(child.pid, token) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_alive(child.pid, token)
