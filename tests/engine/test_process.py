import os
import subprocess
import sys

from qexplorer.engine.process import is_alive, own_token, start_token


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
